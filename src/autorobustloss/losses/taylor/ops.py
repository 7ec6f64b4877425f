"""The Taylor loss as a pure function of logits, targets and coefficients.

Written once as plain operations (`reference`), which anything may see through and differentiate, and once in closed
form, value and gradient (`closed_form`), which costs a third of that; `kernel` is the closed form in C.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.errors import LossInputError
from autorobustloss.losses.base import kept, mean_of
from autorobustloss.losses.closed import Plain, traced, with_gradient
from autorobustloss.losses.inputs import widened
from autorobustloss.losses.kernel import Coefficients
from autorobustloss.losses.modes import one_node, plain, transformed
from autorobustloss.losses.taylor.form import expand

NEAR_LOG = 0.05
"""Up to this power q, (ŷ^q − 1)/q is worked out from the logarithm; above it ŷ itself has digits enough."""

BLOCK = 1 << 17
"""Numbers per core that the closed form works on at a time: a block and its intermediates stay in the cache."""


def coefficients(
    c: Sequence[Sequence[Any]], num_classes: int, log_weight: Any, scale: Any, log_power: float = 0.0
) -> Coefficients:
    """Return the hard-label coefficients of scale · (1/C) Σ_k ℓ(ŷ_k, y_k), with ℓ(ŷ, y) = Σ c[i][j] ŷⁱ yʲ.

    The part of ℓ that is linear in ŷ and the same for every class adds up to a constant, because Σ_k ŷ_k = 1. It goes
    into the offset, where it costs nothing and takes no digit away from the gradient.
    """
    factor = scale / num_classes
    zero, one = [row[0] * factor for row in c], [sum(row) * factor for row in c]
    gap = [one[i] - zero[i] for i in range(len(c))]
    offset = num_classes * zero[0] + zero[1] + gap[0]
    return Coefficients(tuple(zero[2:]), tuple(gap[1:-1]), log_weight * factor, offset, log_power)


def taylor_loss(
    input: Tensor, target: Tensor, theta: Any, *, log_weight: Any = 0.0, log_power: float = 0.0, scale: Any = 1.0
) -> Tensor:
    """Return the Taylor loss of each row: logits (M, C) and class indices (M,) or probabilities (M, C) -> (M,).

        L = scale · (1/C) Σ_k [ℓ_θ(ŷ_k, y_k) − log_weight · y_k log_q ŷ_k],    ŷ = softmax(input)

    with ℓ_θ the polynomial of Eq. 5 (Gao, Gouk, Hospedales, ICCV 2021) at the order that the length of θ implies, and
    log_q ŷ = (ŷ^q − 1)/q, q = log_power; log ŷ at q = 0.
    θ, log_weight and scale are numbers or tensors; with tensors the loss is differentiable in them too.

    Raises ConfigError for a length of θ that fits no order, LossInputError for an input that is not (M, C).

    >>> theta = [0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0]  # ℓ = −ŷy: mean absolute error, up to a factor and a constant
    >>> taylor_loss(torch.zeros(1, 4), torch.tensor([2]), theta, scale=4.0)
    tensor([-0.2500])
    """
    if input.ndim != 2:
        raise LossInputError(f"got input of shape {tuple(input.shape)}, expected (M, C); TaylorLoss takes dense inputs")
    c = expand(theta)
    if torch.is_floating_point(target):
        factor = scale / input.shape[1]
        return soft_loss(input, target, [[v * factor for v in row] for row in c], log_weight * factor, log_power)
    return hard_loss(input, target, coefficients(c, input.shape[1], log_weight, scale, log_power))


def soft_loss(
    input: Tensor, target: Tensor, c: Sequence[Sequence[Any]], log_weight: Any, log_power: float = 0.0
) -> Tensor:
    """Return Σ_k [Σ c[i][j] ŷ_kⁱ y_kʲ − log_weight · y_k log_q ŷ_k] of each row: (M, C), (M, C) -> (M,)."""
    log_p = F.log_softmax(input, dim=1)
    p = log_p.exp()
    value = torch.zeros_like(p)
    for row in reversed(c):  # Horner's rule in ŷ, its coefficients by Horner's rule in y
        inner = torch.zeros_like(p) + row[-1]
        for coefficient in row[-2::-1]:
            inner = inner * target + coefficient
        value = value * p + inner
    if isinstance(log_weight, Tensor) or log_weight:
        value = value - log_weight * target * _log_q(kept(log_p, target), log_power)
    return value.sum(1)


def hard_loss(input: Tensor, target: Tensor, c: Coefficients, *, mean: bool = False) -> Tensor:
    """Return the loss of each row for class indices, or their mean: (M, C), (M,) -> (M,) or ()."""
    constants = not isinstance(c.offset, Tensor) and not isinstance(c.log_weight, Tensor)
    closed = constants and asks(input) and not transformed()
    if closed and (torch.compiler.is_compiling() or plain(input, target)):
        return closed_loss(input, target, c, mean=mean)
    return reference(input, target, c, mean=mean)


def reference(input: Tensor, target: Tensor, c: Coefficients, *, mean: bool = False) -> Tensor:
    """Return `hard_loss` by plain operations, differentiable in everything as often as wanted."""
    log_p = F.log_softmax(input, dim=1)
    p, log_p_label = log_p.exp(), log_p.gather(1, target.unsqueeze(1))
    value = (_powers(p, c.others) * p).sum(1, keepdim=True) + _powers(log_p_label.exp(), c.label) + c.offset
    if isinstance(c.log_weight, Tensor) or c.log_weight:
        value = value - c.log_weight * _log_q(log_p_label, c.log_power)
    return mean_of(value.squeeze(1)) if mean else value.squeeze(1)


def again(target: Tensor, c: Coefficients, mean: bool) -> Plain:
    """Return `reference` of the logits."""
    return partial(reference, target=target, c=c, mean=mean)


def closed_loss(input: Tensor, target: Tensor, c: Coefficients, *, mean: bool = False) -> Tensor:
    """Return `hard_loss` with its gradient by the closed form. The c are numbers.

    On a CPU it takes rows in blocks that fit the cache: large batches take up to a third less time.
    """
    logits, share = input.detach(), 1 / max(len(input), 1) if mean else 1.0
    whole = torch.compiler.is_compiling() or input.device.type != "cpu"
    step = len(input) if whole else max(BLOCK * torch.get_num_threads() // input.shape[1], 1)
    if len(input) <= step:
        rows, gradient = closed_form(logits, target, c, share)
    else:
        gradient = torch.empty_like(logits)
        blocks = zip(logits.split(step), target.split(step), gradient.split(step))
        rows = torch.cat([closed_form(z, y, c, share, place)[0] for z, y, place in blocks])
    value = mean_of(rows) if mean else rows
    return with_gradient(input, value, gradient, again(target, c, mean))


def mean(input: Tensor, labels: Tensor, ignored: int, *numbers: Any) -> Tensor:
    """Return the mean loss of the labels that are not `ignored`, 0 of none, in code that is compiled: (M, C), (M,).

    numbers: the coefficients, which are no tensors.
    """
    input = widened(input)
    counted, c = labels != ignored, Coefficients(*numbers)
    count, number = counted.unsqueeze(1), counted.sum().clamp_min(1)
    logits = torch.where(count, input.detach(), 0.0)
    rows, gradient = closed_form(logits, torch.where(counted, labels, 0), c, compiled=True)
    value = torch.where(counted, rows, 0.0).sum() / number
    return traced(input, value, torch.where(count, gradient / number, 0.0)) if asks(input) else value


ready = one_node(mean)


def closed_form(
    input: Tensor,
    target: Tensor,
    c: Coefficients,
    share: float = 1.0,
    place: Tensor | None = None,
    compiled: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the loss of each row, (M,), and a share of its gradient in the logits, (M, C), in its place if it has one.

    With d_k the slope of the loss in ŷ_k, ∂L/∂z_k = ŷ_k (d_k − Σ_i ŷ_i d_i). The power sums Σ_k ŷ_kⁿ give the value
    and Σ_i ŷ_i d_i in the same sweeps over the numbers. Compiled code takes them of exp(z − max z), in the very loop
    that sums these up, which saves one of four.
    """
    at_label, compiled = target.unsqueeze(1), torch.compiler.is_compiling() if compiled is None else compiled
    if compiled:
        largest = input.amax(1, keepdim=True)
        p = (input - largest).exp()
        inverse = 1 / p.sum(1, keepdim=True)
        log_p_label = input.gather(1, at_label) - largest + inverse.log()
        p_label = log_p_label.exp()
        value = _powers(p_label, c.label) + c.offset
        pull = _powers(p_label, [share * n * v for n, v in enumerate(c.label, 1)])
        if c.log_weight:
            value = value - c.log_weight * _log_q(log_p_label, c.log_power)
            pull = torch.sub(pull, p_label**c.log_power, alpha=share * c.log_weight)
    else:
        p = torch.softmax(input, dim=1)
        exponents, weights = _of_label(c, share, p.dtype, p.device)
        value, pull = (p.gather(1, at_label).pow(exponents).unsqueeze(1) * weights).sum(2, keepdim=True).unbind(1)
        if c.log_weight and c.log_power < NEAR_LOG:  # the logarithm has digits that a small probability has lost
            log_p_label = -F.cross_entropy(input, target, reduction="none").unsqueeze(1)
            value = value - c.log_weight * _log_q(log_p_label, c.log_power)
    slopes = [share * n * v for n, v in enumerate(c.others, 2)]
    if compiled:
        mean_slope, power = pull, p
        for n, (v, slope) in enumerate(zip(c.others, slopes), 2):
            power = power * p
            sums = power.sum(1, keepdim=True) * inverse**n
            value, mean_slope = value + v * sums, mean_slope + slope * sums
        p = p * inverse
        terms = p * _powers(p, slopes)
    else:
        powers = list(accumulate([p] * max(2, 1 + len(slopes) // 2), torch.mul))
        terms = _weighted(powers, slopes)
        value = value + _weighted(powers, c.others).sum(1, keepdim=True)
        mean_slope = pull + terms.sum(1, keepdim=True)
    gradient = torch.addcmul(terms, p, mean_slope, value=-1, out=place)
    return value.squeeze(1), gradient.scatter_add_(1, at_label, pull)


@lru_cache(maxsize=1024)
def _of_label(c: Coefficients, share: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return exponents of ŷ_label, (n,), and what its powers weigh in the loss and in a share of its pull, (2, n).

    A few calls for all powers, in place of two for each: on a small batch the calls take longer than the arithmetic.
    The logarithm weighs in the pull only where its value is worked out apart.
    """
    near = c.log_power < NEAR_LOG
    log_weight, q = c.log_weight, c.log_power
    rows = [(0.0, c.offset if near else c.offset + log_weight / q, 0.0)]
    rows += [(float(n), v, share * n * v) for n, v in enumerate(c.label, 1)]
    rows.append((q, 0.0 if near else -log_weight / q, -share * log_weight))
    exponents, *weights = torch.tensor(rows, dtype=dtype, device=device).unbind(1)
    return exponents.contiguous(), torch.stack(weights)


def asks(input: Tensor) -> bool:
    """Return whether somebody will ask for the gradient."""
    return torch.is_grad_enabled() and input.requires_grad


def _log_q(log_p: Tensor, q: Any) -> Tensor:
    """Return (ŷ^q − 1)/q from log ŷ; log ŷ itself at q = 0."""
    if isinstance(q, Tensor):  # candidates of a cohort, some of which may have no power
        divisor = torch.where(q == 0, 1.0, q)
        return torch.where(q == 0, log_p, torch.expm1(divisor * log_p) / divisor)
    return torch.expm1(q * log_p) / q if q else log_p


def _powers(x: Tensor, c: Sequence[Any]) -> Tensor:
    """Return c₀x + c₁x² + … by Horner's rule."""
    value = c[-1] * x if c else torch.zeros_like(x)
    for coefficient in c[-2::-1]:
        value = (value + coefficient) * x
    return value


def _weighted(powers: Sequence[Tensor], c: Sequence[float]) -> Tensor:
    """Return c₀x² + c₁x³ + … from the first powers of x, each further one as a product of two in one sweep."""
    value = (c[0] if c else 0.0) * powers[1]
    for n, coefficient in enumerate(c[1:], 3):
        value.addcmul_(powers[n // 2 - 1], powers[n - n // 2 - 1], value=coefficient)
    return value
