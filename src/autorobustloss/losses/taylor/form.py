"""The parameters θ of a Taylor loss, and the few numbers of them that move a gradient.

Notation: ŷ is a predicted probability, y the target of that class (1 for the label, 0 for the others), β the order.
Eq. 5 of Gao, Gouk, Hospedales (ICCV 2021) is the case β = 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.polynomial.polynomial import polyval

from autorobustloss.errors import ConfigError
from autorobustloss.losses.numbers import as_floats

SIGNIFICANT_DIGITS = 12
"""Canonical coefficients that agree to so many digits of the largest one count as equal."""

HIGHEST_ORDER = 20
"""It is worked out exactly in a second; the time grows with the fourth power of the order."""

TINY_POWER = 1e-9
"""A log power below it is the logarithm, to the precision of float32, and would divide by nearly nothing."""


@lru_cache(maxsize=64)
def exponents(order: int) -> tuple[tuple[int, int], ...]:
    """Return the exponents (a, b) of (ŷ − θ₀)ᵃ(y − θ₁)ᵇ in the order of θ₂, θ₃, …

    First the pure powers of ŷ, then the mixed terms by total degree; within a degree from the most unequal pair of
    exponents to the most equal, and within a pair the smaller a first if the degree is odd, the larger first if it
    is even. At order 4 this is the order of the terms in Eq. 5.

    >>> exponents(4)[4:]
    ((1, 1), (1, 2), (2, 1), (3, 1), (1, 3), (2, 2))
    """
    pure = [(a, 0) for a in range(1, order + 1)]
    mixed = [(a, b) for a in range(1, order) for b in range(1, order + 1 - a)]
    mixed.sort(key=lambda ab: (sum(ab), -abs(ab[0] - ab[1]), ab[0] if sum(ab) % 2 else -ab[0]))
    return (*pure, *mixed)


def num_parameters(order: int) -> int:
    """Return the length of θ at order β: 2 + β(β + 1)/2.

    >>> [num_parameters(order) for order in (2, 3, 4, 5)]
    [5, 8, 12, 17]
    """
    return 2 + order * (order + 1) // 2


def order_of(length: int) -> int:
    """Return the order β of a θ of this length; raise ConfigError where there is none.

    >>> order_of(12)
    4
    """
    order = (math.isqrt(max(8 * (length - 2) + 1, 0)) - 1) // 2
    if order < 2 or num_parameters(order) != length:
        raise ConfigError(
            f"got theta of length {length}, expected 5, 8, 12, 17, … (2 + β(β+1)/2 numbers for order β = 2, 3, 4, 5, …)"
        )
    if order > HIGHEST_ORDER:
        raise ConfigError(
            f"got theta of length {length}, order {order}, expected at most order {HIGHEST_ORDER}, "
            f"{num_parameters(HIGHEST_ORDER)} numbers"
        )
    return order


def expand(theta: Sequence[Any]) -> list[list[Any]]:
    """Return the coefficients c[i][j] of ℓ_θ(ŷ, y) = Σ c[i][j] ŷⁱ yʲ (Eq. 5 multiplied out).

    Only + and × are used, so θ may hold floats, exact fractions or 0-d tensors.
    """
    order = order_of(len(theta))
    x0, y0 = -theta[0], -theta[1]
    powers = [[x**n for n in range(order + 1)] for x in (x0, y0)]
    c: list[list[Any]] = [[0] * (order + 1) for _ in range(order + 1)]
    for (a, b), parameter in zip(exponents(order), theta[2:]):
        term = parameter / (math.factorial(a) * math.factorial(b))
        for i in range(a + 1):
            for j in range(b + 1):
                c[i][j] = c[i][j] + term * (math.comb(a, i) * math.comb(b, j)) * powers[0][a - i] * powers[1][b - j]
    return c


@lru_cache(maxsize=1024)
def expand_exactly(theta: tuple[float, ...]) -> list[list[Fraction]]:
    """Return `expand(theta)` in exact arithmetic, so that nothing cancels however far θ₀, θ₁ lie from [0, 1]."""
    return expand([Fraction(t) for t in theta])


def rounded(value: Fraction | int) -> float:
    """Return the nearest float; raise ConfigError where there is none."""
    try:
        return float(value)
    except OverflowError:
        raise ConfigError("the coefficients of this loss exceed the range of a float; try smaller parameters") from None


@dataclass(frozen=True, eq=False)
class CanonicalForm:
    """What of θ moves the gradient with respect to the logits, for hard labels.

    The gradient of a class-wise separable loss under softmax depends only on the slopes d₁(ŷ) = ∂ℓ/∂ŷ at y = 1 and
    d₀(ŷ) at y = 0, and not on a constant added to both. At order β they are

        d₁(ŷ) = a₀ + a₁ŷ + … + a_{β−2} ŷ^{β−2} + k ŷ^{β−1} − log_weight ŷ^{log_power − 1},
        d₀(ŷ) =      b₁ŷ + … + b_{β−2} ŷ^{β−2} + k ŷ^{β−1},

    that is 2β − 2 numbers (6 at order 4), plus weight and power of the log term. Two forms are equal, and hash alike,
    if their coefficients agree to 12 digits of the largest one, whatever their nominal order; the scale rule of a loss
    is no part of its form.

    >>> a = CanonicalForm(a=(-1.0, 0.0, 0.0), b=(0.0, 0.0), k=0.0)  # mean absolute error
    >>> a == CanonicalForm.from_theta(a.theta())
    True
    """

    a: tuple[float, ...]
    b: tuple[float, ...]
    k: float
    log_weight: float = 0.0
    log_power: float = 0.0

    def __post_init__(self) -> None:
        for name in ("a", "b"):
            object.__setattr__(self, name, as_floats(getattr(self, name), name))
        for name in ("k", "log_weight", "log_power"):
            object.__setattr__(self, name, as_floats([getattr(self, name)], name)[0])
        if not 0 <= self.log_power <= 1:
            raise ConfigError(f"got log_power={self.log_power}, expected 0 (the logarithm) to 1 (linear)")
        if self.log_power < TINY_POWER:
            object.__setattr__(self, "log_power", 0.0)
        if not self.a or len(self.b) != len(self.a) - 1:
            raise ConfigError(
                f"got {len(self.a)} coefficients a and {len(self.b)} coefficients b, expected β−1 and β−2 for order β"
            )

    @classmethod
    def from_theta(cls, theta: Iterable[float], log_weight: float = 0.0, log_power: float = 0.0) -> CanonicalForm:
        """Return the form of the loss with parameters θ, computed exactly and rounded once."""
        c = expand_exactly(as_floats(theta, "theta"))
        zero, one = [row[0] for row in c], [sum(row) for row in c]
        order = len(c) - 1
        a = [rounded(one[1] - zero[1]), *(rounded(i * one[i]) for i in range(2, order))]
        b = [rounded(i * zero[i]) for i in range(2, order)]
        return cls(tuple(a), tuple(b), rounded(order * zero[order]), log_weight, log_power)

    @classmethod
    def from_vector(cls, values: Iterable[float], log_power: float = 0.0) -> CanonicalForm:
        """Read (a₀ … a_{β−2}, b₁ … b_{β−2}, k), or the same with log_weight appended (an odd number of values).

        >>> CanonicalForm.from_vector([-1, 0, 0, 0, 0, 0, 0.5]).log_weight
        0.5
        """
        numbers = as_floats(values, "canonical coefficients")
        size = len(numbers) // 2 * 2
        if size < 2:
            raise ConfigError(
                f"got {len(numbers)} canonical coefficients, expected 2β − 2, or 2β − 1 with the log term"
            )
        log_weight = numbers[size] if len(numbers) > size else 0.0
        return cls(numbers[: size // 2], numbers[size // 2 : size - 1], numbers[size - 1], log_weight, log_power)

    def vector(self, log: bool = True) -> tuple[float, ...]:
        """Return (a₀ … a_{β−2}, b₁ … b_{β−2}, k, log_weight), without the last one if `log` is False."""
        return (*self.a, *self.b, self.k, *((self.log_weight,) if log else ()))

    @property
    def order(self) -> int:
        """The order β of the polynomial."""
        return len(self.a) + 1

    def theta(self) -> tuple[float, ...]:
        """Return parameters with this form: expanded at (0, 0), linear in y; the inverse of `from_theta`."""
        slopes = {(a, 0): b for a, b in enumerate((0.0, *self.b, self.k), 1)}
        slopes.update({(a, 1): one - slopes[a, 0] for a, one in enumerate(self.a, 1)})
        # ∂/∂ŷ of θ ŷᵃ/a! is θ ŷ^{a−1}/(a−1)!
        return 0.0, 0.0, *(math.factorial(a - 1) * slopes.get((a, b), 0.0) for a, b in exponents(self.order))

    def integrals(self) -> tuple[list[float], list[float]]:
        """Return the coefficients of what is summed over all classes, from ŷₖ² on, and of the label, from ŷ_y on.

        They are ∫ d₀ and ∫ (d₁ − d₀) without the log term.
        """
        slopes = (*self.b, self.k)
        others = [slope / i for i, slope in enumerate(slopes, 2)]
        return others, [(one - zero) / i for i, (one, zero) in enumerate(zip(self.a, (0.0, *slopes)), 1)]

    def scaled(self, factor: float) -> CanonicalForm:
        """Return the form of `factor` times the loss."""
        return CanonicalForm.from_vector([factor * v for v in self.vector()], self.log_power)

    def d1(self, p: Any) -> Any:
        """Return the slope d₁(ŷ) of the labelled class, at a number or an array of numbers in (0, 1]."""
        value = polyval(p, (*self.a, self.k))
        if not self.log_weight:
            return value
        term = self.log_weight * p ** (self.log_power - 1) if self.log_power else self.log_weight / p
        return value - term

    def d0(self, p: Any) -> Any:
        """Return the slope d₀(ŷ) of any other class."""
        return polyval(p, (0.0, *self.b, self.k))

    def log_term(self, p: Any) -> Any:
        """Return (ŷ^q − 1)/q for the log power q, which is log ŷ at q = 0; the loss has −log_weight times it."""
        return np.expm1(self.log_power * np.log(p)) / self.log_power if self.log_power else np.log(p)

    def bracket(self, num_classes: int) -> float:
        """Return d₀(1/C) − d₁(1/C), the pull towards the label at uniform predictions (negative: a push away)."""
        return float(self.d0(1 / num_classes) - self.d1(1 / num_classes))

    @cached_property
    def key(self) -> tuple[float, ...]:
        """The rounded coefficients, reduced to the lowest order that has them: what equality and hash look at."""
        a, b, k = list(self.a), list(self.b), self.k
        largest = max(abs(v) for v in self.vector())
        if largest == 0.0:
            return ()
        # The exponent of the largest after rounding, so that 0.9999999999999999 counts as 1.
        exponent = int(f"{largest:.{SIGNIFICANT_DIGITS - 1}e}".split("e")[1])
        unit = Fraction(10) ** (exponent + 1 - SIGNIFICANT_DIGITS)

        def units(value: float) -> int:
            return round(Fraction(value) / unit)

        while b and units(k) == 0 and units(a[-1]) == units(b[-1]):
            k = b.pop()
            a.pop()
        power = (self.log_power,) if self.log_power and units(self.log_weight) else ()
        return (exponent, *map(units, (*a, *b, k, self.log_weight)), *power)

    def __eq__(self, other: object) -> bool:
        return self.key == other.key if isinstance(other, CanonicalForm) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.key)
