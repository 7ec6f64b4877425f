"""Label noise: what it is (a spec), its transition matrix, and the corruption of labels."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
