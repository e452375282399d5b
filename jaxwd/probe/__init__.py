"""What an optimizer really does to each leaf, measured by its answers to probes."""

import lazy_loader

# Lazily, so that `jaxwd explain --help` need not wait for JAX.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
