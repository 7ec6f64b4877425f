"""Training runs as pure functions of frozen specs, stored the moment they finish."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
