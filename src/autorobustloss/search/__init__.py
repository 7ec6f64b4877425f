"""The search for a loss: spaces, CMA-ES, fitness, Algorithm 1 of the paper.

As an attribute of its parent this name is `api.search`, a search in one call; what is in here is imported from it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
