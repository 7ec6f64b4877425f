"""The bi-tempered logistic loss."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from autorobustloss.losses.base import kept
from autorobustloss.losses.literature.base import PublishedLoss, count, number
from autorobustloss.losses.modes import seen_through
from autorobustloss.losses.numbers import within
from autorobustloss.registry import LOSSES


def log_tempered(log_u: Tensor, t: float) -> Tensor:
    """Return log_t(u) = (u^(1−t) − 1)/(1 − t) from log u."""
    return log_u if t == 1 else torch.expm1((1 - t) * log_u) / (1 - t)


def log_exp_tempered(a: Tensor, t: float) -> Tensor:
    """Return log exp_t(a) = log max(1 + (1 − t)·a, 0)/(1 − t), −∞ outside the support (t < 1); t is not 1."""
    base = (1 - t) * a
    if t > 1:
        return torch.log1p(base) / (1 - t)
    inside = base > -1
    # The inner choice keeps the gradient of the branch not taken finite.
    return (torch.log1p(base.masked_fill(~inside, 0.0)) / (1 - t)).masked_fill(~inside, -math.inf)


def normaliser(shifted: Tensor, t: float, num_iters: int) -> Tensor:
    """Return λ with Σ_k exp_t(shifted_k − λ) = 1 for rows whose maximum is 0: (M, C) -> (M, 1).

    t > 1: the fixed-point iteration of the paper's appendix; t < 1: bisection, each for `num_iters` steps.
    """
    if t > 1:
        scaled = shifted
        for _ in range(num_iters):
            z = log_exp_tempered(scaled, t).exp().sum(dim=1, keepdim=True)
            scaled = shifted * z ** (1 - t)
        z = log_exp_tempered(scaled, t).exp().sum(dim=1, keepdim=True)
        return (z ** (t - 1) - 1) / (t - 1)
    # exp_t(0) = 1, so λ >= 0; with λ = −log_t(1/C) each term is at most 1/C.
    low = torch.zeros_like(shifted[:, :1])
    high = torch.full_like(low, (1 - shifted.shape[1] ** (t - 1)) / (1 - t))
    for _ in range(num_iters):
        middle = (low + high) / 2
        too_small = log_exp_tempered(shifted - middle, t).exp().sum(dim=1, keepdim=True) > 1
        low, high = torch.where(too_small, middle, low), torch.where(too_small, high, middle)
    return (low + high) / 2


def escort(shifted: Tensor, lam: Tensor, t: float) -> Tensor:
    """Return p^t / Σ p^t, the gradient of λ in the logits, which follows from Σ_k p_k = 1."""
    return torch.softmax(t * log_exp_tempered(shifted - lam, t), dim=1)


class _Normaliser(torch.autograd.Function):
    """`normaliser` with the derivatives of the exact λ: the iteration runs without them.

    The backward pass is a function of the logits and of λ itself, so that it can be differentiated as often as wanted.
    """

    @staticmethod
    def forward(ctx: Any, shifted: Tensor, t: float, num_iters: int) -> Tensor:
        lam = normaliser(shifted, t, num_iters)
        ctx.t = t
        ctx.save_for_backward(shifted, lam)
        return lam

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        shifted, lam = ctx.saved_tensors
        return grad * escort(shifted, lam, ctx.t), None, None


def newton(shifted: Tensor, lam: Tensor, t: float) -> Tensor:
    """Return λ with derivatives, by plain code, for who sees through nothing else: (M, C) -> (M, 1).

    Newton's step from a root stays there, but knows its first derivative, and n steps know 2ⁿ − 1 of them.
    """
    root = lam
    for _ in range(3):
        log_p = log_exp_tempered(shifted - root, t)
        root = root + (log_p.exp().sum(dim=1, keepdim=True) - 1) / (t * log_p).exp().sum(dim=1, keepdim=True)
    return lam + (root - root.detach())


def log_tempered_softmax(logits: Tensor, t: float, num_iters: int) -> Tensor:
    """Return log p, p = exp_t(logits − λ), with the derivatives of the exact normaliser: (M, C) -> (M, C)."""
    if t == 1:
        return torch.log_softmax(logits, dim=1)
    shifted = logits - logits.detach().amax(dim=1, keepdim=True)
    if seen_through():
        lam = newton(shifted, normaliser(shifted.detach(), t, num_iters), t)
    else:
        lam = _Normaliser.apply(shifted, t, num_iters)
    return log_exp_tempered(shifted - lam, t)


@LOSSES.register("bi_tempered")
class BiTempered(PublishedLoss):
    """Bi-tempered logistic loss: the Bregman divergence of temperature t1 between label and tempered softmax t2.

    ℓ = Σ_k [ y_k·(log_t1 y_k − log_t1 p_k) − (y_k^(2−t1) − p_k^(2−t1))/(2 − t1) ], p = exp_t2(z − λ), Σ_k p_k = 1,
    log_t u = (u^(1−t) − 1)/(1 − t). t1 < 1 bounds the loss, t2 > 1 gives the softmax a heavy tail; t1 = t2 = 1 is
    cross-entropy. Probabilities as target are the y of the formula. `label_smoothing` s gives the other classes
    s/(C − 1) each (not s/C as in PyTorch).

    λ is found in `num_iters` steps: 5 leave an error of some 5e-6 at (0.8, 1.2); t2 < 1 bisects and wants 30 or more.
    The gradient is the closed form at the p so found, the true one once λ has converged; so are further derivatives.
    Below the support of t2 < 1 it is zero. Beware large t2: at initialisation the gradient of (0.5, 4) is 3000 times
    smaller than that of cross-entropy for C = 10.

    Source: Amid et al., Robust Bi-Tempered Logistic Loss Based on Bregman Divergences, NeurIPS 2019. The authors' code
    names no temperatures; (0.8, 1.2) is known as the paper's CIFAR-100 setting, (0.5, 4) as that for MNIST.
    Raises ConfigError unless 0 <= t1 <= 1, t1 <= t2 (otherwise the gradient is unbounded where p = 0), num_iters is
    an integer from 1 to 1000 and 0 <= label_smoothing < 1.

    >>> import torch
    >>> BiTempered(t1=0.8, t2=1.2)(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(1.5377)
    """

    smooths = False

    t1: float = number(default=0.8, at_least=0, at_most=1)
    t2: float = number(default=1.2, above=0)
    num_iters: int = count(default=5, at_most=1000)
    label_smoothing: float = number(default=0.0, at_least=0, below=1)

    def check(self) -> None:
        """Raise ConfigError for t2 below t1."""
        within("t2", self.t2, above=0, at_least=self.t1)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each row for a target distribution: (M, C), (M, C) -> (M,)."""
        classes = logits.shape[1]
        off = self.label_smoothing / (classes - 1)
        # Not below 0, as 1 − Σ may be by rounding, which has no power.
        y = (probabilities * (1 - classes * off) + off if off else probabilities).clamp_min(0)
        log_p = log_tempered_softmax(logits, self.t2, self.num_iters)
        power = 2 - self.t1
        of_p = torch.exp(power * log_p) / power - y * log_tempered(kept(log_p, y), self.t1)
        of_y = y * log_tempered(y.clamp_min(torch.finfo(y.dtype).tiny).log(), self.t1) - y**power / power
        return (of_p + of_y).sum(dim=1)
