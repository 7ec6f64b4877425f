"""Keras 3 on the torch backend: a loss for `model.compile(loss=…)`."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor

from autorobustloss.errors import ConfigError, LossInputError, MissingDependencyError
from autorobustloss.losses import create_loss


def keras_loss(loss: str, *, reduction: str | None = "sum_over_batch_size", **hyperparameters: Any) -> Any:
    """Return a loss as a `keras.losses.Loss` of logits, for Keras 3 on the torch backend.

    loss: what `create_loss` takes, with hyperparameters. reduction: Keras's; sample weights, masks and the mean are
        Keras's own too. Labels to be ignored have sample weight 0.
    Shapes: y_pred (N, …, C) logits, classes last (no softmax at the end of the model); y_true class indices (N, …) or
        (N, …, 1), or probabilities (N, …, C).
    A loss with a memory takes in the batches of `fit`; `evaluate` and validation leave it alone.

    Raises MissingDependencyError without Keras, ConfigError on another backend: `arl losses export NAME --format
    keras` writes code for all of them.
    """
    try:
        import keras
    except ImportError:
        raise MissingDependencyError("Keras 3 is missing; pip install 'autorobustloss[keras]'") from None
    if keras.backend.backend() != "torch":
        raise ConfigError(
            f"got Keras on the backend {keras.backend.backend()!r}, expected 'torch' (KERAS_BACKEND=torch before Keras "
            f"is imported); `arl losses export {loss} --format keras` writes a loss for any backend"
        )
    return _loss_class()(loss, reduction=reduction, **hyperparameters)


@cache
def _loss_class() -> Any:
    import keras

    @keras.saving.register_keras_serializable(package="autorobustloss")
    class KerasLoss(keras.losses.Loss):
        def __init__(self, loss: str, name: str | None = None, reduction: Any = None, **hyperparameters: Any) -> None:
            super().__init__(name=name, reduction=reduction)
            self.given = {"loss": loss, **hyperparameters}
            self.loss = create_loss(loss, **{**hyperparameters, "reduction": "none"})

        def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
            target = target_of(y_true, y_pred)
            return self.loss(y_pred.movedim(-1, 1), target.movedim(-1, 1) if target.shape == y_pred.shape else target)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), **self.given}

    return KerasLoss


def target_of(y_true: Tensor, y_pred: Tensor) -> Tensor:
    """Return class indices, which Keras makes floats of, or probabilities in the shape of the logits (N, …, C).

    >>> import torch
    >>> target_of(torch.tensor([[2.0], [0.0]]), torch.zeros(2, 3))
    tensor([2, 0])
    """
    if y_true.shape == y_pred.shape:
        return y_true
    rows = y_pred.shape[:-1]
    if y_true.shape not in (rows, (*rows, 1)):
        raise LossInputError(
            f"got y_true of shape {tuple(y_true.shape)} for y_pred of shape {tuple(y_pred.shape)}, expected class "
            f"indices {tuple(rows)} or probabilities {tuple(y_pred.shape)}"
        )
    return y_true.reshape(rows).long()
