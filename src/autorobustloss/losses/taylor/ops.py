"""The Taylor loss as a pure function of logits, targets and coefficients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from itertools import repeat
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.errors import LossInputError
from autorobustloss.losses import kernel
from autorobustloss.losses.base import kept, mean_of, readable
from autorobustloss.losses.taylor.form import expand

BLOCK = 1 << 17
"""Numbers per core that the fast path works on at a time: a block and its intermediates stay in the cache."""

UNDERFLOW = 1e-30
"""Below it a probability in float32 is about to lose its digits, so its logarithm is taken from the logits."""

NEAR_LOG = 0.05
"""Up to this power q, (ŷ^q − 1)/q is worked out from the logarithm; above it ŷ^q has digits enough."""

NO_LABEL = -(1 << 62)
"""A label that nobody gives, to ignore none."""


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
        value = value - log_weight * target * _log_q(kept(log_p, target), log_power)
    return value.sum(1)


def transformed() -> bool:
    """Return whether transformations of torch.func, such as vmap, are at work: in traced code a constant."""
    return torch._C._are_functorch_transforms_active()


# What torch.compiler.assume_constant_result sets, and imports the compiler for; PyTorch 2.4 needs it.
transformed._dynamo_marked_constant = True  # type: ignore[attr-defined]


def hard_loss(input: Tensor, target: Tensor, c: Coefficients, *, mean: bool = False) -> Tensor:
    """Return the loss of each row for class indices, or their mean: (M, C), (M,) -> (M,) or ().

    Asked for the mean, the forward pass keeps its gradient ready, which averaging the rows afterwards would scale anew.
    """
    if not _is_constant(c) or transformed():
        rows = _by_plain_code(input, target, c)
    elif torch.compiler.is_compiling():
        rows = _Traced.apply(input, target, c, NO_LABEL)
    elif kernel.plain(input, target):
        return _ClosedForm.apply(input, target, c, mean, None)
    else:
        rows = _by_plain_code(input, target, c)
    return mean_of(rows) if mean else rows


def swept_loss(
    input: Tensor, target: Tensor, coefficients: Callable[[int], Coefficients], *, mean: bool, ignored: int
) -> Tensor | None:
    """Return `hard_loss` by the kernel, or None where that does not apply (see `kernel.sweep`)."""
    gradient = torch.is_grad_enabled() and input.requires_grad
    swept = kernel.sweep(input, target, coefficients, mean=mean, gradient=gradient, ignored=ignored)
    return None if swept is None else _ClosedForm.apply(input, target, coefficients(input.shape[1]), mean, swept)


def traced_loss(input: Tensor, target: Tensor, c: Coefficients, ignored: int) -> Tensor:
    """Return `hard_loss` of each row, 0 where the label is `ignored`; c are numbers. For `torch.compile`, no `vmap`."""
    return _Traced.apply(input, target, c, ignored)


def _log_q(log_p: Tensor, q: Any) -> Tensor:
    """Return (ŷ^q − 1)/q from log ŷ; log ŷ itself at q = 0."""
    if isinstance(q, Tensor):  # candidates of a cohort, some of which may have no power
        divisor = torch.where(q == 0, 1.0, q)
        return torch.where(q == 0, log_p, torch.expm1(divisor * log_p) / divisor)
    return torch.expm1(q * log_p) / q if q else log_p


def _by_plain_code(input: Tensor, target: Tensor, c: Coefficients) -> Tensor:
    """Return `hard_loss` of each row, differentiable in everything."""
    log_p = F.log_softmax(input, dim=1)
    p, log_p_label = log_p.exp(), log_p.gather(1, target.unsqueeze(1))
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

    A row whose label is `ignored` gives 0, and no gradient, by a choice at the end of either pass: chosen before, for
    each logit, it would cost more, and keep the compiler from finding the maximum in the same loop over the rows.

    In the older style, without `setup_context`, because older tracers take no other: no `vmap` reaches it.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, c: Coefficients, ignored: int) -> Tensor:
        counted = target != ignored
        largest = input.amax(1, keepdim=True)
        u = (input - largest).exp()
        inverse = 1 / u.sum(1, keepdim=True)
        log_p_label = input.gather(1, torch.where(counted, target, 0).unsqueeze(1)) - largest + inverse.log()
        p_label = log_p_label.exp()
        _, label_slopes, log_weight = _slopes(c)
        value, pull = _powers(p_label, c.label) + c.offset, _powers(p_label, label_slopes)
        if log_weight:
            value = value - log_weight * _log_q(log_p_label, c.log_power)
            pull = pull - log_weight * (p_label**c.log_power if c.log_power else 1.0)
        power, slope = u, pull
        for n, coefficient in enumerate(c.others, 2):
            power = power * u
            power_sum = power.sum(1, keepdim=True) * inverse**n
            value = value + coefficient * power_sum
            slope = slope + n * coefficient * power_sum
        ctx.c, ctx.ignored = c, ignored
        ctx.save_for_backward(input, target, largest, inverse, slope, pull)
        return torch.where(counted, value.squeeze(1), 0.0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        input, target, largest, inverse, slope, pull = ctx.saved_tensors
        at_label = target.unsqueeze(1)
        p = (input - largest).exp() * inverse
        # A CPU compares int32 in vectors of as many numbers as float32, int64 in half as many.
        is_label = torch.arange(input.shape[1], device=input.device, dtype=torch.int32) == at_label.int()
        result = p * (_powers(p, _slopes(ctx.c)[0]) - slope) + torch.where(is_label, pull, 0.0)
        return torch.where(at_label != ctx.ignored, result * grad.unsqueeze(1), 0.0), None, None, None


class _ClosedForm(torch.autograd.Function):
    """`hard_loss` with constant coefficients: value and gradient in closed form, in one sweep over the logits.

    swept: what `kernel.sweep` returned, if that did it before.

    With d_k the slope of the loss in ŷ_k, ∂L/∂z_k = ŷ_k (d_k − Σ_i ŷ_i d_i). The forward pass keeps the gradient of
    what it returns, if anybody will ask for it, so under the mean the backward pass has nothing left to do.

    The logits themselves are needed for derivatives of the gradient only, so who changes them in place afterwards does
    no harm, as under cross-entropy, before he asks for these: that is refused. PyTorch's own check would refuse both.

    In the older style, for `setup_context` takes as long as ten operations on a small batch; no `vmap` reaches it.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, c: Coefficients, mean: bool, swept: Any) -> Tensor:
        share = 1 / max(len(input), 1) if mean else 1.0
        value, gradient = swept or _sweep(input, target, c, mean, share, ctx.needs_input_grad[0])
        ctx.c, ctx.share = c, share
        ctx.save_for_backward(target, gradient)
        if gradient is not None:
            ctx.input, ctx.version = input, input._version
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        target, gradient = ctx.saved_tensors
        again = backward_again()
        if torch.is_grad_enabled():  # double backward
            if ctx.input._version != ctx.version:
                raise changed_in_place()
            gradient = ctx.share * _gradient(ctx.input, target, ctx.c) * grad.unsqueeze(-1)
        elif not _is_one(grad):
            gradient = gradient * grad.unsqueeze(-1)
        elif again:  # somebody may change in place what he is given
            gradient = gradient.clone()
        if not again:
            ctx.input = None
        return gradient, None, None, None, None


def _sweep(
    input: Tensor, target: Tensor, c: Coefficients, mean: bool, share: float, gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Return what `kernel.sweep` does, by PyTorch's operations."""
    constants = _constants(c, share, input.dtype, input.device)
    place = torch.empty_like(input) if gradient else None
    values = [_block(z, y, part, constants) for z, y, part in _blocks(input, target, place)]
    value = torch.cat(values) if len(values) > 1 else values[0]
    return mean_of(value) if mean else value, place


class _Constants(NamedTuple):
    """What a sweep multiplies with, for a share of the gradient.

    Numbers that meet a tensor are tensors themselves: PyTorch takes twice as long over a float.
    """

    others: tuple[float, ...]
    slopes: tuple[float, ...]
    label: tuple[Tensor, ...]
    offset: Tensor
    log_weight: float
    log_slope: float
    log_power: float
    power_weight: float
    share_of_value: float
    rest: tuple[float, ...]


@lru_cache(maxsize=1024)
def _constants(c: Coefficients, share: float, dtype: torch.dtype, device: torch.device) -> _Constants:
    """Return the constants of `_block`.

    others, slopes: the coefficients of G(ŷ), from ŷ² on, and those of share · ŷ G′(ŷ).
    label: pairs, the coefficients of H(ŷ) and of share · ŷ H′(ŷ), from ŷ on, each of shape (2, 1).
    power_weight: log_weight/q, of which log_weight · log_q ŷ is (ŷ^q − 1) times; the constant is in the offset. It is 0
        for a q so near 0 that digits would be lost.
    share_of_value, rest: G(ŷ) is the one times share · ŷ G′(ŷ), which the gradient needs anyway, and a polynomial with
        the coefficients `rest`, from ŷ² on, that spares a term (the third power where there is one).
    """
    slopes, label_slopes, log_weight = _slopes(c)
    spared = min(len(slopes) + 1, 3)
    power_weight = log_weight / c.log_power if c.log_power > NEAR_LOG else 0.0
    as_tensor = partial(torch.tensor, dtype=dtype, device=device)
    return _Constants(
        others=c.others,
        slopes=tuple(share * v for v in slopes),
        label=tuple(as_tensor([[v], [share * w]]) for v, w in zip(c.label, label_slopes)),
        offset=as_tensor(c.offset + power_weight),
        log_weight=log_weight,
        log_slope=share * log_weight,
        log_power=c.log_power,
        power_weight=power_weight,
        share_of_value=1 / (share * spared),
        rest=tuple(v * (1 - n / spared) for n, v in enumerate(c.others, 2)),
    )


def _block(input: Tensor, target: Tensor, gradient: Tensor | None, c: _Constants) -> Tensor:
    """Return the loss of each row, and write the share of its gradient, (M, C), if there is a place for it."""
    at_label = target.unsqueeze(1)
    p = torch.softmax(input, dim=1, out=gradient)
    p_label = p.gather(1, at_label).T
    value, pull = _powers(p_label, c.label) if c.label else p_label.new_zeros(2, p_label.shape[1])
    value.add_(c.offset)
    power = p_label.squeeze(0) ** c.log_power if c.log_power else None
    if c.power_weight:
        value.sub_(power, alpha=c.power_weight)
    elif c.log_weight:
        value.sub_(_log_q(_log_p_label(input, p_label, at_label), c.log_power), alpha=c.log_weight)
    if gradient is None:
        return value.add_(_weighted_powers(_products(p, len(c.others) + 1), c.others).sum(1)) if c.others else value
    if power is not None:
        pull.sub_(power, alpha=c.log_slope)
    elif c.log_slope:
        pull -= c.log_slope
    if c.slopes:
        powers = _products(p, len(c.slopes) + 1)
        if len(c.rest) > 1:
            value.add_(_weighted_powers(powers, c.rest).sum(1))
        terms = _weighted_powers(powers, c.slopes)
        sums = terms.sum(1)
        value.add_(sums, alpha=c.share_of_value)
        torch.addcmul(terms, p, (pull + sums).unsqueeze(1), value=-1, out=gradient)
    else:
        gradient *= -pull.unsqueeze(1)
    gradient.scatter_add_(1, at_label, pull.unsqueeze(1))
    return value


def _log_p_label(input: Tensor, p_label: Tensor, at_label: Tensor) -> Tensor:
    """Return log ŷ_label, (M,), from ŷ_label, (1, M), or from the logits where that is about to lose its digits."""
    log_p = p_label.squeeze(0).log()
    if input.device.type != "cpu" or (len(input) and p_label.amin().item() < UNDERFLOW):  # elsewhere a look costs more
        exact = input.gather(1, at_label).squeeze(1) - input.logsumexp(1)
        log_p = torch.where(p_label.squeeze(0) < UNDERFLOW, exact, log_p)
    return log_p


def changed_in_place() -> LossInputError:
    """Return the error for logits that are needed for a second derivative and are there no more."""
    return LossInputError(
        "got logits that were changed in place between the loss and a derivative of its gradient, expected those that "
        "the loss was taken of; change a copy: logits.clone()"
    )


def _is_one(grad: Tensor) -> bool:
    """Return whether the gradient of a mean is 1, as it mostly is, if a look at it costs nothing."""
    if grad.ndim or torch._C._functorch.is_legacy_batchedtensor(grad) or not readable(grad):
        return False
    return grad.item() == 1


# Whether the backward pass that runs keeps its graph for another one; PyTorch 2.4 does not tell.
backward_again: Callable[[], bool] = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)


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


def _blocks(input: Tensor, *others: Tensor | None) -> Iterable[tuple[Any, ...]]:
    """Split tensors (and what is None) by rows into blocks that fit a CPU's cache; a GPU takes all rows at once."""
    rows, columns = input.shape
    step = max(BLOCK * torch.get_num_threads() // columns, 1)
    if rows <= step or input.device.type != "cpu":
        return [(input, *others)]
    return zip(*(repeat(None) if t is None else t.split(step) for t in (input, *others)))


def _is_constant(c: Coefficients) -> bool:
    return not isinstance(c.offset, Tensor) and not isinstance(c.log_weight, Tensor)


def _is_zero(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == 0
