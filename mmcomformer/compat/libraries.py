"""Importing this module checks the libraries and adapts to the family that is installed.

It takes seconds, which is why the package does not do so itself. The packages that build on mmdet
or mmseg import it first, so that a wrong version is named before it fails.
"""

from .operators import load_operators
from .resume import allow_resume
from .versions import check_versions

check_versions()
load_operators()
allow_resume()
