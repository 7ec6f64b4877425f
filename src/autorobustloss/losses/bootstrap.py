"""Bootstrapping: labels mixed with what the network itself predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from autorobustloss.losses.base import kept
from autorobustloss.losses.published import LabelwiseLoss, LossArguments, weighted, within
from autorobustloss.registry import LOSSES

if TYPE_CHECKING:
    from typing_extensions import Unpack


@LOSSES.register("bootstrap_soft", "bootstrap")
class SoftBootstrap(LabelwiseLoss):
    """Soft bootstrapping: ℓ = −Σ_k (β·e_k + (1 − β)·p_k)·log p_k, cross-entropy plus (1 − β) times the entropy.

    The gradient flows through the p in the target too, as in the published codes (ports that detach it train with
    another gradient).
    Source: Reed et al., Training Deep Neural Networks on Noisy Labels with Bootstrapping, ICLR 2015 workshop,
    soft variant; β = 0.95.
    Raises ConfigError unless 0 <= beta <= 1.

    >>> import torch
    >>> SoftBootstrap()(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    tensor(2.0388)
    """

    def __init__(self, beta: float = 0.95, **arguments: Unpack[LossArguments]) -> None:
        super().__init__(**arguments)
        self.beta = within("beta", beta, at_least=0, at_most=1)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        entropy = -(log_p.exp() * kept(log_p)).sum(dim=1, keepdim=True)
        return (1 - self.beta) * entropy - weighted(self.beta, chosen)


@LOSSES.register("bootstrap_hard")
class HardBootstrap(LabelwiseLoss):
    """Hard bootstrapping: ℓ = −β·log p_y − (1 − β)·log p_ŷ, ŷ the predicted class (the lowest index of a tie).

    Source: Reed et al., ICLR 2015 workshop, hard variant; β = 0.8.
    Raises ConfigError unless 0 <= beta <= 1.

    >>> import torch
    >>> HardBootstrap()(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    tensor(1.7269)
    """

    def __init__(self, beta: float = 0.8, **arguments: Unpack[LossArguments]) -> None:
        super().__init__(**arguments)
        self.beta = within("beta", beta, at_least=0, at_most=1)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        predicted = log_p.max(dim=1, keepdim=True).values
        return (self.beta - 1) * predicted - weighted(self.beta, chosen)
