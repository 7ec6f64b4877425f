"""The Taylor loss family as a module: any order, hard and soft labels, the log term, the scale rules."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from autorobustloss.losses import kernel
from autorobustloss.losses.base import LearnableLoss
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
    weight, ignore_index, reduction, label_smoothing: as in `torch.nn.CrossEntropyLoss`.

    Source: Gao, Gouk, Hospedales, Searching for Robustness: Loss Learning for Noisy Classification Tasks, ICCV 2021,
    equations 3 to 5; the log term, its power and the scale rules are ours.

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
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)
        self.scale = check_scale(scale)
        self.theta, (self.log_weight,) = as_floats(theta, "theta"), as_floats([log_weight], "log_weight")
        # Complains about a θ that overflows, and about the power.
        self.log_power = CanonicalForm.from_theta(self.theta, self.log_weight, log_power).log_power
        self.order = order_of(len(self.theta))
        # In one tuple, because a compiler with dynamic shapes takes a number of a module's own for a variable.
        self._numbers = self.theta, self.log_weight, self.log_power, self.scale

    def canonical(self) -> CanonicalForm:
        """Return what of θ moves the gradient; two losses with equal forms train alike at equal scale."""
        return _canonical(self._numbers)

    def formula(self) -> str:
        """Return the loss as a short formula in plain text."""
        return export.as_text(self.canonical(), self.scale)

    def latex(self) -> str:
        """Return the loss as a formula in LaTeX."""
        return export.as_latex(self.canonical(), self.scale)

    def code(self, format: str = "torch") -> str:
        """Return the loss as a Python module that needs only PyTorch, or the library of another format."""
        return export.as_code(self.canonical(), self.theta, self.scale, format)

    def _by_kernel(self, input: Tensor, target: Tensor) -> Tensor | None:
        mean, c, gradient = self.reduction == "mean", self.coefficients, ops.asks(input)
        if not self._plain():
            return None
        swept = kernel.sweep(input, target, c, mean=mean, gradient=gradient, ignored=self.ignore_index)
        if swept is None:
            return None
        value = swept[0]
        if gradient:
            value = ops.with_gradient(input, *swept, ops.again(target, c(input.shape[1]), mean))
        return value.sum() if self.reduction == "sum" else value

    def _in_graph(self, input: Tensor, target: Tensor) -> Tensor | None:
        return ops.mean(input, target, self.ignore_index, *self.coefficients(input.shape[1])) if ops.ready() else None

    def _plain(self) -> bool:
        """Return whether a sample counts once, with one label."""
        return self.weight is None and not self._smoothing

    def value_and_gradient(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and its gradient in `input`, for training loops that need no graph."""
        if self.reduction == "mean" and self._plain():
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

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each row for a target distribution: (M, C), (M, C) -> (M,)."""
        hard, soft = _constants(self._numbers, operator.index(logits.shape[1]))
        return ops.soft_loss(logits, probabilities, soft, hard.log_weight, hard.log_power)

    def coefficients(self, num_classes: int) -> Coefficients:
        """Return the constants of `ops.hard_loss` for C classes, scale included."""
        # `index` makes the number of classes a constant where `torch.compile` would keep it symbolic.
        return _constants(self._numbers, operator.index(num_classes))[0]

    def hyperparameters(self) -> dict[str, Any]:
        """Return theta, log_weight, scale and, unless it is 0, log_power, as `create_loss("taylor", …)` takes them."""
        power = {"log_power": self.log_power} if self.log_power else {}
        return {"theta": self.theta, "log_weight": self.log_weight, "scale": self.scale, **power}


Numbers: TypeAlias = tuple[tuple[float, ...], float, float, Scale]
"""All that a loss is: theta, log_weight, log_power, scale."""

Constants: TypeAlias = tuple[Coefficients, tuple[tuple[float, ...], ...]]
"""What a loss multiplies with at a number of classes, scale included: the coefficients for class indices, and c[i][j]
for probabilities, without the zeros of j > β − i."""


def _constants(numbers: Numbers, num_classes: int) -> Constants:
    return _cached_constants(numbers, num_classes)


# `torch.compile` shall call this and not look into it. `assume_constant_result`, which marks it for that, imports the
# whole compiler, which takes as long as the rest of PyTorch.
_constants._dynamo_marked_constant = True  # type: ignore[attr-defined]


@lru_cache(maxsize=1024)
def _cached_constants(numbers: Numbers, num_classes: int) -> Constants:
    """Return the constants, which are a pure function of a few numbers, exact until they are rounded once."""
    theta, log_weight, log_power, scale = numbers
    factor, rows = Fraction(scale_factor(scale, _canonical(numbers), num_classes)), expand_exactly(theta)
    exact = ops.coefficients(rows, num_classes, Fraction(log_weight), factor)
    others, label = (tuple(np.trim_zeros([rounded(v) for v in group], "b")) for group in exact[:2])
    log_weight = rounded(exact.log_weight)
    hard = Coefficients(others, label, log_weight, rounded(exact.offset), log_power if log_weight else 0.0)
    share = factor / num_classes
    soft = tuple(tuple(rounded(v * share) for v in row[: len(rows) - max(i, 1)]) for i, row in enumerate(rows))
    return hard, soft


@lru_cache(maxsize=1024)
def _canonical(numbers: Numbers) -> CanonicalForm:
    return CanonicalForm.from_theta(*numbers[:3])
