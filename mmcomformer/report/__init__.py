"""Pages of runs: what one run learned and forgot, and how several compare."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
