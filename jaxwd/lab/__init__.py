"""Fair comparison: arms with paired seeds, their ledger, and what can be concluded."""

import lazy_loader

# Lazily, so that `jaxwd run EXPERIMENT --help` need not wait for JAX.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
