"""Sparse regularisation: sharpened outputs that are drawn to a single class."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autorobustloss.errors import ConfigError
from autorobustloss.losses.literature.base import within
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import METHODS
from autorobustloss.training import LossObjective


@METHODS.register("sr")
def sparse_regularisation(
    tau: float = 0.5,
    p: float = 0.1,
    lam: float = 1.2,
    growth: float = 1.03,
    every: int = 1,
    normalise: bool = True,
    loss: str = "ce",
) -> Procedure:
    """Build a loss on s = z/(‖z‖₂·τ) plus λ·Σ_k softmax(s)_k^p, which is least where one class has all probability.

    tau: temperature τ. p: the power, below 1. lam: λ in the first epoch; growth: what it is multiplied by after `every`
        epochs. normalise: divide logits by their length, as the authors do but on MNIST. loss: the loss, as text.
    (τ, p, λ, growth, every): CIFAR-10 (0.5, 0.1, 1.2, 1.03, 1), the default; CIFAR-100 (0.5, 0.01, 4, 1.02, 1), with
        λ = 10 under asymmetric noise; MNIST (0.1, 0.1, 4, 2, 5), not normalised. Their code clamps probabilities at
        1e-7 in the second term; here they are not.
    Source: Zhou et al., Learning with Noisy Labels via Sparse Regularization, ICCV 2021; values of the authors' code.
    """
    tau, p, lam = within("tau", tau, above=0), within("p", p, above=0, below=1), within("lam", lam, at_least=0)
    growth, spec = within("growth", growth, at_least=1), MethodSpec.parse(loss)
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ConfigError(f"method 'sr': got every={every!r}, expected a number of epochs >= 1")
    if not isinstance(normalise, bool):
        raise ConfigError(f"method 'sr': got normalise={normalise!r}, expected True or False")

    def run(setting: Setting) -> Trained:
        criterion = setting.criterion(spec)

        def of_epoch(epoch: int) -> Callable[[Tensor, Tensor], Tensor]:
            weight = lam * growth ** ((epoch - 1) // every)
            return lambda z, y: sparse_loss(sharpened(z, tau, normalise), y, criterion, p, weight)

        return setting.fit(Scheduled(setting.network(), of_epoch))

    return Procedure(run)


class Scheduled(LossObjective):
    """One network under a loss that changes from epoch to epoch."""

    def __init__(self, network: nn.Module, of_epoch: Callable[[int], Callable[[Tensor, Tensor], Tensor]]) -> None:
        """of_epoch: the loss of an epoch, from 1."""
        super().__init__(network, of_epoch(1))
        self.of_epoch = of_epoch

    def loss(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the epoch's loss of the network's logits, and the logits."""
        logits = self.network(x)
        return self.of_epoch(epoch)(logits, y), logits


def sharpened(logits: Tensor, tau: float, normalise: bool = True) -> Tensor:
    """Return z/(‖z‖₂·τ) of each row, or z/τ: (N, C) -> (N, C).

    >>> sharpened(torch.tensor([[3.0, 4.0]]), tau=0.5)
    tensor([[1.2000, 1.6000]])
    """
    return (F.normalize(logits, dim=-1) if normalise else logits) / tau


def sparse_loss(
    scores: Tensor, labels: Tensor, criterion: Callable[[Tensor, Tensor], Tensor], p: float, weight: float
) -> Tensor:
    """Return criterion(scores, labels) + weight · mean over rows of Σ_k softmax(scores)_k^p."""
    scores = scores.float() if scores.dtype == torch.bfloat16 else scores
    powers = (p * torch.log_softmax(scores, dim=-1)).exp()
    return criterion(scores, labels) + weight * powers.sum(dim=-1).mean()
