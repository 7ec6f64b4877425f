"""Losses between cross-entropy and mean absolute error: generalised cross-entropy and the Taylor expansion."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autorobustloss.losses.literature.base import LabelwiseLoss, count, flag, number
from autorobustloss.registry import LOSSES

LEGACY_FLOOR = 1e-7
"""Probabilities are clamped at this value in the published code; below it the gradient is zero."""


def box_cox(chosen: Tensor, q: float) -> Tensor:
    """Return (1 − p_y^q)/q from log p_y, as −expm1(q·log p_y)/q: exact for small q and finite for p_y -> 0."""
    return torch.expm1(q * chosen) / -q


@LOSSES.register("gce")
class GCE(LabelwiseLoss):
    """Generalised cross-entropy: ℓ = (1 − p_y^q)/q, between cross-entropy (q -> 0) and 1 − p_y (q = 1).

    Source: Zhang and Sabuncu, Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels,
    NeurIPS 2018, L_q of section 3; q = 0.7 on every data set.
    `legacy=True` clamps p_y at 1e-7 first, as the widely used code does: a sample below that gets no gradient.
    Raises ConfigError unless 0 < q <= 1.

    >>> import torch
    >>> GCE(q=0.7)(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(1.1435)
    """

    q: float = number(default=0.7, above=0, at_most=1)
    legacy: bool = flag(default=False, kw_only=True)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        return box_cox(chosen.clamp_min(math.log(LEGACY_FLOOR)) if self.legacy else chosen, self.q)


@LOSSES.register("gce_truncated")
class TruncatedGCE(LabelwiseLoss):
    """Truncated generalised cross-entropy: ℓ = w·(L_q(p_y) − L_q(k)), L_q(p) = (1 − p^q)/q.

    w = 1 for every sample while `prune` is False; with `prune=True`, w = 1 where p_y > k and 0 elsewhere, which is
    the truncated loss min(L_q(p_y), L_q(k)) less a constant. The published procedure trains unpruned for some 40
    epochs and then takes w from a checkpoint every 10 epochs; here w follows the current prediction, and a training
    loop sets `loss.prune = True` when its time has come (pruning from the start, a network never leaves p_y < k).
    Source: Zhang and Sabuncu, NeurIPS 2018, L_trunc of section 3; q = 0.7, k = 0.5.
    Raises ConfigError unless 0 < q <= 1 and 0 < k < 1.

    >>> import torch
    >>> TruncatedGCE(prune=True)(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(0.)
    """

    q: float = number(default=0.7, above=0, at_most=1)
    k: float = number(default=0.5, above=0, below=1)
    prune: bool = flag(default=False, kw_only=True)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        loss = box_cox(chosen, self.q) - (1 - self.k**self.q) / self.q
        return loss.clamp_max(0) if self.prune else loss


@LOSSES.register("taylor_ce")
class TaylorCE(LabelwiseLoss):
    """Cross-entropy's Taylor series at p_y = 1, cut after `order` terms: ℓ = Σ_{n=1..order} (1 − p_y)ⁿ/n.

    order = 1 is 1 − p_y (mean absolute error), order -> ∞ is cross-entropy.
    Source: Feng et al., Can Cross Entropy Loss Be Robust to Label Noise?, IJCAI 2020 (L_t-CE). The paper picks the
    order per setting from 2 to 6; order = 2 is our one default.
    Raises ConfigError unless order is an integer from 1 to 1000.

    >>> import torch
    >>> TaylorCE(order=2)(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(1.3050)
    """

    order: int = count(default=2, at_most=1000)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        miss = -torch.expm1(chosen)
        total = torch.full_like(miss, 1 / self.order)
        for n in range(self.order - 1, 0, -1):  # Horner's scheme
            total = total * miss + 1 / n
        return total * miss
