"""ANTIDOTE: cross-entropy under the most favourable weights near uniform ones, so that a batch forgets its worst."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from autorobustloss.losses.base import MASKED
from autorobustloss.losses.gated.core import weighed
from autorobustloss.losses.literature.base import PublishedLoss, number
from autorobustloss.registry import LOSSES

PLACES, ROUNDS = 8, 5
"""The search for τ looks at so many places at once, so often, which leaves 1/59,049 of the range of log τ."""


class Tilt(NamedTuple):
    """Weights exp(−c/τ) of a batch: their logarithm relative to uniform ones, (M, K), and τ."""

    log_ratio: Tensor
    tau: Tensor


@LOSSES.register("antidote")
class Antidote(PublishedLoss):
    """The mean of cross-entropy under weights that are at most δ away from uniform and favour small losses.

        L = min over w of Σ_i w_i·CE_i + κ·KL(w‖1/N), KL(w‖1/N) <= δ
          = max over λ >= 0 of −λδ − τ·log mean_i exp(−CE_i/τ), τ = λ + κ

    whose weights are w_i = p_i^(1/τ) / Σ_j p_j^(1/τ), p_i the probability of the label. So its gradient is that of
    Σ_i w_i·CE_i with w as constants, τ as small as KL <= δ allows.

    Every sample's loss hangs on the others of its batch: N·w_i·(CE_i + κ·log N·w_i), whose mean is L; that of a batch
    of one is cross-entropy. Of a batch that comes in parts each part weighs its own samples. With probabilities t as
    target a sample counts as a weighted set of labels; ignored samples are none; class weights multiply what a sample
    gives, and choose no w.

    The authors choose δ by the true noise rate, 0.27 for 20 % and for WebVision, the default, and κ = 0.05.
    Source: Birrell and Ebrahimi, Learning to Forget with Information Divergence Reweighted Objectives for Noisy
    Labels, arXiv 2508.06622, 2025, with the KL divergence.
    Raises ConfigError unless delta > 0 and kappa > 0.

    >>> import torch
    >>> Antidote()(torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1]))
    tensor(0.4409)
    """

    smooths = False
    detached = True
    batchwise = True

    delta: float = number(default=0.27, above=0)
    kappa: float = number(default=0.05, above=0)

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) -> (M,)."""
        return self._rows(logits, labels, torch.ones_like(labels, dtype=logits.dtype))

    def hard_where(self, counted: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row among those that count, 0 of the others: (M,), (M, C), (M,) -> (M,)."""
        logits = torch.where(counted.unsqueeze(1), logits, torch.zeros_like(logits))
        return self._rows(logits, labels, counted.to(logits.dtype))

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each row for a target distribution: (M, C), (M, C) -> (M,)."""
        cost = -torch.log_softmax(logits, dim=1)
        mass = probabilities.detach().clamp_min(0)
        tilt = self._tilted(cost, mass)
        # By the mass of a label itself L rises as −τ·ratio: what it gives less what the weights of all others lose.
        by_mass = (probabilities - mass) * tilt.tau * tilt.log_ratio.exp()
        return self._values(cost, mass, tilt).sum(dim=1) - by_mass.sum(dim=1)

    def _rows(self, logits: Tensor, labels: Tensor, mass: Tensor) -> Tensor:
        cost, mass = -torch.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1)), mass.unsqueeze(1)
        return self._values(cost, mass, self._tilted(cost, mass)).squeeze(1)

    def _values(self, cost: Tensor, mass: Tensor, tilt: Tilt) -> Tensor:
        ratio = mass * tilt.log_ratio.exp()
        return weighed(cost + self.kappa * tilt.log_ratio, ratio)

    def _tilted(self, cost: Tensor, mass: Tensor) -> Tilt:
        return tilted(cost.detach().clamp_max(-MASKED), mass, self.kappa, self.delta)


def tilted(cost: Tensor, mass: Tensor, kappa: float, delta: float) -> Tilt:
    """Return the weights ∝ mass·exp(−cost/τ) for the smallest τ >= κ at which KL(weights‖mass) <= δ: both (M, K).

    KL falls as τ rises. It is at most (largest − smallest cost)²/(8τ²), as the variance of a bounded variable is at
    most a quarter of its range squared: so from some τ on it is small enough, and the search has where to start.

    >>> tilt = tilted(torch.tensor([[0.0], [1.0], [5.0]]), torch.ones(3, 1), kappa=0.05, delta=0.27)
    >>> ratio = tilt.log_ratio.exp()
    >>> ratio.flatten(), (ratio * tilt.log_ratio).mean()
    (tensor([1.7703, 1.0801, 0.1497]), tensor(0.2700))
    """
    if not cost.numel():
        return Tilt(torch.zeros_like(cost), cost.new_ones(()))
    total = mass.sum()
    # Where nothing has mass, nothing is taken of the weights: any will do that are finite.
    share = torch.where(total > 0, mass / total.clamp_min(1e-30), torch.full_like(mass, 1 / mass.numel())).flatten()
    flat, log_share = cost.flatten(), share.log()
    above = flat - flat.masked_fill(share == 0, math.inf).amin()  # a constant changes no weight
    lowest = cost.new_full((1,), kappa).log()
    reach = above.masked_fill(share == 0, 0.0).amax() / math.sqrt(8 * delta)
    low, high = lowest, torch.maximum(lowest, reach.clamp_min(1e-30).log())
    places = cost.new_ones(PLACES, 1).cumsum(dim=0)
    for _ in range(ROUNDS):
        step = (high - low) / (PLACES + 1)
        too_far = divergence(above, log_share, low + step * places)[0] > delta
        low = low + step * too_far.sum()
        high = low + step
    for _ in range(2):  # Newton's method
        found, slope = divergence(above, log_share, high)
        high = high + ((found - delta) / slope.clamp_min(1e-6)).clamp(-step, step)
    tau = torch.where(divergence(above, log_share, lowest)[0] <= delta, lowest, high).exp()
    scaled = above / tau
    return Tilt((-scaled - torch.logsumexp(log_share - scaled, dim=0)).reshape(cost.shape), tau)


def divergence(above: Tensor, log_share: Tensor, log_tau: Tensor) -> tuple[Tensor, Tensor]:
    """Return KL at each τ, and minus its derivative by log τ, the variance of cost/τ: (K,), (K,), (…, 1) -> (…)."""
    scaled = (above / log_tau.exp()).clamp_max(1e15)  # its square is finite
    tilted_log = log_share - scaled
    log_sum = torch.logsumexp(tilted_log, dim=-1)
    weight = (tilted_log - log_sum.unsqueeze(-1)).exp()
    mean = (weight * scaled).sum(-1)
    return -mean - log_sum, (weight * scaled.square()).sum(-1) - mean.square()
