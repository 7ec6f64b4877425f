"""The Taylor loss as a pure function of logits, targets and coefficients."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.errors import LossInputError
from autorobustloss.losses.canonical import expand

BLOCK = 1 << 17
"""Numbers per core that the fast path works on at a time: a block and its intermediates stay in the cache."""

UNDERFLOW = 1e-30
"""Below it a probability in float32 is about to lose its digits, so its logarithm is taken from the logits."""


class Coefficients(NamedTuple):
    """A class-wise separable polynomial loss for hard labels.

    The loss of a sample is Σ_k G(ŷ_k) + H(ŷ_label) − log_weight · log_q ŷ_label + offset, where
    G(ŷ) = others₀ ŷ² + others₁ ŷ³ + …, H(ŷ) = label₀ ŷ + label₁ ŷ² + …, and log_q ŷ = (ŷ^q − 1)/q with q = log_power,
    the logarithm at q = 0. The entries are floats (the fast path), or 0-d tensors, which `torch.vmap` may batch over
    candidates and autograd may differentiate.
    """

    others: tuple[Any, ...]
    label: tuple[Any, ...]
    log_weight: Any
    offset: Any
    log_power: Any = 0.0


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
    if not _is_zero(log_weight):
        value = value - log_weight * target * _log_q(log_p, log_power)
    return value.sum(1)


def hard_loss(input: Tensor, target: Tensor, c: Coefficients) -> Tensor:
    """Return the loss of each row for class indices: (M, C), (M,) -> (M,)."""
    if _is_constant(c) and not torch.compiler.is_compiling():
        wanted = (torch.is_grad_enabled() and input.requires_grad) or torch._C._are_functorch_transforms_active()
        return _ClosedForm.apply(input, target, c, 1 / max(len(input), 1) if wanted else 0.0)[0]
    if _is_constant(c) and not torch._C._are_functorch_transforms_active():
        return _Traced.apply(input, target, c)
    log_p = F.log_softmax(input, dim=1)
    return _value(log_p.exp(), log_p.gather(1, target.unsqueeze(1)), target, c)


def _log_q(log_p: Tensor, q: Any) -> Tensor:
    """Return (ŷ^q − 1)/q from log ŷ; log ŷ itself at q = 0."""
    if isinstance(q, Tensor):  # candidates of a cohort, some of which may have no power
        divisor = torch.where(q == 0, 1.0, q)
        return torch.where(q == 0, log_p, torch.expm1(divisor * log_p) / divisor)
    return torch.expm1(q * log_p) / q if q else log_p


def _value(p: Tensor, log_p_label: Tensor, target: Tensor, c: Coefficients) -> Tensor:
    """Return `hard_loss` at ŷ = p as plain code, differentiable in everything."""
    value = (_powers(p, c.others) * p).sum(1, keepdim=True) + _powers(p.gather(1, target.unsqueeze(1)), c.label)
    if not _is_zero(c.log_weight):
        value = value - c.log_weight * _log_q(log_p_label, c.log_power)
    return (value + c.offset).squeeze(1)


def _gradient(input: Tensor, target: Tensor, c: Coefficients) -> Tensor:
    """Return the gradient of each row's loss in its logits, as plain code: (M, C), (M,) -> (M, C)."""
    slopes, label_slopes, log_weight = _slopes(c)
    p, at_label = input.softmax(1), target.unsqueeze(1)
    pull = _powers(p.gather(1, at_label), label_slopes)
    if c.log_power:
        pull = pull - log_weight * (c.log_power * input.log_softmax(1).gather(1, at_label)).exp()
    else:
        pull = pull - log_weight
    terms = _powers(p, slopes) * p
    is_label = torch.arange(p.shape[1], device=p.device) == at_label
    return terms - p * (terms.sum(1, keepdim=True) + pull) + torch.where(is_label, pull, 0.0)


class _Traced(torch.autograd.Function):
    """`hard_loss` for `torch.compile`, which makes one sweep over the logits of each of these loops over plain code.

    With u_k = exp(z_k − max z) and s = Σ u, the power sums Σ_k ŷ_kⁿ = Σ u_kⁿ / sⁿ come from the very sweep that sums
    the exponentials, and with them the value and Σ_k ŷ_k G′(ŷ_k). So the backward pass is one sweep as well.

    In the older style, without `setup_context`, because older tracers take no other: no `vmap` reaches it.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, c: Coefficients) -> Tensor:
        largest = input.amax(1, keepdim=True)
        u = (input - largest).exp()
        total = u.sum(1, keepdim=True)
        log_p_label = input.gather(1, target.unsqueeze(1)) - largest - total.log()
        p_label = log_p_label.exp()
        value = _powers(p_label, c.label) - c.log_weight * _log_q(log_p_label, c.log_power) + c.offset
        slope = torch.zeros_like(value)
        power, inverse = u, 1 / total
        for n, coefficient in enumerate(c.others, 2):
            power = power * u
            power_sum = power.sum(1, keepdim=True) * inverse**n
            value = value + coefficient * power_sum
            slope = slope + n * coefficient * power_sum
        ctx.c = c
        ctx.save_for_backward(input, target, largest, inverse, slope, p_label)
        return value.squeeze(1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        input, target, largest, inverse, slope, p_label = ctx.saved_tensors
        slopes, label_slopes, log_weight = _slopes(ctx.c)
        pull = _powers(p_label, label_slopes) - log_weight * (p_label**ctx.c.log_power if ctx.c.log_power else 1.0)
        p = (input - largest).exp() * inverse
        is_label = torch.arange(input.shape[1], device=input.device) == target.unsqueeze(1)
        result = p * (_powers(p, slopes) - (slope + pull)) + torch.where(is_label, pull, 0.0)
        return result * grad.unsqueeze(1), None, None


class _ClosedForm(torch.autograd.Function):
    """`hard_loss` with constant coefficients: value and gradient in closed form, in one sweep over the logits.

    With d_k the slope of the loss in ŷ_k, ∂L/∂z_k = ŷ_k (d_k − Σ_i ŷ_i d_i). Returns `share` times the gradient too
    (nothing for a share of 0), for the backward pass only: 1/M of it is what the mean over rows asks for.
    """

    @staticmethod
    def forward(input: Tensor, target: Tensor, c: Coefficients, share: float) -> tuple[Tensor, Tensor]:
        at_label = target.unsqueeze(1)
        if share:
            sums, p_label, gradient = _sweep(input, at_label, c, share)
        else:
            sums, p_label, gradient = *_sweep_for_value(input, at_label, c), input.new_empty(0)
        value = _powers(p_label, c.label).add_(c.offset).squeeze(1)
        for weight, sum_ in sums:
            value.add_(sum_, alpha=weight)
        if c.log_weight:
            log_p_label = _log_p_label(input, p_label, at_label).squeeze(1)
            value.sub_(_log_q(log_p_label, c.log_power), alpha=c.log_weight)
        return value, gradient

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        input, target, ctx.c, ctx.share = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(input, target, output[1])
        ctx.save_for_forward(input, target)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
        input, target, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():  # double backward
            return _gradient(input, target, ctx.c) * grad.unsqueeze(1), None, None, None
        if _is_constantly(ctx.share, grad):
            return gradient, None, None, None
        return gradient * (grad / ctx.share).unsqueeze(1), None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> tuple[Tensor, None]:
        input, target = ctx.saved_tensors
        return (_gradient(input, target, ctx.c) * tangent).sum(1), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], input: Tensor, target: Tensor, c: Coefficients, share: float) -> Any:
        input, target = (
            t.movedim(dim, 0) if dim is not None else t.expand(info.batch_size, *t.shape)
            for t, dim in zip((input, target), in_dims)
        )
        value, gradient = _ClosedForm.apply(input.flatten(0, 1), target.flatten(), c, share)
        if not share:
            return (value.view_as(target), gradient), (0, None)
        return (value.view_as(target), gradient.view_as(input)), (0, 0)


# `Function.apply` asks for this signature at every call; working it out anew costs as much as a small batch.
_ClosedForm.forward.__signature__ = inspect.signature(_ClosedForm.forward)  # type: ignore[attr-defined]


WeightedSums = list[tuple[float, Tensor]]
"""Pairs (w, s) with s of shape (M,); the loss of a row takes Σ w s."""


def _sweep_for_value(input: Tensor, at_label: Tensor, c: Coefficients) -> tuple[WeightedSums, Tensor]:
    """Return Σ_k G(ŷ_k) as weighted sums, and ŷ_label, (M, 1)."""
    p_label = input.new_empty(at_label.shape)
    total = input.new_empty(len(input))
    for z_, at_, p_label_, total_ in _blocks(input, at_label, p_label, total):
        p = torch.softmax(z_, dim=1)
        torch.gather(p, 1, at_, out=p_label_)
        if c.others:
            torch.sum(_weighted_powers(_products(p, len(c.others) + 1), c.others), dim=1, out=total_)
    return [(1.0, total)] if c.others else [], p_label


def _sweep(input: Tensor, at_label: Tensor, c: Coefficients, share: float) -> tuple[WeightedSums, Tensor, Tensor]:
    """Return Σ_k G(ŷ_k) as weighted sums, ŷ_label, (M, 1), and `share` times the gradient of each row, (M, C).

    Σ_k G(ŷ_k) takes no polynomial of its own: Σ_k ŷ_k G′(ŷ_k), which the gradient needs, is one linear combination of
    the power sums Σ_k ŷ_kⁿ, so one of them (the third where there is one) follows from it and the others.
    """
    slopes, label_slopes, log_weight = _slopes(c)
    slopes, label_slopes = [share * v for v in slopes], [share * v for v in label_slopes]
    highest = len(slopes) + 1
    spared = min(highest, 3)
    taken = [n for n in range(2, highest + 1) if n != spared]
    p_label, gradient = input.new_empty(at_label.shape), torch.empty_like(input)
    sums = input.new_empty(1 + len(taken), len(input))
    for z_, at_, p_label_, gradient_, *sums_ in _blocks(input, at_label, p_label, gradient, *sums):
        p = torch.softmax(z_, dim=1, out=gradient_)
        torch.gather(p, 1, at_, out=p_label_)
        pull = _powers(p_label_, label_slopes)
        if c.log_power:
            pull.sub_(p_label_**c.log_power, alpha=share * log_weight)
        elif log_weight:
            pull -= share * log_weight
        if slopes:
            powers = _products(p, highest)
            terms = _weighted_powers(powers, slopes)
            torch.sum(terms, dim=1, out=sums_[0])
            for n, sum_ in zip(taken, sums_[1:]):
                _write_power_sum(n, powers, sum_)
            torch.addcmul(terms, p, pull + sums_[0].unsqueeze(1), value=-1, out=gradient_)
        else:
            p *= -pull
        gradient_.scatter_add_(1, at_, pull)
    weights = [1 / (share * spared), *(c.others[n - 2] * (1 - n / spared) for n in taken)] if slopes else []
    return list(zip(weights, sums)), p_label, gradient


def _write_power_sum(n: int, powers: dict[int, Tensor], out: Tensor) -> None:
    if n == 2:
        torch.sum(powers[2], dim=1, out=out)
    else:
        torch.linalg.vecdot(powers[n // 2], powers[n - n // 2], out=out)


def _log_p_label(input: Tensor, p_label: Tensor, at_label: Tensor) -> Tensor:
    """Return log ŷ_label, (M, 1), from ŷ_label, or from the logits where that is about to lose its digits."""
    log_p = p_label.log()
    if input.device.type != "cpu" or (len(p_label) and p_label.amin() < UNDERFLOW):  # off the CPU a look costs more
        exact = input.gather(1, at_label) - input.logsumexp(1, keepdim=True)
        log_p = torch.where(p_label < UNDERFLOW, exact, log_p)
    return log_p


def _is_constantly(share: float, grad: Tensor) -> bool:
    """Return whether every row's gradient is `share`, as far as a look at it is cheap; the mean over rows is so."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(grad) or torch._C._functorch.is_legacy_batchedtensor(grad)
    if wrapped or grad.device.type != "cpu" or not len(grad) or any(grad.stride()):
        return False
    return abs(grad[0].item() - share) <= torch.finfo(grad.dtype).eps * share


def _slopes(c: Coefficients) -> tuple[list[float], list[float], float]:
    """Return the coefficients of ŷ G′(ŷ), from ŷ² on, and of ŷ H′(ŷ), from ŷ on, and the log weight."""
    return [i * v for i, v in enumerate(c.others, 2)], [i * v for i, v in enumerate(c.label, 1)], c.log_weight


def _powers(x: Tensor, c: Sequence[Any]) -> Tensor:
    """Return c₀x + c₁x² + … by Horner's rule."""
    value = c[-1] * x if c else torch.zeros_like(x)
    for coefficient in c[-2::-1]:
        value = (value + coefficient) * x
    return value


def _weighted_powers(powers: dict[int, Tensor], c: Sequence[float]) -> Tensor:
    """Return c₀x² + c₁x³ + … from the `_products` of x, in as few sweeps over the numbers as PyTorch can.

    Each xⁿ is a product of two powers of about half the exponent, multiplied and added up in one sweep (`addcmul`);
    Horner's rule takes two sweeps a term, one of them slow for its scalar.
    """
    value = powers[2] * c[0]
    for n, coefficient in enumerate(c[1:], 3):
        if coefficient:
            value.addcmul_(powers[n // 2], powers[n - n // 2], value=coefficient)
    return value


def _products(x: Tensor, degree: int) -> dict[int, Tensor]:
    """Return the powers x, x², … whose products of two reach every exponent up to `degree`."""
    powers = {1: x}
    for n in range(2, max((degree + 1) // 2, 2) + 1):
        powers[n] = powers[n - 1] * x
    return powers


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors by rows into blocks that fit a CPU's cache; a GPU takes all rows at once."""
    rows, columns = tensors[0].shape
    step = max(BLOCK * torch.get_num_threads() // columns, 1)
    if rows <= step or tensors[0].device.type != "cpu":
        return iter([tensors])
    return zip(*(t.split(step) for t in tensors))


def _is_constant(c: Coefficients) -> bool:
    return not isinstance(c.offset, Tensor) and not isinstance(c.log_weight, Tensor)


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0
