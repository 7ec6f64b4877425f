"""Which loss for my data? The answer in a paragraph, by labels as they come: nobody's clean labels are looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from autorobustloss.benchmark.grid import Entry
from autorobustloss.methods import MethodSpec
from autorobustloss.noise import NoiseSpec
from autorobustloss.runs import Result, Task

Scores = Mapping[int, float]
"""Accuracy on noisy validation labels, in [0, 1], by seed."""


@dataclass(frozen=True)
class Candidate:
    """A method at its best: network, learning rate and epoch.

    name: what tables call the method; trained: with which values.
    epoch: the one at which its mean over seeds is highest; scores: what it has there, by seed.
    seconds: of training up to that epoch, the median over seeds.
    """

    name: str
    trained: MethodSpec
    task: Task
    epoch: int
    scores: Scores
    seconds: float

    @property
    def mean(self) -> float:
        """The mean over seeds."""
        return float(np.mean(list(self.scores.values())))

    @property
    def error(self) -> float:
        """The standard error of the mean over seeds; NaN for one seed."""
        return standard_error(list(self.scores.values()))


@dataclass(frozen=True)
class Answer:
    """What was tried on a data set, one candidate for each method, the best first.

    rates: how many learning rates were tried. noise: the share of labels that are estimated to be wrong, or why that is
    not known; "" where nobody asked.
    """

    dataset: str
    candidates: tuple[Candidate, ...]
    rates: int
    noise: float | str = ""

    @property
    def best(self) -> Candidate:
        """The candidate whose mean is highest."""
        return self.candidates[0]

    @property
    def second(self) -> Candidate | None:
        """The best one of another method; None where there is no other."""
        return self.candidates[1] if len(self.candidates) > 1 else None

    @property
    def alike(self) -> tuple[Candidate, ...]:
        """Those of which it is not sure that the best is better."""
        return tuple(other for other in self.candidates[1:] if not surely_ahead(self.best, other))

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain JSON types."""
        candidates = [
            {
                **{"method": found.name, "trained": found.trained.label, "model": found.task.model},
                **{"lr": found.task.protocol.lr, "epoch": found.epoch, "seconds": found.seconds},
                "valid_noisy": {str(seed): value for seed, value in found.scores.items()},
            }
            for found in self.candidates
        ]
        alike = [found.name for found in self.alike]
        return {"dataset": self.dataset, "candidates": candidates, "alike": alike, "noise": self.noise}


def lead(first: Candidate, other: Candidate) -> tuple[float, float]:
    """Return by how much a candidate is ahead of another on average, seed by seed, and the standard error of that."""
    gaps = [value - other.scores[seed] for seed, value in first.scores.items() if seed in other.scores]
    return (float(np.mean(gaps)), standard_error(gaps)) if gaps else (math.nan, math.nan)


def surely_ahead(first: Candidate, other: Candidate) -> bool:
    """Return whether a lead is more than chance: by a paired t-test over seeds, at the level of 5 %."""
    gap, error = lead(first, other)
    count = len(first.scores.keys() & other.scores.keys())
    return count > 1 and gap > 0 and gap > float(student.ppf(0.975, count - 1)) * error


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of a mean, NaN for fewer than two values."""
    return float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def answers(
    entries: Sequence[Entry], results: Mapping[str, Result], names: Mapping[MethodSpec, str] = {}
) -> list[Answer]:
    """Return the answer for each data set whose labels are taken as they come, where there is something to choose by.

    Every method is taken at the network, learning rate and epoch at which the mean over seeds of its accuracy on noisy
    validation labels is highest; the best of them is the answer. A run that diverged has 0 from there on.
    """
    found: list[Answer] = []
    for name in dict.fromkeys(e.task.dataset.name for e in entries if NoiseSpec.parse(e.task.noise).kind == "given"):
        own = [e for e in entries if e.task.dataset.name == name and NoiseSpec.parse(e.task.noise).kind == "given"]
        best: dict[MethodSpec, Candidate] = {}
        places = dict.fromkeys((e.method, e.job.task) for e in own)
        for method, task in places:
            runs = {e.seed: (e, results[e.job.key]) for e in own
                    if (e.method, e.job.task) == (method, task) and e.job.key in results}  # fmt: skip
            made = candidate(names.get(method, method.label), task, runs)
            if made and (method not in best or made.mean > best[method].mean):
                best[method] = made
        if best:
            rates = len({task.protocol.lr for _, task in places})
            found.append(Answer(name, tuple(sorted(best.values(), key=lambda c: -c.mean)), rates))
    return found


def candidate(name: str, task: Task, runs: Mapping[int, tuple[Entry, Result]]) -> Candidate | None:
    """Return the runs of a method, by seed, at the epoch that is best on average; None where no epoch was scored."""
    epochs = max((result.history.epochs for _, result in runs.values()), key=len, default=[])
    curves = {seed: padded(result.history.valid_noisy, len(epochs)) for seed, (_, result) in runs.items()}
    if not epochs or not any(result.history.valid_noisy for _, result in runs.values()):
        return None
    place = int(np.mean(list(curves.values()), axis=0).argmax())
    share = epochs[place] / task.protocol.epochs
    return Candidate(
        name=name,
        trained=next(iter(runs.values()))[0].job.method,
        task=task,
        epoch=epochs[place],
        scores={seed: float(curve[place]) for seed, curve in curves.items()},
        seconds=share * median(result.wall_time for _, result in runs.values()),
    )


def padded(curve: Sequence[float], length: int) -> NDArray[np.float64]:
    """Return a curve with 0 where a run ended before others did."""
    return np.array([*curve, *[0.0] * (length - len(curve))])
