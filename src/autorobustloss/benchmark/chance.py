"""How good a network may look on test data that it cannot tell apart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from autorobustloss.jobs.job import Task

if TYPE_CHECKING:
    from autorobustloss.data import Dataset


def chance_levels(tasks: Iterable[Task], datasets: Mapping[str, Dataset]) -> dict[Task, float]:
    """Return the test accuracy that a network which learnt nothing does not exceed, for tasks whose data are there.

    It is f + 3·√(f(1 − f)/N) for N test samples, f being the share of the commonest class: a constant prediction is
    right as often as its class is frequent, and guessing is right less often. Three standard deviations, since a table
    has many cells.
    """
    return {
        task: guessing(datasets[task.dataset.name].y_test.tolist(), task.dataset.test_size)
        for task in tasks
        if task.dataset.name in datasets
    }


def guessing(labels: Iterable[int], size: int = 0) -> float:
    """Return the accuracy that guessing these labels does not exceed; size: of the sample drawn from them, 0 for all.

    Labels below 0 are not known, and not scored.

    >>> round(guessing([0] * 50 + [1] * 50), 2), guessing([2, 2, -1])
    (0.65, 1.0)
    """
    counts: dict[int, int] = {}
    for label in labels:
        if label >= 0:
            counts[label] = counts.get(label, 0) + 1
    known = sum(counts.values())
    if not known:
        return 1.0
    share = max(counts.values()) / known
    return min(1.0, share + 3 * math.sqrt(share * (1 - share) / (min(size, known) or known)))
