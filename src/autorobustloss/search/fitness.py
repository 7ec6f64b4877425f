"""From results to one fitness per candidate: the paper's mean accuracy, or the mean rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from autorobustloss.jobs.result import Result

Scores = Sequence[Sequence[float] | None]
"""For each candidate its clean-validation accuracy on each task, or None: rejected or diverged."""


def score(result: Result) -> float | None:
    """Return the clean-validation accuracy at the last epoch, None for a diverged network."""
    if result.history.stopped == "diverged":
        return None
    return result.history.last("valid_clean")


def mean_accuracy(scores: Scores) -> list[float]:
    """Return each candidate's mean over tasks (Eq. 2); a failed candidate gets the worst of its generation.

    >>> mean_accuracy([[0.5, 0.7], None, [0.2, 0.2]])
    [0.6, 0.2, 0.2]
    """
    means = [None if s is None else float(np.mean(s)) for s in scores]
    worst = min((m for m in means if m is not None), default=0.0)
    return [worst if m is None else m for m in means]


def mean_rank(scores: Scores) -> list[float]:
    """Return minus each candidate's mean rank over tasks (1 is best, ties share their mean), failures last.

    Ranks weigh every task alike, where the mean accuracy is ruled by the tasks whose accuracies spread most.

    >>> mean_rank([[0.5, 0.7], None, [0.6, 0.8]])
    [-2.0, -3.0, -1.0]
    """
    tasks = max((len(s) for s in scores if s is not None), default=1)
    table = np.array([[-1.0] * tasks if s is None else list(s) for s in scores])
    return [float(v) for v in -rankdata(-table, axis=0).mean(axis=1)]


FITNESS: Mapping[str, Callable[[Scores], list[float]]] = {"accuracy": mean_accuracy, "rank": mean_rank}
