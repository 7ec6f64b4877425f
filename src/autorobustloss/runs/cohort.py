"""Jobs that are trained together: which ones can be, and how.

A job in a cohort gives the numbers it gives alone to rounding, not to the last bit, and which jobs share a cohort may
depend on what was finished before a run was killed. So cohorts are asked for; without them a machine repeats every
number to the last bit (on the CPU), and the store takes the results of both.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import nn

from autorobustloss.errors import ARLError
from autorobustloss.losses import TaylorLoss
from autorobustloss.methods.criterion import create_criterion
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.models import build_model
from autorobustloss.runs.job import Job, Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.trainer import Trainer, denormals_flushed, make_result, reproducible
from autorobustloss.training.cohort import CohortError, fit_cohort

if TYPE_CHECKING:
    from autorobustloss.data import Splits

Unit: TypeAlias = tuple[Job, ...]
"""What an executor hands out at a time: one job, or several that are trained at once."""

ANY_TAYLOR = MethodSpec("taylor")
TAYLOR_OPTIONS = {"theta", "log_weight", "log_power", "scale"}
"""What may differ within a cohort."""


def one_by_one(jobs: Sequence[Job]) -> list[Unit]:
    """Return every job as a unit of its own."""
    return [(job,) for job in jobs]


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


def run_unit(run: Callable[[Job], Result], unit: Unit) -> Iterator[Result]:
    """Yield the results of a unit's jobs, in order."""
    return run.together(unit) if isinstance(run, CohortTrainer) and len(unit) > 1 else map(run, unit)


class CohortTrainer(Trainer):
    """A trainer that also takes units of several jobs; it keeps what it has traced for later ones."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """As for `Trainer`; exact holds for the jobs that stay alone."""
        super().__init__(*arguments, **options)
        self._declined: set[Task] = set()

    def together(self, unit: Unit) -> Iterator[Result]:
        """Yield the results of jobs that differ in their Taylor loss only, in order.

        They are trained at once; in smaller cohorts if a GPU's memory asks for it; one after another where the network
        cannot be stacked, and where a job fails, which then raises its own error.
        """
        left, size = unit, len(unit)
        while left:
            part = left[:size]
            results: Iterator[Result] = map(self, part)
            if len(part) > 1 and part[0].task not in self._declined:
                try:
                    results = iter(self._train(part))
                except torch.cuda.OutOfMemoryError:
                    size = math.ceil(len(part) / 2)
                    continue
                except CohortError:
                    self._declined.add(part[0].task)
                except ARLError:
                    pass
            yield from results
            left = left[len(part) :]

    def _train(self, unit: Unit) -> list[Result]:
        first = unit[0]
        with reproducible(first.seed, self.device), denormals_flushed():
            network, splits = self._prepare(first)
            start = time.perf_counter()
            criteria = [create_criterion(job.method, splits.num_classes) for job in unit]
            histories = fit_cohort(
                network,
                [c.coefficients(splits.num_classes) for c in criteria if isinstance(c, TaylorLoss)],
                splits,
                first.task.protocol,
                first.seed,
                first.evaluate,
            )
            seconds = (time.perf_counter() - start) / len(unit)
        how = f", cohort of {len(unit)}"
        return [make_result(j, h, splits, seconds, self.device, how) for j, h in zip(unit, histories)]

    def _prepare(self, job: Job) -> tuple[nn.Module, Splits]:
        """Return the initial network and the splits of a job, on the device."""
        splits = self.cache.get(job, self.dataset(job), self.device)
        network = build_model(job.task.model, splits.input_shape, splits.num_classes, job.seed)
        return network.to(self.device), splits
