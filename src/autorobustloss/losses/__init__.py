"""Robust classification losses with the arguments of torch.nn.CrossEntropyLoss."""

from __future__ import annotations

from typing import Any

from autorobustloss.losses import (  # noqa: F401 (each registers its losses)
    analysis,
    bi_tempered,
    bootstrap,
    correction,
    generalised,
    normalised,
    plain,
    recent,
    symmetric,
)
from autorobustloss.losses.authors import published_values
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.registry import LOSSES
from autorobustloss.losses.taylor import TaylorLoss
from autorobustloss.zoo.shelf import register_cards

__all__ = ["LOSSES", "RobustLoss", "TaylorLoss", "analysis", "create_loss", "list_losses", "published_values"]

register_cards(LOSSES)


def create_loss(name: str, **hyperparameters: Any) -> RobustLoss:
    """Return the loss of this name: a hand-designed one, "taylor", or a learned one of the zoo, such as "arl".

    hyperparameters: those of the loss, and weight, ignore_index and reduction as in `torch.nn.CrossEntropyLoss`.
        The defaults are the authors' for some ten classes; for more see `published_values`.

    Raises UnknownNameError for a name nobody registered, ConfigError for hyper-parameters that the loss does not take.

    >>> create_loss("bootstrap_soft", beta=0.9, reduction="sum").reduction
    'sum'
    >>> create_loss("sce", **published_values("sce", num_classes=100)).hyperparameters()
    {'alpha': 6.0, 'beta': 0.1, 'legacy': False}
    """
    return LOSSES.create(name, **hyperparameters)


def list_losses() -> list[str]:
    """Return the names that `create_loss` takes."""
    return LOSSES.names()
