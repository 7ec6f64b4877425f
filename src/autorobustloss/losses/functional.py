"""The Taylor loss as a pure function of logits, targets and coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.losses.canonical import expand


class Coefficients(NamedTuple):
    """A class-wise separable polynomial loss for hard labels, up to the 1/C of Eq. 4.

    The loss of a sample is factor · [Σ_k G(ŷ_k) + H(ŷ_label) − log_weight · log ŷ_label + offset] with
    G(ŷ) = others₀ ŷ² + others₁ ŷ³ + … and H(ŷ) = label₀ ŷ + label₁ ŷ² + …
    Entries are floats, or 0-d tensors that `torch.vmap` may batch.
    """

    others: tuple[Any, ...]
    label: tuple[Any, ...]
    log_weight: Any
    offset: Any
    factor: Any


def coefficients(c: Sequence[Sequence[Any]], num_classes: int, log_weight: Any, scale: Any) -> Coefficients:
    """Return the hard-label coefficients of ℓ(ŷ, y) = Σ c[i][j] ŷⁱ yʲ, averaged over the classes and scaled.

    The part of ℓ that is linear in ŷ and common to all classes adds up to a constant, Σ_k ŷ_k being 1, and goes into
    the offset: it costs nothing and takes no precision away from the gradient.
    """
    zero, one = [row[0] for row in c], [sum(row) for row in c]
    offset = num_classes * zero[0] + zero[1] + one[0] - zero[0]
    gap = tuple(one[i] - zero[i] for i in range(1, len(c) - 1))
    return Coefficients(tuple(zero[2:]), gap, log_weight, offset, scale / num_classes)


def hard_loss(logits: Tensor, labels: Tensor, c: Coefficients) -> Tensor:
    """Return the loss of each row for class indices: (M, C), (M,) -> (M,)."""
    log_p = F.log_softmax(logits, dim=1)
    p = log_p.exp()
    at_label = labels.unsqueeze(1)
    p_label = p.gather(1, at_label).squeeze(1)
    value = (polynomial(p, c.others) * p).sum(1) + polynomial(p_label, c.label)
    value = value - c.log_weight * log_p.gather(1, at_label).squeeze(1)
    return (value + c.offset) * c.factor


def soft_loss(logits: Tensor, target: Tensor, c: Sequence[Sequence[Any]], log_weight: Any, factor: Any) -> Tensor:
    """Return the loss of each row for distributions over classes: (M, C), (M, C) -> (M,)."""
    log_p = F.log_softmax(logits, dim=1)
    p = log_p.exp()
    order = len(c) - 1
    value = torch.zeros_like(p)
    for i in range(order, -1, -1):
        inner = torch.zeros_like(p)
        for j in range(order - max(i, 1), -1, -1):
            inner = inner * target + c[i][j]
        value = value * p + inner
    return (value - log_weight * target * log_p).sum(1) * factor


def taylor_loss(input: Tensor, target: Tensor, theta: Any, *, log_weight: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Return the Taylor loss of each row (Eq. 4 and 5), for class indices (M,) or probabilities (M, C) -> (M,)."""
    c = expand(theta)
    if torch.is_floating_point(target):
        return soft_loss(input, target, c, log_weight, scale / input.shape[1])
    return hard_loss(input, target, coefficients(c, input.shape[1], log_weight, scale))


def polynomial(x: Tensor, c: Sequence[Any]) -> Tensor:
    """Return c₀x + c₁x² + … by Horner's rule."""
    value = torch.zeros_like(x)
    for a in reversed(c):
        value = (value + a) * x
    return value
