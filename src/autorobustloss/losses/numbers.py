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
