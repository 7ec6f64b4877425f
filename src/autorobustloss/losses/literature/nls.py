"""Negative label smoothing: away from the uniform distribution, more than the label asks for."""

from __future__ import annotations

from torch import Tensor

from autorobustloss.losses.base import smoothed
from autorobustloss.losses.literature.base import LabelwiseLoss, number
from autorobustloss.registry import LOSSES


@LOSSES.register("nls")
class NegativeLabelSmoothing(LabelwiseLoss):
    """Label smoothing by a negative rate r: ℓ = −(1 − r)·log p_y − (r/C)·Σ_k log p_k, masked classes not counted.

    It has no lower bound, and a network that it trains from the start may not learn: the authors train with
    cross-entropy first, as the method `warmup(loss='nls(rate=-1.0)')` does. They choose r from 0.8 to −8 by validation;
    −1, the default, is ours, from the middle of their list.
    Source: Wei et al., To Smooth or Not? When Label Smoothing Meets Noisy Labels, ICML 2022.
    Raises ConfigError unless rate < 0.

    >>> import torch
    >>> NegativeLabelSmoothing(rate=-1.0)(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor(-0.8731)
    """

    smooths = False

    rate: float = number(default=-1.0, below=0)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        return smoothed(chosen, log_p, self.rate)
