"""The search for a loss: spaces, CMA-ES, fitness, Algorithm 1 of the paper.

The package can be called: `autorobustloss.search(tasks)` is `autorobustloss.search.api.search`.
"""

import sys
from types import ModuleType
from typing import Any

import lazy_loader


class _Search(ModuleType):
    def __call__(self, *arguments: Any, **options: Any) -> Any:
        from autorobustloss.search.api import search

        return search(*arguments, **options)


__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
sys.modules[__name__].__class__ = _Search
