"""Stratified draws without replacement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
