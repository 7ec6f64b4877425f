"""Robust classification losses with the arguments of torch.nn.CrossEntropyLoss."""

from __future__ import annotations

from typing import Any

from autorobustloss.losses import (  # noqa: F401 (each registers its losses)
    bi_tempered,
    bootstrap,
    correction,
    generalised,
    normalised,
    plain,
    recent,
    symmetric,
)
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.registry import LOSSES
from autorobustloss.losses.taylor import TaylorLoss

__all__ = ["LOSSES", "RobustLoss", "TaylorLoss", "create_loss", "list_losses"]


def create_loss(name: str, **hyperparameters: Any) -> RobustLoss:
    """Return the loss of this name with the given hyper-parameters."""
    return LOSSES.create(name, **hyperparameters)


def list_losses() -> list[str]:
    """Return the names that `create_loss` takes."""
    return LOSSES.names()
