"""The Taylor loss family as a module."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from autorobustloss.losses import functional
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.canonical import CanonicalForm, as_floats, expand_exactly, order_of
from autorobustloss.losses.registry import LOSSES
from autorobustloss.losses.scale import check_scale, scale_factor


@LOSSES.register("taylor")
class TaylorLoss(RobustLoss):
    """The Taylor polynomial loss of Eq. 4 and 5."""

    def __init__(
        self,
        theta: Iterable[float],
        log_weight: float = 0.0,
        scale: str | float | None = None,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)
        self.scale = check_scale(scale)
        self._set(as_floats(theta, "theta"), as_floats([log_weight], "log_weight")[0])

    def _set(self, theta: tuple[float, ...], log_weight: float) -> None:
        self.order = order_of(len(theta))
        self._form = CanonicalForm.from_theta(theta, log_weight)
        self._expansion = tuple(tuple(float(v) for v in row) for row in expand_exactly(theta))
        self.theta = theta
        self.log_weight = log_weight

    def canonical(self) -> CanonicalForm:
        """Return what of θ moves the gradient."""
        return self._form

    def get_extra_state(self) -> Tensor:
        """Return θ and log_weight for `state_dict`."""
        return torch.tensor([*self.theta, self.log_weight], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take θ and log_weight from a `state_dict`."""
        *theta, log_weight = as_floats(state, "theta")
        self._set(tuple(theta), log_weight)

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row for class indices."""
        scale = scale_factor(self.scale, self._form, logits.shape[1])
        c = functional.coefficients(self._expansion, logits.shape[1], self.log_weight, scale)
        return functional.hard_loss(logits, labels, c)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each row for a target distribution."""
        scale = scale_factor(self.scale, self._form, logits.shape[1])
        return functional.soft_loss(logits, probabilities, self._expansion, self.log_weight, scale / logits.shape[1])

    def hyperparameters(self) -> dict[str, Any]:
        """Return theta, log_weight and scale."""
        return {"theta": self.theta, "log_weight": self.log_weight, "scale": self.scale}
