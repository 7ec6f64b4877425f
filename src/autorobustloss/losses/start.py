"""How hard a loss pulls at the start of a training, beside cross-entropy."""

from __future__ import annotations

import warnings
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.errors import SlowStartWarning

LEAST = 0.05
"""A loss that starts with less than this share of cross-entropy's gradient is warned of (docs/recipes.md)."""

LOOKED_AT = 16
"""So many labels, spread over the classes, tell what all would: losses hardly tell classes apart."""


class Loss(Protocol):
    """What of a loss is asked for: itself before any training, and its value for each row."""

    def at_start(self, num_classes: int) -> Any:
        """Return the loss as it is before training."""

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: (M, C), (M,) -> (M,)."""


def start_pull(loss: Loss, num_classes: int, labels: Tensor | None = None) -> float:
    """Return Σ_y ⟨∇ℓ, ∇CE⟩ / Σ_y ‖∇CE‖² at uniform predictions: 1 for a loss that starts like cross-entropy.

    labels: the y, by default all. Weights and reduction of the loss play no part.

    >>> from autorobustloss.losses import create_loss
    >>> [round(start_pull(create_loss("gce"), classes), 3) for classes in (10, 1000)]
    [0.2, 0.008]
    """
    labels = torch.arange(num_classes) if labels is None else labels
    with torch.enable_grad(), torch.autocast("cpu", enabled=False):
        uniform = torch.zeros(len(labels), num_classes, dtype=torch.float64, requires_grad=True)
        (reference,) = torch.autograd.grad(F.cross_entropy(uniform, labels, reduction="sum"), uniform)
        (gradient,) = torch.autograd.grad(loss.at_start(num_classes).hard(uniform, labels).sum(), uniform)
    return ((gradient * reference).sum() / reference.square().sum()).item()


def warn_of_slow_start(loss: Loss, num_classes: int) -> None:
    """Warn of a loss whose training may not begin with the learning rate that cross-entropy had."""
    labels = torch.linspace(0, num_classes - 1, min(num_classes, LOOKED_AT)).long()
    pull = start_pull(loss, num_classes, labels)
    if 0 < pull < LEAST:
        warnings.warn(
            f"{loss} at {num_classes} classes starts with {pull:.2g} times cross-entropy's gradient, and may hardly "
            f"learn with the learning rate that suits cross-entropy; try up to {1 / pull:.2g} times that rate, the "
            "authors' values (published_values(name, num_classes)), or a loss that starts like cross-entropy, such as "
            "arl; docs/recipes.md has what was measured. To silence: "
            "warnings.filterwarnings('ignore', category=autorobustloss.SlowStartWarning)",
            SlowStartWarning,
            stacklevel=6,
        )
