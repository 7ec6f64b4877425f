"""`arl bench`: from a frozen configuration to jobs, and from results to tables, in three views."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from autorobustloss.benchmark.cells import tabulate
from autorobustloss.benchmark.grid import Grid, at_authors_values
from autorobustloss.benchmark.render import distinct_tables, render
from autorobustloss.benchmark.table import Table
from autorobustloss.data import Dataset, load_dataset
from autorobustloss.errors import ConfigError, DataError, unknown_name
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs.batch import run_jobs
from autorobustloss.runs.executors import Executor
from autorobustloss.runs.job import Job, Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.store import Store
from autorobustloss.runs.strict import plain

VIEWS: Mapping[str, str] = {
    "published": "each method as published",
    "matched": "each loss with cross-entropy's gradient at the start of training",
    "tuned": "each method with the learning rate it likes best, chosen on noisy validation data",
}
SWEEP = (0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True)
class BenchConfig:
    """What `arl bench` compares.

    views: some of VIEWS. At a fixed number of epochs a smaller gradient is early stopping in disguise, so a loss is
        robust if it wins in all three.
    learning_rates: multiples of each task's learning rate, for the view "tuned".
    classes: number of classes by data set, for authors' values (see `Grid`).
    """

    methods: tuple[MethodSpec, ...]
    tasks: tuple[Task, ...]
    seeds: int = 3
    views: tuple[str, ...] = ("published",)
    learning_rates: tuple[float, ...] = SWEEP
    classes: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.views:
            raise ConfigError(f"got no view, expected some of {', '.join(VIEWS)}")
        for view in self.views:
            if view not in VIEWS:
                raise unknown_name("view", view, VIEWS)
        self.grids()

    def grids(self) -> dict[str, Grid]:
        """Return the grid of each view."""
        return {
            view: Grid(
                self.methods,
                self.tasks,
                self.seeds,
                match_scale=view == "matched",
                learning_rates=self.learning_rates if view == "tuned" else (1.0,),
                classes=self.classes,
            )
            for view in self.views
        }

    def jobs(self, absent: Iterable[Task] = ()) -> list[Job]:
        """Return the jobs of all views, each once, less those of absent tasks."""
        entries = (entry for grid in self.grids().values() for entry in grid.entries())
        return list({e.job.key: e.job for e in entries if e.task not in absent}.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types, and authors' values other than the defaults, by data set."""
        settings: dict[str, Any] = plain(self)
        del settings["classes"]
        values: dict[str, dict[str, str]] = {}
        for task in self.tasks:
            for method in self.methods:
                if (chosen := at_authors_values(method, task, self.classes)) != method:
                    values.setdefault(task.dataset.name, {})[method.label] = chosen.label
        return {**settings, "values": values} if values else settings


@dataclass(frozen=True)
class BenchOutcome:
    """What a benchmark gave: a table for each view, and the results by job key for pictures; it prints as tables."""

    config: BenchConfig
    tables: dict[str, Table]
    results: dict[str, Result]
    names: Mapping[MethodSpec, str]

    def __str__(self) -> str:
        return "\n\n".join(map(render, distinct_tables(self.tables.values())))


def run_bench(
    config: BenchConfig,
    store: Store,
    executor: Executor,
    on_result: Callable[[Job, Result, bool], None] | None = None,
    missing: Mapping[str, str] | None = None,
    names: Mapping[MethodSpec, str] | None = None,
    failures: dict[str, str] | None = None,
    notes: Sequence[str] = (),
    chance: Mapping[Task, float] | None = None,
) -> BenchOutcome:
    """Train what the store lacks and return the tables; calling again after an interruption goes on from there.

    missing: why a data set, by name, is absent (see `load_datasets`): its columns say so and the rest runs.
    names: what tables call a method, such as a learned loss.
    failures: where given, jobs that fail are noted here and in the tables, and the others go on (see `run_jobs`).
    notes: lines below every table, such as what the labels are.
    chance: the accuracy that guessing does not exceed on each task (see `chance.chance_levels`).

    Raises WorkerError or StoreError as `run_jobs` does.
    """
    missing = missing or {}
    absent = {task: missing[task.dataset.name] for task in config.tasks if task.dataset.name in missing}
    results = {r.key: r for r in run_jobs(config.jobs(absent), store, executor, on_result, failures)}
    tables = {}
    for view, grid in config.grids().items():
        title = f"Test accuracy, {VIEWS[view]}"
        table = tabulate(grid.entries(), results, title, absent, names, failures, chance)
        tables[view] = replace(table, notes=(*notes, *table.notes))
    return BenchOutcome(config, tables, results, dict(names or {}))


def load_datasets(
    names: Iterable[str], data_dir: str | Path | None = None, download: bool = False
) -> tuple[dict[str, Dataset], dict[str, str]]:
    """Load data sets by name; return those that are there, and for each that is not, the reason."""
    datasets: dict[str, Dataset] = {}
    missing: dict[str, str] = {}
    for name in dict.fromkeys(names):
        try:
            datasets[name] = load_dataset(name, data_dir, download)
        except (DataError, ImportError) as error:
            missing[name] = str(error)
    return datasets, missing


def pin(tasks: Iterable[Task], datasets: Mapping[str, Dataset]) -> tuple[Task, ...]:
    """Tie each task to the content of its data set, so that a changed file is another task; absent ones stay."""
    return tuple(
        replace(task, dataset=replace(task.dataset, fingerprint=datasets[task.dataset.name].fingerprint))
        if task.dataset.name in datasets
        else task
        for task in tasks
    )
