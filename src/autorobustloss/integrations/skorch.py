"""skorch: a loss as the criterion of a `NeuralNetClassifier`, whose probabilities are probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autorobustloss.losses import create_loss


def skorch_loss(loss: str, **hyperparameters: Any) -> dict[str, Any]:
    """Return the arguments by which skorch's `NeuralNetClassifier` trains with a loss: `**skorch_loss("arl")`.

    They are `criterion`, `criterion__name` and so on, which a grid search may set, and `predict_nonlinearity`: skorch
    knows for its own losses only that the outputs of a module are logits, and `predict_proba` would return logits.
    Each `fit` makes a new loss, so that one with a memory starts afresh.

    loss: what `create_loss` takes, with hyperparameters. Raises what `create_loss` does.

    >>> sorted(skorch_loss("gce", q=0.5))
    ['criterion', 'criterion__name', 'criterion__q', 'predict_nonlinearity']
    """
    create_loss(loss, **hyperparameters)  # refuses now what would be refused after the data were prepared
    given = {f"criterion__{name}": value for name, value in {"name": loss, **hyperparameters}.items()}
    return {"criterion": create_loss, **given, "predict_nonlinearity": probabilities}


def probabilities(logits: Tensor) -> Tensor:
    """Return softmax of logits (N, C) over the classes."""
    return torch.softmax(logits, dim=-1)
