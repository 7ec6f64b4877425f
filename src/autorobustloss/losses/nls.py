"""Negative label smoothing: away from the uniform distribution, more than the label asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autorobustloss.losses.plain import LabelSmoothing
from autorobustloss.losses.published import LossArguments, within
from autorobustloss.registry import LOSSES

if TYPE_CHECKING:
    from typing_extensions import Unpack


@LOSSES.register("nls")
class NegativeLabelSmoothing(LabelSmoothing):
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

    def __init__(self, rate: float = -1.0, **arguments: Unpack[LossArguments]) -> None:
        super().__init__(**arguments)
        self.rate = self.epsilon = within("rate", rate, below=0)
