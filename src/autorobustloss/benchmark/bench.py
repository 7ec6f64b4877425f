"""A benchmark, in one call or of what the caller has in hand: from a configuration to results, from these to tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autorobustloss.benchmark.advice import paragraph
from autorobustloss.benchmark.answer import Answer, answers
from autorobustloss.benchmark.cells import tabulate
from autorobustloss.benchmark.chance import chance_levels
from autorobustloss.benchmark.curves import Panel, Scored, curves, scored, to_json
from autorobustloss.benchmark.grid import VIEWS, BenchConfig
from autorobustloss.benchmark.render import distinct_tables, render
from autorobustloss.benchmark.table import Table
from autorobustloss.data import Dataset, load_dataset
from autorobustloss.errors import DataError
from autorobustloss.methods import MethodSpec
from autorobustloss.methods.named import named_method
from autorobustloss.runs import Executor, Job, Result, Store, Task, run_jobs
from autorobustloss.runs.run_folder import CURVES
from autorobustloss.runs.tasks import make_tasks, running

Method = str | Path | MethodSpec


@dataclass(frozen=True)
class BenchOutcome:
    """What a benchmark gave: a table for each view, and the results by job key for pictures; it prints as tables."""

    config: BenchConfig
    tables: dict[str, Table]
    results: dict[str, Result]
    names: Mapping[MethodSpec, str]

    @property
    def answers(self) -> list[Answer]:
        """Which loss to take, for each data set whose labels are taken as they come (see `answer.answers`)."""
        view = "tuned" if "tuned" in self.config.views else self.config.views[0]
        return answers(self.config.entries(view), self.results, self.names)

    @property
    def scored(self) -> list[Scored]:
        """The results of the first view with their places, one variant per cell."""
        return scored(self.config.entries(), self.results, self.names)

    @property
    def curves(self) -> list[Panel]:
        """Accuracy by epoch, and by noise rate, for the first view."""
        return curves(self.scored)

    def __str__(self) -> str:
        return "\n\n".join([*map(render, distinct_tables(self.tables.values())), *map(paragraph, self.answers)])


def run_bench(
    config: BenchConfig,
    store: Store,
    executor: Executor,
    on_result: Callable[[Job, Result, bool], None] | None = None,
    missing: Mapping[str, str] = {},
    names: Mapping[MethodSpec, str] = {},
    failures: dict[str, str] | None = None,
    notes: Sequence[str] = (),
    chance: Mapping[Task, float] = {},
) -> BenchOutcome:
    """Train what the store lacks and return the tables; calling again after an interruption goes on from there.

    missing: why a data set, by name, is absent (see `load_datasets`): its columns say so and the rest runs.
    names: what tables call a method, such as a learned loss.
    failures: where given, jobs that fail are noted here and in the tables, and the others go on (see `run_jobs`).
    notes: lines below every table, such as what the labels are.
    chance: the accuracy that guessing does not exceed on each task (see `chance.chance_levels`).

    Raises WorkerError or StoreError as `run_jobs` does.
    """
    present = [job for job in config.jobs() if job.task.dataset.name not in missing]
    results = {r.key: r for r in run_jobs(present, store, executor, on_result, failures)}
    tables = {}
    for view in config.views:
        title = f"Test accuracy, {VIEWS[view]}"
        tables[view] = tabulate(config.entries(view), results, title, missing, names, failures or {}, chance, notes)
    return BenchOutcome(config, tables, results, names)


def bench(
    methods: Mapping[str, Method] | Iterable[Method],
    tasks: Any,
    *,
    out: str | Path | None = None,
    failures: dict[str, str] | None = None,
    workers: int | None = 1,
    device: str = "cpu",
    exact: bool = False,
    executor: str = "local",
    **config: Any,
) -> BenchOutcome:
    """Compare methods over tasks or data; the outcome prints as its tables, `outcome.tables` has them by view.

    methods: "ce", "gce(q=0.5)", a learned loss by name or the path of its card, or a `MethodSpec`; by the names that
        tables should call them, or as they are. Those without hyper-parameters have their authors' values for the
        classes of each data set.
    tasks: what `make_tasks` gives or takes: the name or path of a data set, a `Dataset`, arrays, tasks, or a list.
    out: a run folder like that of `arl bench`, from which the same call goes on and which `arl report` shows; without
        one everything is in memory. workers, device, exact, executor: see `running`.
    failures: where given, jobs that fail are noted here and in the tables, and the others go on.
    config: fields of `BenchConfig`, such as seeds=5 or views=("published", "matched").

    Raises UnknownNameError for a method that is none, and the errors of `run_bench`.

    >>> import autorobustloss as arl
    >>> tasks = arl.make_tasks("digits", noise="sym:0.4", models="linear", train_size=200, epochs=2)
    >>> print(arl.bench(["ce", "gce(q=0.5)"], tasks, seeds=2))  # doctest: +ELLIPSIS
    Test accuracy, each method as published (%, mean ± standard error over seeds)
    ...
    """
    known = make_tasks(tasks)
    if isinstance(methods, Mapping):
        named = {name: named_method(method)[1] for name, method in methods.items()}
    else:
        named = dict(map(named_method, methods))
    names = {method: name for name, method in named.items()}
    settings = BenchConfig(tuple(named.values()), known.tasks, classes=known.classes, **config)
    command = {"command": "bench", **settings.to_dict()}
    chance = chance_levels(known.tasks, known.datasets)
    with running(known.datasets, command, out, workers, device, exact, executor) as (store, chosen, folder):
        outcome = run_bench(settings, store, chosen, names=names, failures=failures, chance=chance)
        if folder is not None:
            for view, table in outcome.tables.items():
                folder.write(f"table-{view}.json", render(table, "json"))
                folder.write(f"table-{view}.txt", render(table))
            folder.write(CURVES, to_json(outcome.curves))
    return outcome


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
