"""Jobs that are trained together: which ones can be.

A job in a cohort gives the numbers it gives alone to rounding, not to the last bit, and which jobs share a cohort may
depend on what was finished before a run was killed. So cohorts are asked for; without them a machine repeats every
number to the last bit (on the CPU), and the store takes the results of both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs.job import Job

Unit: TypeAlias = tuple[Job, ...]
"""What an executor hands out at a time: one job, or several that are trained at once."""

TAYLOR_OPTIONS = {"theta", "log_weight", "log_power", "scale"}
"""What may differ within a cohort."""


def by_cohort(jobs: Sequence[Job], parts: int = 1) -> list[Unit]:
    """Return units of jobs that differ in their Taylor loss only; all others, and those that predict, stay alone.

    parts: how many equal units such a group becomes, so that as many workers share it.

    >>> from autorobustloss.data import DataSpec
    >>> from autorobustloss.runs.job import Task
    >>> theta = [(0, 0, -1.0 - i, 0, 0) for i in range(4)]
    >>> jobs = [Job(Task(DataSpec("digits"), "clean", "mlp2"), MethodSpec.of("taylor", theta=t)) for t in theta]
    >>> [len(unit) for unit in by_cohort([*jobs, replace(jobs[0], seed=1)], parts=2)]
    [2, 2, 1]
    """
    groups: dict[Job | int, list[Job]] = {}
    for number, job in enumerate(jobs):
        alike = job.method.name == "taylor" and job.method.options.keys() <= TAYLOR_OPTIONS and not job.predict
        groups.setdefault(replace(job, method=MethodSpec("taylor")) if alike else number, []).append(job)
    units: list[Unit] = []
    for group in groups.values():
        size = math.ceil(len(group) / parts)
        units += [tuple(group[i : i + size]) for i in range(0, len(group), size)]
    return units
