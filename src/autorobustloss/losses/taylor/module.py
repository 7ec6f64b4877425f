"""The Taylor loss family as a module: any order, hard and soft labels, the log term, the scale rules."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from autorobustloss.losses import kernel
from autorobustloss.losses.base import LearnableLoss
from autorobustloss.losses.closed import transformed
from autorobustloss.losses.kernel import Coefficients
from autorobustloss.losses.numbers import as_floats
from autorobustloss.losses.taylor import export, ops
from autorobustloss.losses.taylor.form import CanonicalForm, expand_exactly, order_of, rounded
from autorobustloss.losses.taylor.scale import Scale, check_scale, scale_factor
from autorobustloss.registry import LOSSES


@LOSSES.register("taylor")
class TaylorLoss(LearnableLoss):
    """The class-wise separable Taylor polynomial of Gao, Gouk, Hospedales (ICCV 2021), Eq. 4 and 5.

        L = scale · (1/C) Σ_k [ℓ_θ(ŷ_k, y_k) − log_weight · y_k log_q ŷ_k],    ŷ = softmax(input),
        ℓ_θ(ŷ, y) = Σ_{a ≥ 1, a + b ≤ β} θ_{ab} (ŷ − θ₀)ᵃ (y − θ₁)ᵇ / (a! b!)

    theta: θ₀, θ₁ (the point of expansion), then θ_{ab} in the order of Eq. 5 (`form.exponents` for other orders); the
        order β follows from the length: 5, 8, 12, 17, … numbers for β = 2, 3, 4, 5, …
    log_weight: weight of the log term, 0 for the family of the paper. With it cross-entropy (θ = 0, log_weight 1),
        mean absolute error and their mixtures are members.
    log_power: q of log_q ŷ = (ŷ^q − 1)/q, from 0 (the logarithm) to 1; generalised cross-entropy with this q is a
        member then: θ = 0, log_weight 1.
    scale: None for the formula as it stands; "init" to start training with the gradient of cross-entropy, "max" for
        a largest gradient of 1, "geometric" for the mean of the two, or a multiple of these such as "0.3max" (see
        `scale.scale_factor`); or a factor > 0.
    weight, ignore_index, reduction: as in `torch.nn.CrossEntropyLoss`.

    The parameters are constants of the loss: no `state_dict` holds or changes them, `half()` and the like leave them
    alone, and no gradient reaches them (`ops.taylor_loss` takes θ as a tensor).

    Raises ConfigError for a θ of a length without order, with a NaN or an infinity, for an unknown scale rule and,
    when called, for a scale rule that the loss cannot follow.

    >>> mae = TaylorLoss([0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0], scale="init")  # ℓ = −ŷy
    >>> round(mae(torch.tensor([[2.0, 1.0, 0.0]]), torch.tensor([0])).item(), 4)
    -1.9957
    """

    def __init__(
        self,
        theta: Iterable[float],
        log_weight: float = 0.0,
        scale: Scale = None,
        *,
        log_power: float = 0.0,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)
        self.scale = check_scale(scale)
        self.theta, (self.log_weight,) = as_floats(theta, "theta"), as_floats([log_weight], "log_weight")
        # Complains about a θ that overflows, and about the power.
        self.log_power = CanonicalForm.from_theta(self.theta, self.log_weight, log_power).log_power
        self.order = order_of(len(self.theta))
        # In one tuple, because a compiler with dynamic shapes takes a number of a module's own for a variable.
        self._numbers = Numbers(self.theta, self.log_weight, self.log_power, self.scale)

    def canonical(self) -> CanonicalForm:
        """Return what of θ moves the gradient; two losses with equal forms train alike at equal scale."""
        return _canonical(self._numbers)

    def formula(self) -> str:
        """Return the loss as a short formula in plain text."""
        return export.as_text(self.canonical(), self.scale)

    def latex(self) -> str:
        """Return the loss as a formula in LaTeX."""
        return export.as_latex(self.canonical(), self.scale)

    def code(self) -> str:
        """Return the loss as a Python module that needs only PyTorch."""
        return export.as_code(self.canonical(), self.theta, self.scale)

    def forward(self, input: Tensor, target: Tensor, *, num_items_in_batch: int | Tensor | None = None) -> Tensor:
        """Return the reduced loss of `input` (logits) against `target` (class indices or probabilities)."""
        plain = self.weight is None and num_items_in_batch is None and isinstance(input, Tensor)
        if plain and not torch.compiler.is_compiling():
            mean = self.reduction == "mean"
            loss = ops.swept_loss(input, target, self.coefficients, mean=mean, ignored=self.ignore_index)
            if loss is not None:
                return loss.sum() if self.reduction == "sum" else loss
        return super().forward(input, target, num_items_in_batch=num_items_in_batch)

    def value_and_gradient(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and its gradient in `input`, for training loops that need no graph."""
        if self.reduction == "mean" and self.weight is None:
            logits = input if input.dtype is torch.float32 else input.float()
            c, ignored = self.coefficients, self.ignore_index
            swept = kernel.sweep(logits, target, c, mean=True, gradient=True, ignored=ignored)
            if swept is not None:
                value, gradient = swept
                return value, gradient if logits is input else gradient.to(input.dtype)
        return super().value_and_gradient(input, target)

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row for class indices: (M, C), (M,) -> (M,)."""
        return ops.hard_loss(logits, labels, self.coefficients(logits.shape[1]))

    def hard_mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over the rows of `hard`: (M, C), (M,) -> ()."""
        return ops.hard_loss(logits, labels, self.coefficients(logits.shape[1]), mean=True)

    def hard_where(self, counted: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row, 0 where it does not count: (M,), (M, C), (M,) -> (M,)."""
        if torch.compiler.is_compiling() and not transformed():  # compiled code chooses at the end, which costs less
            labels = torch.where(counted, labels, 0)
            return ops.closed_loss(logits, labels, self.coefficients(logits.shape[1]), counted=counted)
        return super().hard_where(counted, logits, labels)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each row for a target distribution: (M, C), (M, C) -> (M,)."""
        c, log_weight = _expansion(self._numbers, operator.index(logits.shape[1]))
        return ops.soft_loss(logits, probabilities, c, log_weight, self.log_power)

    def coefficients(self, num_classes: int) -> Coefficients:
        """Return the constants of `ops.hard_loss` for C classes, scale included."""
        # `index` makes the number of classes a constant where `torch.compile` would keep it symbolic.
        return _coefficients(self._numbers, operator.index(num_classes))

    def hyperparameters(self) -> dict[str, Any]:
        """Return theta, log_weight, scale and, unless it is 0, log_power, as `create_loss("taylor", …)` takes them."""
        power = {"log_power": self.log_power} if self.log_power else {}
        return {"theta": self.theta, "log_weight": self.log_weight, "scale": self.scale, **power}


class Numbers(NamedTuple):
    """All that a loss is."""

    theta: tuple[float, ...]
    log_weight: float
    log_power: float
    scale: Scale


# The constants are pure functions of a few numbers, exact until they are rounded once.


def _coefficients(numbers: Numbers, num_classes: int) -> Coefficients:
    return _cached_coefficients(numbers, num_classes)


def _expansion(numbers: Numbers, num_classes: int) -> tuple[tuple[tuple[float, ...], ...], float]:
    return _cached_expansion(numbers, num_classes)


# `torch.compile` shall call these and not look into them. What marks them for it, `assume_constant_result`, imports the
# whole compiler, which takes as long as the rest of PyTorch.
for _function in (_coefficients, _expansion):
    setattr(_function, "_dynamo_marked_constant", True)  # noqa: B010


@lru_cache(maxsize=1024)
def _cached_coefficients(numbers: Numbers, num_classes: int) -> Coefficients:
    exact = ops.coefficients(
        expand_exactly(numbers.theta), num_classes, Fraction(numbers.log_weight), _factor(numbers, num_classes)
    )
    others, label = (_stripped(map(rounded, group)) for group in exact[:2])
    log_weight = rounded(exact.log_weight)
    return Coefficients(others, label, log_weight, rounded(exact.offset), numbers.log_power if log_weight else 0.0)


@lru_cache(maxsize=1024)
def _cached_expansion(numbers: Numbers, num_classes: int) -> tuple[tuple[tuple[float, ...], ...], float]:
    """Return c[i][j] for soft targets, without the zeros of j > β − i, and the log weight, both scaled."""
    factor, rows = _factor(numbers, num_classes) / num_classes, expand_exactly(numbers.theta)
    c = tuple(tuple(rounded(v * factor) for v in row[: len(rows) - max(i, 1)]) for i, row in enumerate(rows))
    return c, rounded(Fraction(numbers.log_weight) * factor)


def _factor(numbers: Numbers, num_classes: int) -> Fraction:
    return Fraction(scale_factor(numbers.scale, _canonical(numbers), num_classes))


@lru_cache(maxsize=1024)
def _canonical(numbers: Numbers) -> CanonicalForm:
    return CanonicalForm.from_theta(numbers.theta, numbers.log_weight, numbers.log_power)


def _stripped(values: Iterable[float]) -> tuple[float, ...]:
    found = list(values)
    while found and found[-1] == 0.0:
        found.pop()
    return tuple(found)
