from .comparison_page import write_comparison_page
from .run_page import PAGE_NAME, write_run_page

__all__ = ['PAGE_NAME', 'write_comparison_page', 'write_run_page']
