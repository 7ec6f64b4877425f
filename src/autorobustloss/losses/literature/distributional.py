"""The label-distributionally robust loss."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.losses.literature.base import PublishedLoss, number, one_hot
from autorobustloss.registry import LOSSES


def normalised_scores(logits: Tensor) -> Tensor:
    """Return C·softplus(z)/Σ_k softplus(z_k), positive scores of mean 1.

    As a softmax of log softplus(z), which is z to working precision below −80 where softplus underflows: so the
    scores stay finite when every logit is far below zero.
    """
    low = logits < -80
    log_softplus = torch.where(low, logits, F.softplus(logits.masked_fill(low, 0.0)).log())
    return logits.shape[1] * torch.softmax(log_softplus, dim=1)


@LOSSES.register("ldr_kl")
class RobustKL(PublishedLoss):
    """Label-distributionally robust loss: the worst reweighting of the class margins, held near uniform by λ·KL.

    ℓ = λ·log( (1/C)·Σ_k exp((s_k − s_y + margin·[k ≠ y])/λ) ), with scores s = C·softplus(z)/Σ_j softplus(z_j) as in
    the authors' code. λ = 0 would be the multi-class hinge, λ -> ∞ a symmetric loss. The scores are not invariant to
    a shift of the logits, unlike a softmax. Probabilities as target are a weighted set of labels, at the price of
    M·C² numbers.
    Source: Zhu, Ying and Yang, Label Distributionally Robust Losses for Multi-class Classification, ICML 2023. λ and
    margin are tuned per data set there; (10, 0.1), the default, and (1, 0.1) are what Wang et al., NeurIPS 2024, use
    on CIFAR-10 and CIFAR-100. The adaptive variant (a λ per training sample) is a training procedure, not a loss.
    Raises ConfigError unless lam > 0 and margin >= 0.

    >>> import torch
    >>> RobustKL()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(0.0900)
    """

    lam: float = number(default=10.0, above=0)
    margin: float = number(default=0.1, at_least=0)

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) -> (M,)."""
        scores = normalised_scores(logits)
        margins = self.margin * (1 - one_hot(labels, scores))
        return self._log_mean_exp(scores + margins) - scores.gather(1, labels.unsqueeze(1)).squeeze(1)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the expected loss of each row: (M, C), (M, C) -> (M,)."""
        scores = normalised_scores(logits)
        margins = self.margin * (1 - logits.new_ones(logits.shape[1]).diag())
        return (probabilities * (self._log_mean_exp(scores.unsqueeze(1) + margins) - scores)).sum(dim=1)

    def _log_mean_exp(self, values: Tensor) -> Tensor:
        return self.lam * (torch.logsumexp(values / self.lam, dim=-1) - math.log(values.shape[-1]))
