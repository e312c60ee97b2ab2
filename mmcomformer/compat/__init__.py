"""Everything that depends on what the installed libraries can do, and on their family.

Two families have the same import names: stock OpenMMLab and its continuation OneDL. Nothing else
in the package asks which one is there.
"""

from .resume import load_weights_only, skip_trained_batches

__all__ = ['load_weights_only', 'skip_trained_batches']
