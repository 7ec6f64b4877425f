"""How good a network may look on test data that it cannot tell apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from autorobustloss.data import Dataset
from autorobustloss.runs import Task
from autorobustloss.training.loop import chance_level


def chance_levels(tasks: Iterable[Task], datasets: Mapping[str, Dataset]) -> dict[Task, float]:
    """Return the test accuracy that a network which learnt nothing does not exceed, for tasks whose data are there.

    It is f + 3·√(f(1 − f)/N) for N test samples, f being the share of the commonest class: a constant prediction is
    right as often as its class is frequent, and guessing is right less often. Three standard deviations, since a table
    has many cells.
    """
    return {
        task: guessing(datasets[task.dataset.name].y_test, task.dataset.test_size)
        for task in tasks
        if task.dataset.name in datasets
    }


def guessing(labels: Tensor, size: int = 0) -> float:
    """Return the accuracy that guessing these labels does not exceed; size: of the sample drawn from them, 0 for all.

    Labels below 0 are not known, and not scored.

    >>> import torch
    >>> round(guessing(torch.tensor([0] * 50 + [1] * 50)), 2), guessing(torch.tensor([2, 2, -1]))
    (0.65, 1.0)
    """
    known = labels[labels >= 0]
    return min(1.0, chance_level(known, min(size, len(known)))) if len(known) else 1.0
