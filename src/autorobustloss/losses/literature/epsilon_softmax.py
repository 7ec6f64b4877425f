"""Losses on ε-softmax outputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autorobustloss.losses.base import kept, one_hot, weighted
from autorobustloss.losses.literature.base import TwoTerms, flag, number
from autorobustloss.losses.literature.normalised import focal
from autorobustloss.losses.literature.plain import reduced_mae
from autorobustloss.registry import LOSSES

EPS_FLOOR = 1e-8
"""The published ε-softmax code clamps the transformed probabilities here."""


def log_epsilon_softmax(log_p: Tensor, m: float, legacy: bool = False) -> Tensor:
    """Return log((p + m·e_ŷ)/(m + 1)), ŷ the predicted class: m -> ∞ turns the prediction into a one-hot vector."""
    predicted = one_hot(log_p.argmax(dim=1), log_p).bool()
    # The inner choice keeps the gradient of the branch not taken finite.
    lifted = torch.log1p(torch.expm1(log_p.masked_fill(~predicted, 0.0)) / (m + 1))
    result = torch.where(predicted, lifted, log_p - math.log1p(m))
    return result.clamp_min(math.log(EPS_FLOOR)) if legacy else result


class EpsilonSoftmaxLoss(TwoTerms):
    """A loss on ε-softmax outputs plus the literal mean absolute error ‖p − e_y‖₁ = 2·(1 − p_y) on plain ones."""

    alpha: float = number(default=0.01, at_least=0)
    beta: float = number(default=5.0, at_least=0)
    m: float = number(default=1e5, at_least=0)
    legacy: bool = flag(default=False, kw_only=True)

    def active(self, log_eps: Tensor) -> Tensor:
        """Return the active loss of candidate labels from their log ε-softmax outputs, in their shape."""
        raise NotImplementedError

    def of_labels(self, log_eps: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of candidate labels from their two log-probabilities."""
        return weighted(self.alpha, self.active(log_eps)) + 2 * self.beta * reduced_mae(log_p)

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) -> (M,)."""
        log_p, at_label = torch.log_softmax(logits, dim=1), labels.unsqueeze(1)
        log_eps = log_epsilon_softmax(log_p, self.m, self.legacy)
        return self.of_labels(log_eps.gather(1, at_label), log_p.gather(1, at_label)).squeeze(1)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the expected loss of each row: (M, C), (M, C) -> (M,)."""
        log_p = torch.log_softmax(logits, dim=1)
        log_eps = kept(log_epsilon_softmax(log_p, self.m, self.legacy), probabilities)
        return (probabilities * self.of_labels(log_eps, log_p)).sum(dim=1)


@LOSSES.register("ce_eps+mae")
class EpsilonCEandMAE(EpsilonSoftmaxLoss):
    """Cross-entropy on ε-softmax plus mean absolute error: ℓ = α·(−log p̂_y) + β·2·(1 − p_y).

    p̂ = (p + m·e_ŷ)/(m + 1) with ŷ the predicted class (the lowest index of a tie): a sample whose label is predicted
    already is nearly left alone, any other has cross-entropy's gradient.

    The authors choose (α, β, m) by noise type, on CIFAR-100 also by the true rate: CIFAR-10 symmetric (0.01, 5, 1e5),
    the default, asymmetric (0.02, 5, 1e3), instance-dependent (0.045, 10, 1e5); CIFAR-100 symmetric from (0.1, 1, 1e4)
    clean to (0.0075, 1, 1e4) at 80 %, asymmetric (0.015 to 0.004, 1, 100); WebVision (0.015, 0.3, 1e3); Clothing1M
    (0.012, 0.1, 1e3).
    `legacy=True` clamps p̂ at 1e-8 as their code does, which for m = 1e5 takes the gradient of the first term from
    every sample with p_y < 0.001.
    Source: Wang et al., ε-Softmax: Approximating One-Hot Vectors for Mitigating Label Noise, NeurIPS 2024.
    Raises ConfigError unless m >= 0, for a negative weight, or two zeros.

    >>> import torch
    >>> EpsilonCEandMAE()(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    tensor(8.9444)
    """

    def active(self, log_eps: Tensor) -> Tensor:
        """Return cross-entropy of candidate labels."""
        return -log_eps


@LOSSES.register("fl_eps+mae")
class EpsilonFLandMAE(EpsilonSoftmaxLoss):
    """Focal loss on ε-softmax plus mean absolute error: ℓ = α·(1 − p̂_y)^γ·(−log p̂_y) + β·2·(1 − p_y).

    p̂ and (α, β, m) as for `ce_eps+mae`; γ = 0.1. `legacy=True` clamps p̂ at 1e-8 and holds the focal factor
    out of the gradient, as the authors' code does.
    Source: Wang et al., ε-Softmax: Approximating One-Hot Vectors for Mitigating Label Noise, NeurIPS 2024.
    Raises ConfigError unless m >= 0 and gamma >= 0, for a negative weight, or two zeros.

    >>> import torch
    >>> EpsilonFLandMAE()(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    tensor(8.9444)
    """

    gamma: float = number(default=0.1, at_least=0)

    def active(self, log_eps: Tensor) -> Tensor:
        """Return the focal loss of candidate labels."""
        return -focal(log_eps, self.gamma, self.legacy)
