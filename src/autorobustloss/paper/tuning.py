"""Hyper-parameters chosen on noisy validation data, as Table 3 of the paper has it; needs Optuna (extra `tune`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from autorobustloss.benchmark.cells import accuracy
from autorobustloss.benchmark.grid import Entry, seeded_job, with_learning_rate
from autorobustloss.errors import MissingDependencyError
from autorobustloss.methods import MethodSpec, values_used
from autorobustloss.runs import Job, Result, Task
from autorobustloss.seeding import derive_seed

SELECTION = "best-noisy-validation"
TUNING_SEED = 0
"""Tuning sees the split, noise and weights of this seed; its choice is then trained with every seed."""


class Range(NamedTuple):
    """Values from low to high, on a logarithmic scale unless told otherwise."""

    low: float
    high: float
    log: bool = True


LEARNING_RATE = Range(0.03, 10.0)
RANGES: Mapping[str, Mapping[str, Range]] = {
    "gce": {"q": Range(0.1, 1.0, log=False)},
    "sce": {"alpha": Range(0.01, 10.0), "beta": Range(0.1, 10.0)},
    "nce+mae": {"alpha": Range(0.1, 50.0), "beta": Range(0.1, 50.0)},
    "nfl+mae": {"alpha": Range(0.1, 50.0), "beta": Range(0.1, 50.0)},
    "label_smoothing": {"epsilon": Range(0.01, 0.9, log=False)},
    "bootstrap": {"beta": Range(0.3, 1.0, log=False)},
}
"""What is tuned of each method, besides the learning rate; learned losses have nothing else to tune."""


def tuned(entries: Sequence[Entry], trials: int, train: Callable[[Iterable[Job]], Mapping[str, Result]]) -> list[Entry]:
    """Return the entries with each cell's jobs at the hyper-parameters that were best on noisy validation data.

    train: returns the results of jobs, by key. Each cell has a study of its own (Optuna's TPE, seeded; the first trial
    is the method as published). All studies advance together, one trial at a time, so an executor has a job of every
    cell to run at once. Trials are jobs of the store: an interrupted tuning goes on where it stopped. The test split is
    not looked at. A trial without a result counts as accuracy 0.

    Raises MissingDependencyError without Optuna.
    """
    cells = {(e.method, e.task): e.job for e in entries}
    studies = {cell: _study(*cell, job.method) for cell, job in cells.items()}
    for _ in range(trials):
        asked, jobs = {}, {}
        for cell, study in studies.items():
            asked[cell] = study.ask()
            ranges = {"lr": LEARNING_RATE, **RANGES.get(cell[0].name, {})}
            values = {name: asked[cell].suggest_float(name, r.low, r.high, log=r.log) for name, r in ranges.items()}
            tried = _with_values(cells[cell], _rounded(values))
            jobs[cell] = seeded_job(tried.method, tried.task, TUNING_SEED, ("valid_noisy",))
        results = train(jobs.values())
        for cell, job in jobs.items():
            found = results.get(job.key)
            studies[cell].tell(asked[cell], accuracy(found, SELECTION, "valid_noisy") if found else 0.0)
    best = {cell: _rounded(study.best_params) for cell, study in studies.items()}
    return [_tuned(entry, best[entry.method, entry.task]) for entry in entries]


def _study(method: MethodSpec, task: Task, start: MethodSpec) -> Any:
    try:
        import optuna
    except ImportError:
        raise MissingDependencyError(
            "tuning hyper-parameters needs Optuna, which is not installed; pip install 'autorobustloss[tune]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = derive_seed("tuning", method.label, task.label) % 2**32
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial({"lr": 1.0, **{n: float(values_used(start)[n]) for n in RANGES.get(start.name, {})}})
    return study


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    """Return numbers of three significant digits: what a paper would print is what was trained."""
    return {k: round(v, 2 - math.floor(math.log10(abs(v)))) if v else 0.0 for k, v in values.items()}


def _with_values(job: Job, values: Mapping[str, float]) -> Job:
    """Return a job at chosen hyper-parameters; "lr" multiplies the learning rate."""
    own = {name: value for name, value in values.items() if name != "lr"}
    method = MethodSpec.of(job.method.name, **{**job.method.options, **own})
    return replace(job, method=method, task=with_learning_rate(job.task, values["lr"]))


def _tuned(entry: Entry, values: Mapping[str, float]) -> Entry:
    others = [f"{name}={value:g}" for name, value in values.items() if name != "lr"]
    return replace(entry, job=_with_values(entry.job, values), variant=", ".join([*others, f"lr×{values['lr']:g}"]))
