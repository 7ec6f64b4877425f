"""Classification losses that survive noisy labels: learned by evolutionary search, ready to drop in.

>>> import torch, autorobustloss as arl
>>> criterion = arl.create_loss("gce", q=0.7)
>>> criterion(torch.zeros(4, 10), torch.tensor([1, 2, 3, 4])).item() > 0
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> module. Found on first use, so that importing the package costs next to nothing.
_PUBLIC = {
    "create_loss": "losses",
    "list_losses": "losses",
    "published_values": "losses",
    "RobustLoss": "losses",
    "TaylorLoss": "losses",
    "analysis": "losses",
    "load_card": "losses.cards",
    "Card": "losses.cards",
    "NoiseSpec": "noise",
    "transition_matrix": "noise",
    "corrupt": "noise",
    "load_dataset": "data",
    "list_datasets": "data",
    "make_splits": "data",
    "DataSpec": "data",
    "create_model": "models",
    "list_models": "models",
    "TrainingProtocol": "training",
    "create_protocol": "training",
    "MethodSpec": "methods",
    "list_methods": "methods",
    "Job": "runs",
    "Task": "runs",
    "Result": "runs",
    "Store": "runs",
    "run_jobs": "runs",
    "SearchConfig": "search",
    "run_search": "search",
    "ARLError": "errors",
}

__all__ = sorted([*_PUBLIC, "__version__"])

if TYPE_CHECKING:
    from autorobustloss.losses import RobustLoss as RobustLoss
    from autorobustloss.losses import TaylorLoss as TaylorLoss
    from autorobustloss.losses import create_loss as create_loss
    from autorobustloss.losses import list_losses as list_losses
    from autorobustloss.losses import published_values as published_values


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
