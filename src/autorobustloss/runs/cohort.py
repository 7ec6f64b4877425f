"""Jobs that are trained together: which ones can be, and how.

A job in a cohort gives the numbers it gives alone to rounding, not to the last bit, and which jobs share a cohort may
depend on what was finished before a run was killed. So cohorts are asked for; without them a machine repeats every
number to the last bit (on the CPU), and the store takes the results of both.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from autorobustloss.losses import TaylorLoss
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs.job import Job, Task
from autorobustloss.training.cohort import CohortError, Traces, fit_cohort

if TYPE_CHECKING:
    from autorobustloss.methods.registry import Setting
    from autorobustloss.training.history import History

Unit: TypeAlias = tuple[Job, ...]
"""What an executor hands out at a time: one job, or several that are trained at once."""

ANY_TAYLOR = MethodSpec("taylor")
TAYLOR_OPTIONS = {"theta", "log_weight", "log_power", "scale"}
"""What may differ within a cohort."""


def by_cohort(jobs: Sequence[Job], parts: int = 1) -> list[Unit]:
    """Return units of jobs that differ in their Taylor loss only; all other jobs stay alone.

    parts: how many equal units such a group becomes, so that as many workers share it.

    >>> from autorobustloss.data import DataSpec
    >>> theta = [(0, 0, -1.0 - i, 0, 0) for i in range(4)]
    >>> jobs = [Job(Task(DataSpec("digits"), "clean", "mlp2"), MethodSpec.of("taylor", theta=t)) for t in theta]
    >>> [len(unit) for unit in by_cohort([*jobs, replace(jobs[0], seed=1)], parts=2)]
    [2, 2, 1]
    """
    groups: dict[Job | int, list[Job]] = {}
    for number, job in enumerate(jobs):
        alike = job.method.name == "taylor" and job.method.options.keys() <= TAYLOR_OPTIONS
        groups.setdefault(replace(job, method=ANY_TAYLOR) if alike else number, []).append(job)
    units: list[Unit] = []
    for group in groups.values():
        size = math.ceil(len(group) / parts)
        units += [tuple(group[i : i + size]) for i in range(0, len(group), size)]
    return units


class CohortTraces:
    """What cohorts of a task have traced for later ones, and the tasks whose networks cannot be stacked."""

    def __init__(self) -> None:
        self._traces: defaultdict[Task, Traces] = defaultdict(dict)
        self._declined: set[Task] = set()

    def fit(self, jobs: Sequence[Job], setting: Setting) -> list[History]:
        """Train jobs that differ in their Taylor loss only at once; CohortError where that cannot be done."""
        task, job, splits = jobs[0].task, jobs[0], setting.splits
        if task in self._declined:
            raise CohortError("this network was declined before")
        losses = [setting.criterion(each.method) for each in jobs]
        coefficients = [loss.coefficients(splits.num_classes) for loss in losses if isinstance(loss, TaylorLoss)]
        traces = self._traces[task]
        try:
            return fit_cohort(setting.network(), coefficients, splits, task.protocol, job.seed, job.evaluate, traces)
        except CohortError:
            self._declined.add(task)
            raise
