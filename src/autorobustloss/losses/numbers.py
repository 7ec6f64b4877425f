"""Numbers that somebody gives a loss."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from autorobustloss.errors import ConfigError


def as_floats(values: Iterable[Any], name: str) -> tuple[float, ...]:
    """Return the numbers as a tuple of finite floats; `name` is what the error calls them."""
    if hasattr(values, "tolist"):
        values = values.tolist()
    try:
        numbers = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        raise ConfigError(f"got {name}={values!r}, expected a sequence of numbers") from None
    for position, number in enumerate(numbers):
        if not math.isfinite(number):
            raise ConfigError(f"got {name}[{position}]={number}, expected a finite number")
    return numbers


def within(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    smallest: float = 1e-30,
) -> float:
    """Return a hyper-parameter as a float, or raise ConfigError if it is not a number in the given range.

    Any but 0 must be from `smallest` to 1e30 in size: float32 could not hold what is made of others.

    >>> within("q", 0.7, above=0, at_most=1)
    0.7
    """
    number = not isinstance(value, bool) and isinstance(value, (int, float))
    if number and above < value < below and at_least <= value <= at_most:
        if value == 0 or smallest <= abs(value) <= 1e30:
            return float(value)
        raise ConfigError(f"got {name}={value!r:.80}, expected 0 or a size from {smallest:g} to 1e30")
    limits = ((">", above), (">=", at_least), ("<", below), ("<=", at_most))
    wanted = " and ".join(f"{sign} {limit:g}" for sign, limit in limits if math.isfinite(limit))
    raise ConfigError(f"got {name}={value!r}, expected a number {wanted}".rstrip())
