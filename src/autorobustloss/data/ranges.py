"""From the numbers a user stored to float32: what it cannot hold is shifted, scaled or refused, never lost silently."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping

import numpy as np

from autorobustloss.errors import DataError, DataWarning

STEPS = 2.0**16
"""Float32 has 2²⁴ steps: of a column whose offset is more than so many times its spread, it leaves fewer than 2⁸."""
ROUNDING = 64
"""Floats that spread over less than so many times their rounding do so by rounding: the column is constant."""
LARGEST = 2.0**50
"""Squares and sums of what is smaller than this, and larger than its inverse, stay within float32."""
FOLD, FEWEST = 50.0, 10
"""Parts differ in range if the sizes of their values differ so many times, over so many values that are not 0."""
FAR = 20.0
"""So they do if nine tenths of a part's values are so many times x_train's spread away from its median."""
LOOKED_AT = 2**20
"""Values of a part from which its columns are judged."""


def as_stored(parts: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """Return the samples of all parts, (N, C, H, W) or (N, F), as uint8 or float32 in memory of their own.

    Integers from 0 to 255 become uint8, all others float32. A column of the training part (a channel of images) whose
    offset or size float32 cannot hold is stored, in every part, as (x - offset) · 2ᵏ, taken in the numbers' own
    precision; standardisation removes both again. Every other column keeps its numbers.
    Raises DataError for NaN and values beyond float32, and warns where parts are in different units.
    """
    parts = {part: _checked(x, source, part) for part, x in parts.items()}
    train = parts["x_train"]
    for part, x in parts.items():
        if part != "x_train":
            _warn_of_units(x, train, source, part)
    offset, exponent = _misfits(train)
    return {part: _cast(x, offset, exponent) for part, x in parts.items()}


def _checked(x: np.ndarray, source: str, part: str) -> np.ndarray:
    """Return samples, those from 0 to 255 as bytes; DataError for what float32 has no number for."""
    if x.dtype.kind == "f":
        wrong = ~(np.abs(x) <= np.finfo(np.float32).max).reshape(len(x), -1).all(1)
        if wrong.any():
            raise DataError(
                f"{source}: {part} has NaN, infinite values or such beyond float32 in {int(wrong.sum())} samples, "
                f"first in sample {int(wrong.argmax())}; drop those samples, fill the values in, or change the unit"
            )
        return x
    low, high = int(x.min()), int(x.max())
    if low >= 0 and high <= 255:
        return x.astype(np.uint8, copy=False)
    # Where there are long floats they hold all integers; differences of the largest ones are beyond int64.
    return x if low > -(2**62) and high < 2**62 else x.astype(np.longdouble)


def _misfits(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offset and exponent of two of each column, both 0 where float32 holds its numbers, as it does bytes."""
    if x.dtype == np.uint8:
        return np.zeros(1), np.zeros(1)
    median, spread = _centre(x)
    offset = np.where((spread > 0) & (np.abs(median.astype(np.float64)) > STEPS * spread), median, 0)
    axes = (0, *range(2, x.ndim))
    ends = np.stack([_exact(x.min(axes)), _exact(x.max(axes))]) - offset
    size = np.abs(ends.astype(np.float64)).max(0)
    extreme = (size > LARGEST) | ((size > 0) & (size < 1 / LARGEST))
    return offset, np.where(extreme, -np.frexp(size)[1], 0)


def _cast(x: np.ndarray, offset: np.ndarray, exponent: np.ndarray) -> np.ndarray:
    if not offset.any() and not exponent.any():
        return np.array(x, dtype=np.uint8 if x.dtype == np.uint8 else np.float32, order="C")
    shape = (-1, *(1,) * (x.ndim - 2))
    # The difference is taken in the numbers' own precision.
    shifted = (_exact(x) - offset.reshape(shape)).astype(np.float64)
    with np.errstate(over="ignore"):
        return np.ldexp(shifted, exponent.reshape(shape)).astype(np.float32, order="C")


def _exact(x: np.ndarray) -> np.ndarray:
    """Return numbers in a type in which differences of near ones are exact: int64, float64 or a longer float."""
    return x.astype(np.int64 if x.dtype.kind in "bui" else np.promote_types(x.dtype, np.float64), copy=False)


def _sample(x: np.ndarray) -> np.ndarray:
    """Return about `LOOKED_AT` values, evenly taken, as (n, C)."""
    rows = x[:: -(-len(x) // max(32, LOOKED_AT // math.prod(x.shape[1:])))]
    values = np.moveaxis(rows, 1, -1).reshape(-1, x.shape[1])
    return values[:: -(-values.size // (2 * LOOKED_AT))]


def _centre(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the median and spread of each column; 0 where it is constant but for rounding."""
    values = np.sort(_exact(_sample(x)), axis=0)
    n = len(values)
    median = values[n // 2]
    around = (values - median).astype(np.float64)
    # The quartiles, for a few values far away, such as 0 for a missing time, make no offset harmless.
    quartiles = around[3 * n // 4] - around[n // 4]
    spread = np.where(quartiles > 0, quartiles, around.std(0))
    rounding = ROUNDING * float(np.finfo(values.dtype).eps) if values.dtype.kind == "f" else 0.0
    return median, np.where(spread > rounding * np.abs(median.astype(np.float64)), spread, 0.0)


def _warn_of_units(x: np.ndarray, train: np.ndarray, source: str, part: str) -> None:
    """Warn where a column's values differ in size by `FOLD` between two parts, in every quantile, or lie `FAR` off.

    Zeros are left out of the sizes, and few values say nothing, so that rare features and heavy tails raise no alarm.
    A constant column is left unscaled, so its distances are the numbers themselves.
    """
    (count, sizes), (train_count, train_sizes) = _sizes(x), _sizes(train)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = sizes / train_sizes
    apart = ((ratio >= FOLD).all(0) | (ratio <= 1 / FOLD).all(0)) & (np.minimum(count, train_count) >= FEWEST)
    first = int(apart.argmax())
    what, detail = "in different ranges", f"typical sizes are {sizes[1, first]:.3g} and {train_sizes[1, first]:.3g}"
    if not apart.any():
        median, spread = _centre(train)
        away = np.sort(np.abs((_exact(_sample(x)) - median).astype(np.float64)), axis=0)
        distance = away[len(away) // 10] / np.where(spread > 0, spread, 1.0)
        apart, first = distance >= FAR, int(distance.argmax())
        what, detail = "far apart", f"most values are {distance[first]:.3g} and more spreads from those of x_train"
    if apart.any():
        kind = "channels" if x.ndim == 4 else "columns"
        message = (
            f"{source}: {part} and x_train are {what} in {int(apart.sum())} of {len(apart)} {kind}: {detail} in number "
            f"{first}; scale and shift all parts alike, or leave out what only tells them apart, such as a date"
        )
        warnings.warn(message, DataWarning, stacklevel=2)


def _sizes(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return, by column, how many values are not 0 and the 10, 50 and 90 % quantiles (3, C) of their sizes."""
    ordered = np.sort(np.abs(_sample(x).astype(np.float64)), axis=0)
    count = np.count_nonzero(ordered, axis=0)
    ranks = np.minimum(len(ordered) - count + (np.array([[0.1], [0.5], [0.9]]) * count).astype(int), len(ordered) - 1)
    return count, np.take_along_axis(ordered, ranks, 0)
