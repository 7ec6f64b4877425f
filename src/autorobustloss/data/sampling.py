"""Stratified draws without replacement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autorobustloss.errors import ConfigError, DataError
from autorobustloss.seeding import numpy_generator


def apportion(counts: np.ndarray, size: int) -> np.ndarray:
    """Share `size`, at most their sum, out in proportion to `counts`, by largest remainder (ties to the lower class).

    >>> apportion(np.array([50, 30, 20]), 5)
    array([3, 1, 1])
    """
    share, remainder = np.divmod(counts * size, max(int(counts.sum()), 1))
    short = size - int(share.sum())
    share[np.argsort(-remainder, kind="stable")[:short]] += 1
    return share


def stratified_draw(labels: np.ndarray, sizes: Sequence[int], generator: np.random.Generator) -> list[np.ndarray]:
    """Return disjoint index arrays of the given sizes, each with the class proportions of `labels`, in random order.

    With one seed, the first part of a larger draw holds that of a smaller one up to rounding. The sizes add up to no
    more than there is.
    """
    shuffled = generator.permutation(len(labels))
    counts = np.bincount(labels)
    grouped = shuffled[np.argsort(labels[shuffled], kind="stable")]
    starts = np.repeat(counts.cumsum() - counts, counts)
    rank = np.arange(len(labels)) - starts
    part = np.full(len(labels), -1)
    taken = np.zeros_like(counts)
    for i, size in enumerate(sizes):
        quota = apportion(counts - taken, size)
        low, high = np.repeat(taken, counts), np.repeat(taken + quota, counts)
        part[grouped[(rank >= low) & (rank < high)]] = i
        taken = taken + quota
    drawn = part[shuffled]
    return [shuffled[drawn == i] for i in range(len(sizes))]


def test_and_train(labels: np.ndarray, share: float, seed: int | str, source: str) -> list[np.ndarray]:
    """Return which samples are the test part, a stratified share, and which are left for training.

    Raises ConfigError for a share that is none, DataError where a class would have no training sample.
    """
    if not 0 < share < 1:
        raise ConfigError(f"{source}: got test_split={share!r}, expected a share between 0 and 1, such as 0.2")
    count = round(share * len(labels))
    parts = stratified_draw(labels, (count, len(labels) - count), numpy_generator("bundled test split", seed))
    if not count or len(np.unique(labels[parts[1]])) <= labels.max():
        raise DataError(
            f"{source}: {len(labels)} samples, {np.bincount(labels).min()} of the rarest class, are too few for a test "
            "part of every class; pass one, or leave such classes out"
        )
    return [np.sort(part) for part in parts]
