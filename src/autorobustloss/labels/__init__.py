"""Which labels are wrong: networks judge samples that they have not seen, cleanlab counts and ranks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
