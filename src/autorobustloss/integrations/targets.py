"""What an estimator is told about its samples: labels, classes, weights, and which rows are held out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from autorobustloss.data.sampling import stratified_draw
from autorobustloss.errors import DataError
from autorobustloss.seeding import numpy_generator

FEWEST_VALID = 30
"""Held-out rows by which an epoch and a temperature are chosen; fewer would choose by chance."""


def labels_of(
    y: Any, samples: int, sample_weight: Any, class_weight: Mapping[Any, float] | str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return labels (N,), and their weights where they are not all equal.

    Raises DataError for missing labels, measurements instead of classes, and weights that are none.
    """
    if y is None:
        raise DataError("RobustClassifier requires y to be passed, but the target y is None; pass one label per sample")
    y = column_or_1d(np.asarray(y), warn=True)
    missing = sum(label is None or label != label for label in y.tolist()) if y.dtype.kind in "fO" else 0
    if missing:
        raise DataError(f"Input y contains NaN or None in {missing} rows, expected a label in each; drop these rows")
    check_classification_targets(y)
    if len(y) != samples:
        raise DataError(f"got {samples} samples and {len(y)} labels: inconsistent numbers of samples")
    if sample_weight is None and class_weight is None:
        return y, None
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != y.shape or not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum():
        raise DataError(
            f"got sample_weight of shape {weights.shape}, expected one finite number >= 0 for each of {len(y)} "
            "samples, and not every weight zero"
        )
    return y, weights if class_weight is None else weights * compute_sample_weight(class_weight, y)


def classes_of(y: np.ndarray, given: Any, fitted: np.ndarray | None) -> np.ndarray:
    """Return the classes, sorted: those of an earlier fit, those that are given, else those that occur.

    Raises DataError for labels that are none of them, and for fewer than two.
    """
    own = np.unique(y if given is None else np.asarray(given))
    if fitted is not None and given is not None and not np.array_equal(own, fitted):
        raise DataError(f"got classes {own}, expected those of the first call, {fitted}")
    known = own if fitted is None else fitted
    foreign = np.setdiff1d(y, known)
    if foreign.size:
        raise DataError(f"got labels {foreign[:5]} beside the classes {known}; give all classes to the first call")
    if len(known) < 2:
        raise DataError(f"got labels of {len(known)} class ({known}), expected at least 2 classes")
    return known


def hold_out(index: np.ndarray, counted: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that are held out, stratified by class, and those that are trained on.

    None are held out where they would be fewer than 30; the only row of a class never is.
    """
    rows = np.flatnonzero(counted)
    count = round(fraction * len(rows))
    if count < FEWEST_VALID:
        return rows[:0], rows
    pool = rows[np.bincount(index[rows])[index[rows]] > 1]
    (drawn,) = stratified_draw(index[pool], [min(count, len(pool))], numpy_generator("held out", seed))
    return np.sort(pool[drawn]), np.setdiff1d(rows, pool[drawn])
