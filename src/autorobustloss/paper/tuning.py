"""Hyper-parameters chosen on noisy validation data, as Table 3 of the paper has it; needs Optuna (extra `tune`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from autorobustloss.benchmark.grid import Entry, seeded_job, with_learning_rate
from autorobustloss.benchmark.table import accuracy
from autorobustloss.errors import MissingDependencyError
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs.batch import run_jobs
from autorobustloss.runs.job import Job, Task
from autorobustloss.runs.result import Result
from autorobustloss.seeding import derive_seed

if TYPE_CHECKING:
    from autorobustloss.paper.experiments import Experiment
    from autorobustloss.runs.executors import Executor
    from autorobustloss.runs.store import Store

SELECTION = "best-noisy-validation"
TUNING_SEED = 0
"""Tuning sees the split, noise and weights of this seed; its choice is then trained with every seed."""


@dataclass(frozen=True)
class Range:
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


def tuned(
    experiment: Experiment,
    store: Store,
    executor: Executor,
    on_result: Callable[[Job, Result, bool], None] | None = None,
    missing: Mapping[str, str] | None = None,
    failures: dict[str, str] | None = None,
) -> Experiment:
    """Return the experiment with each cell's jobs at the hyper-parameters that were best on noisy validation data.

    Each cell has a study of its own (Optuna's TPE, seeded; the first trial is the method as published). All studies
    advance together, one trial at a time, so an executor has a job of every cell to run at once. Trials are jobs of
    the store: an interrupted tuning goes on where it stopped. The test split is not looked at. A trial that fails
    counts as accuracy 0 where `failures` are noted.

    Raises MissingDependencyError without Optuna.
    """
    reasons = missing or {}
    here = [e for e in experiment.entries if e.task.dataset.name not in reasons]
    cells = {(e.method, e.task): e.job.method for e in here}
    studies = {cell: _study(*cell, start) for cell, start in cells.items()}
    for _ in range(experiment.tune):
        asked = {cell: study.ask() for cell, study in studies.items()}
        jobs = [_trial_job(cells[cell], cell[1], _suggest(trial, cell[0])) for cell, trial in asked.items()]
        results = {result.key: result for result in run_jobs(jobs, store, executor, on_result, failures)}
        for (cell, trial), job in zip(asked.items(), jobs):
            found = results.get(job.key)
            studies[cell].tell(trial, 0.0 if found is None else accuracy(found, SELECTION, "valid_noisy"))
    best = {cell: dict(study.best_params) for cell, study in studies.items()}
    entries = [_tuned_entry(e, best.get((e.method, e.task))) for e in experiment.entries]
    return replace(experiment, entries=tuple(entries), tune=0)


def apply(method: MethodSpec, task: Task, chosen: Mapping[str, float]) -> tuple[MethodSpec, Task]:
    """Return a method and task with chosen hyper-parameters; "lr" multiplies the learning rate."""
    own = {name: value for name, value in chosen.items() if name != "lr"}
    method = MethodSpec.of(method.name, **{**method.options, **own}) if own else method
    return method, with_learning_rate(task, chosen.get("lr", 1.0))


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
    study.enqueue_trial(_published(start))
    return study


def _published(method: MethodSpec) -> dict[str, float]:
    """Return the hyper-parameters that a method starts from: its own, or the defaults of its loss."""
    from autorobustloss.losses import create_loss

    ranges = RANGES.get(method.name, {})
    values = create_loss(method.name, **method.options).hyperparameters() if ranges else {}
    return {"lr": 1.0, **{name: float(values[name]) for name in ranges}}


def _suggest(trial: Any, method: MethodSpec) -> dict[str, float]:
    ranges = {"lr": LEARNING_RATE, **RANGES.get(method.name, {})}
    drawn = {name: trial.suggest_float(name, r.low, r.high, log=r.log) for name, r in ranges.items()}
    return {name: _rounded(value) for name, value in drawn.items()}


def _rounded(value: float) -> float:
    """Return three significant digits: what a paper would print is what was trained."""
    return round(value, 2 - math.floor(math.log10(abs(value)))) if value else 0.0


def _trial_job(method: MethodSpec, task: Task, chosen: Mapping[str, float]) -> Job:
    return seeded_job(*apply(method, task, chosen), TUNING_SEED, evaluate=("valid_noisy",))


def _tuned_entry(entry: Entry, best: Mapping[str, float] | None) -> Entry:
    if best is None:
        return entry
    chosen = {name: _rounded(value) for name, value in best.items()}
    method, task = apply(entry.job.method, entry.job.task, chosen)
    others = [f"{name}={value:g}" for name, value in chosen.items() if name != "lr"]
    label = ", ".join([*others, f"lr×{chosen['lr']:g}"])
    return replace(entry, job=replace(entry.job, method=method, task=task), variant=label)
