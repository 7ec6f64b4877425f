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

BLOCK = 1 << 16
"""Numbers per core that the fast path works on at a time: a block and its intermediates stay in the cache."""


class Coefficients(NamedTuple):
    """A class-wise separable polynomial loss for hard labels.

    The loss of a sample is Σ_k G(ŷ_k) + H(ŷ_label) − log_weight · log ŷ_label + offset, where
    G(ŷ) = others₀ ŷ² + others₁ ŷ³ + … and H(ŷ) = label₀ ŷ + label₁ ŷ² + … The entries are floats (the fast path), or
    0-d tensors, which `torch.vmap` may batch over candidates and autograd may differentiate.
    """

    others: tuple[Any, ...]
    label: tuple[Any, ...]
    log_weight: Any
    offset: Any


def coefficients(c: Sequence[Sequence[Any]], num_classes: int, log_weight: Any, scale: Any) -> Coefficients:
    """Return the hard-label coefficients of scale · (1/C) Σ_k ℓ(ŷ_k, y_k), with ℓ(ŷ, y) = Σ c[i][j] ŷⁱ yʲ.

    The part of ℓ that is linear in ŷ and the same for every class adds up to a constant, because Σ_k ŷ_k = 1. It goes
    into the offset, where it costs nothing and takes no digit away from the gradient.
    """
    factor = scale / num_classes
    zero, one = [row[0] * factor for row in c], [sum(row) * factor for row in c]
    gap = [one[i] - zero[i] for i in range(len(c))]
    offset = num_classes * zero[0] + zero[1] + gap[0]
    return Coefficients(tuple(zero[2:]), tuple(gap[1:-1]), log_weight * factor, offset)


def taylor_loss(input: Tensor, target: Tensor, theta: Any, *, log_weight: Any = 0.0, scale: Any = 1.0) -> Tensor:
    """Return the Taylor loss of each row: logits (M, C) and class indices (M,) or probabilities (M, C) -> (M,).

        L = scale · (1/C) Σ_k [ℓ_θ(ŷ_k, y_k) − log_weight · y_k log ŷ_k],    ŷ = softmax(input)

    with ℓ_θ the polynomial of Eq. 5 (Gao, Gouk, Hospedales, ICCV 2021) at the order that the length of θ implies.
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
        return soft_loss(input, target, [[v * factor for v in row] for row in c], log_weight * factor)
    return hard_loss(input, target, coefficients(c, input.shape[1], log_weight, scale))


def soft_loss(input: Tensor, target: Tensor, c: Sequence[Sequence[Any]], log_weight: Any) -> Tensor:
    """Return Σ_k [Σ c[i][j] ŷ_kⁱ y_kʲ − log_weight · y_k log ŷ_k] of each row: (M, C), (M, C) -> (M,)."""
    log_p = F.log_softmax(input, dim=1)
    p = log_p.exp()
    value = torch.zeros_like(p)
    for row in reversed(c):  # Horner's rule in ŷ, its coefficients by Horner's rule in y
        inner = torch.zeros_like(p) + row[-1]
        for coefficient in row[-2::-1]:
            inner = inner * target + coefficient
        value = value * p + inner
    if not _is_zero(log_weight):
        value = value - log_weight * target * log_p
    return value.sum(1)


def hard_loss(input: Tensor, target: Tensor, c: Coefficients) -> Tensor:
    """Return the loss of each row for class indices: (M, C), (M,) -> (M,)."""
    if _is_constant(c) and not torch.compiler.is_compiling():
        return _ClosedForm.apply(input, target, c)[0]
    if _is_constant(c) and not torch._C._are_functorch_transforms_active():
        return _Traced.apply(input, target, c)
    log_p = F.log_softmax(input, dim=1)
    return _value(log_p.exp(), log_p.gather(1, target.unsqueeze(1)), target, c)


def _value(p: Tensor, log_p_label: Tensor, target: Tensor, c: Coefficients) -> Tensor:
    """Return `hard_loss` at ŷ = p as plain code, differentiable in everything."""
    value = (_powers(p, c.others) * p).sum(1, keepdim=True) + _powers(p.gather(1, target.unsqueeze(1)), c.label)
    if not _is_zero(c.log_weight):
        value = value - c.log_weight * log_p_label
    return (value + c.offset).squeeze(1)


def _gradient(p: Tensor, target: Tensor, c: Coefficients) -> Tensor:
    """Return the gradient of each row's loss in its logits, at ŷ = p, as plain code: (M, C), (M,) -> (M, C)."""
    slopes, label_slopes, log_weight = _slopes(c)
    at_label = target.unsqueeze(1)
    pull = _powers(p.gather(1, at_label), label_slopes) - log_weight
    terms = _powers(p, slopes) * p
    is_label = torch.arange(p.shape[1], device=p.device) == at_label
    return terms - p * (terms.sum(1, keepdim=True) + pull) + torch.where(is_label, pull, 0.0)


class _Traced(torch.autograd.Function):
    """`hard_loss` for `torch.compile`, which makes few sweeps of plain code, but fewer of `_gradient` than of autograd.

    In the older style, without `setup_context`, because older tracers take no other: no `vmap` reaches it.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, c: Coefficients) -> Tensor:
        ctx.c, p = c, input.softmax(1)
        ctx.save_for_backward(p, target)
        return _value(p, _log_p_label(input, p, target.unsqueeze(1)), target, c)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        p, target = ctx.saved_tensors
        return _gradient(p, target, ctx.c) * grad.unsqueeze(1), None, None


class _ClosedForm(torch.autograd.Function):
    """`hard_loss` with constant coefficients and its gradient in closed form, each in one sweep over the logits.

    With d_k the slope of the loss in ŷ_k, ∂L/∂z_k = ŷ_k (d_k − Σ_i ŷ_i d_i). Returns ŷ as well, for the
    backward pass only.
    """

    @staticmethod
    def forward(input: Tensor, target: Tensor, c: Coefficients) -> tuple[Tensor, Tensor]:
        at_label = target.unsqueeze(1)
        p, value = torch.empty_like(input), input.new_empty(input.shape[0], 1)
        for z_, p_, value_ in _blocks(input, p, value):
            torch.softmax(z_, dim=1, out=p_)
            if c.others:
                torch.sum(_weighted_powers(p_, c.others, 2), dim=1, keepdim=True, out=value_)
        if not c.others:
            value.zero_()
        p_label = p.gather(1, at_label)
        if c.label:
            value += _weighted_powers(p_label, c.label, 1)
        if c.log_weight:
            value.sub_(_log_p_label(input, p, at_label), alpha=c.log_weight)
        return value.add_(c.offset).squeeze(1), p

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Coefficients], output: tuple[Tensor, Tensor]) -> None:
        input, target, ctx.c = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(input, target, output[1])
        ctx.save_for_forward(input, target)

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:
        input, target, p = ctx.saved_tensors
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(grad):
            # Double backward, or `is_grads_batched`, whose tensors know no `out=`.
            return _gradient(input.softmax(1), target, ctx.c) * grad.unsqueeze(1), None, None
        slopes, label_slopes, log_weight = _slopes(ctx.c)
        at_label = target.unsqueeze(1)
        grad = grad.unsqueeze(1)
        pull = _weighted_powers(p.gather(1, at_label), label_slopes, 1)
        if log_weight:
            pull -= log_weight
        result = torch.empty_like(p)
        for p_, pull_, grad_, result_ in _blocks(p, pull, grad, result):
            terms = _weighted_powers(p_, slopes, 2)
            terms.addcmul_(p_, terms.sum(1, keepdim=True).add_(pull_), value=-1)
            torch.mul(terms, grad_, out=result_)
        return result.scatter_add_(1, at_label, pull.mul_(grad)), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: Any) -> tuple[Tensor, None]:
        input, target = ctx.saved_tensors
        return (_gradient(input.softmax(1), target, ctx.c) * tangent).sum(1), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], input: Tensor, target: Tensor, c: Coefficients) -> Any:
        input, target = (
            t.movedim(dim, 0) if dim is not None else t.expand(info.batch_size, *t.shape)
            for t, dim in zip((input, target), in_dims)
        )
        value, p = _ClosedForm.apply(input.flatten(0, 1), target.flatten(), c)
        return (value.view_as(target), p.view_as(input)), (0, 0)


# `Function.apply` asks for this signature at every call; working it out anew costs as much as a small batch.
_ClosedForm.forward.__signature__ = inspect.signature(_ClosedForm.forward)  # type: ignore[attr-defined]


def _log_p_label(input: Tensor, p: Tensor, at_label: Tensor) -> Tensor:
    """Return log ŷ_label = z_label − max z + log max ŷ: no second exponential, no digit lost for large logits."""
    return input.gather(1, at_label) - input.amax(1, keepdim=True) + p.amax(1, keepdim=True).log()


def _slopes(c: Coefficients) -> tuple[list[float], list[float], float]:
    """Return the coefficients of ŷ G′(ŷ), from ŷ² on, and of ŷ H′(ŷ), from ŷ on, and the log weight."""
    return [i * v for i, v in enumerate(c.others, 2)], [i * v for i, v in enumerate(c.label, 1)], c.log_weight


def _powers(x: Tensor, c: Sequence[Any]) -> Tensor:
    """Return c₀x + c₁x² + … by Horner's rule."""
    value = c[-1] * x if c else torch.zeros_like(x)
    for coefficient in c[-2::-1]:
        value = (value + coefficient) * x
    return value


def _weighted_powers(x: Tensor, c: Sequence[float], first: int) -> Tensor:
    """Return c₀xⁿ + c₁xⁿ⁺¹ + … with n = `first` (1 or 2), in as few sweeps over the numbers as PyTorch can.

    Each xⁿ is a product of two powers of about half the exponent, multiplied and added up in one sweep (`addcmul`);
    Horner's rule takes two sweeps a term, one of them slow for its scalar.
    """
    if not c:
        return torch.zeros_like(x)
    powers = {1: x}
    for n in range(2, max((first + len(c)) // 2, first) + 1):
        powers[n] = powers[n - 1] * x
    value = powers[first] * c[0]
    for n, coefficient in enumerate(c[1:], first + 1):
        if coefficient:
            value.addcmul_(powers[n // 2], powers[n - n // 2], value=coefficient)
    return value


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
