"""jaxwd: every weight-decay scheme as an Optax chain, its convention said aloud.

Names load when first used, so importing the package costs next to nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.1.0"
