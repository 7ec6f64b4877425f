"""From results to one fitness per candidate: the paper's mean accuracy, or the mean rank."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy  # loads `scipy.stats`, which takes a second, where that is first used

Scores = Sequence[Sequence[float] | None]
"""For each candidate its validation accuracy on each task it got to, or None: rejected or diverged."""


def mean_accuracy(scores: Scores) -> list[float]:
    """Return each candidate's mean over the tasks it met (Eq. 2); a failed candidate gets the worst of its generation.

    >>> mean_accuracy([[0.5, 0.7], None, [0.2, 0.2]])
    [0.6, 0.2, 0.2]
    """
    means = [None if s is None else float(np.mean(s)) for s in scores]
    worst = min((m for m in means if m is not None), default=0.0)
    return [worst if m is None else m for m in means]


def mean_log_odds(scores: Scores) -> list[float]:
    """Return each candidate's mean of log(right/wrong) over the tasks it met; a failed candidate gets the worst.

    Halving the wrong answers of an easy task counts like halving those of a hard one, so that clean and lightly noisy
    tasks are not drowned by those whose accuracies spread most. Accuracies are kept 0.001 from 0 and 1.

    >>> [round(v, 3) for v in mean_log_odds([[0.5, 0.9], None, [0.5, 0.5]])]
    [1.099, 0.0, 0.0]
    """

    def odds(accuracy: float) -> float:
        accuracy = min(max(accuracy, 0.001), 0.999)
        return round(math.log(accuracy / (1 - accuracy)), 12)  # the last bits of a logarithm are each system's own

    return mean_accuracy([None if s is None else [odds(accuracy) for accuracy in s] for s in scores])


def mean_rank(scores: Scores) -> list[float]:
    """Return minus each candidate's mean rank over tasks (1 is best, ties share their mean), failures last.

    Ranks weigh every task alike, where the mean accuracy is ruled by the tasks whose accuracies spread most.

    >>> mean_rank([[0.5, 0.7], None, [0.6, 0.8]])
    [-2.0, -3.0, -1.0]
    """
    tasks = max((len(s) for s in scores if s is not None), default=1)
    table = np.array([[-1.0] * tasks if s is None else list(s) for s in scores])
    return [float(v) for v in -scipy.stats.rankdata(-table, axis=0).mean(axis=1)]


def by_stage(scores: Scores, fitness: Callable[[Scores], list[float]]) -> list[float]:
    """Return the fitness of candidates of a race: who got to more tasks is fitter, failures are last.

    Among those who got equally far `fitness` decides. Where all met all tasks, it is `fitness` itself.

    >>> by_stage([[0.5, 0.7], None, [0.9], [0.6, 0.8]], mean_accuracy)
    [0.6, -1.4, -0.4, 0.7]
    """
    reached = sorted({len(s) for s in scores if s is not None}, reverse=True)
    if len(reached) <= 1:
        return fitness(scores)
    values = [0.0] * len(scores)
    floor = math.inf
    for tasks in reached:
        members = [i for i, s in enumerate(scores) if s is not None and len(s) == tasks]
        group = fitness([scores[i] for i in members])
        shift = 0.0 if floor == math.inf else floor - 1 - max(group)
        for i, value in zip(members, group):
            values[i] = round(value + shift, 12)
        floor = min(group) + shift
    return [round(floor - 1, 12) if s is None else value for s, value in zip(scores, values)]


FITNESS: Mapping[str, Callable[[Scores], list[float]]] = {
    "accuracy": mean_accuracy,
    "odds": mean_log_odds,
    "rank": mean_rank,
}
