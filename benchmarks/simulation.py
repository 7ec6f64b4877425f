"""How long a generation takes with any number of workers: a model small enough to read, fed with measured times."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Costs:
    """What is not training, in seconds.

    hand_over: the parent's work for a job: key, look-up, receive, assign. commit: a result's way to the disk.
    turn: what a worker's core spends on a job beside training (messages). candidate: CMA-ES and the screen.
    The first two and the last are serial: one process does them for all workers.
    """

    hand_over: float = 0.0
    commit: float = 0.0
    turn: float = 0.0
    candidate: float = 0.0

    @property
    def serial(self) -> float:
        """The parent's time for a job, which no number of workers makes shorter."""
        return self.hand_over + self.commit


def makespan(jobs: Sequence[float], workers: int, costs: Costs | None = None) -> float:
    """Return when the last result is stored; jobs start in the order given, as soon as a worker is free.

    The parent does one thing at a time, as `ProcessExecutor.map` does: it waits for finished jobs, hands the next ones
    to all free workers (hand_over each), then commits what had finished (commit each). A worker is busy for turn + the
    job's seconds. So with n jobs, whatever the order,

        makespan ≥ max(Σ (turn + job)/workers, turn + longest job, n · (hand_over + commit)).

    >>> makespan([3, 2, 2, 1], workers=2), makespan([1, 1, 1, 1], workers=4, costs=Costs(hand_over=0.5))
    (4.0, 3.0)
    """
    costs = costs or Costs()
    clock, started, free, uncommitted = 0.0, 0, workers, 0
    ends: list[float] = []
    while True:
        while free and started < len(jobs):
            clock += costs.hand_over
            heapq.heappush(ends, clock + costs.turn + jobs[started])
            started, free = started + 1, free - 1
        clock += uncommitted * costs.commit
        if not ends:
            return clock
        clock, uncommitted = max(clock, ends[0]), 0
        while ends and ends[0] <= clock:
            heapq.heappop(ends)
            free, uncommitted = free + 1, uncommitted + 1


@dataclass(frozen=True)
class Generation:
    """A generation in the model: seconds, what one worker would need, and the bound of the serial part."""

    seconds: float
    alone: float
    serial: float

    @property
    def speed_up(self) -> float:
        return self.alone / self.seconds


def generation(population: int, kinds: Sequence[float], workers: int, costs: Costs, spread: float = 0.1) -> Generation:
    """Simulate a generation: `population` candidates, each trained once for every task; kinds: their mean seconds.

    The time of a job varies around its kind's mean with a coefficient of variation of `spread` (gamma, seeded): the
    pool starts the longest kinds first, and cannot know the rest.
    """
    draw, shape = np.random.default_rng(0), 1 / spread**2
    jobs = [float(v) for kind in sorted(kinds, reverse=True) for v in kind * draw.gamma(shape, 1 / shape, population)]
    fixed = population * costs.candidate
    alone = fixed + makespan(jobs, 1, costs)
    return Generation(fixed + makespan(jobs, workers, costs), alone, fixed + len(jobs) * costs.serial)


def saturation(mean_job: float, costs: Costs) -> int:
    """Return the number of workers that finish jobs as fast as the parent can take them."""
    return math.floor((mean_job + costs.turn) / costs.serial) if costs.serial else 10**9
