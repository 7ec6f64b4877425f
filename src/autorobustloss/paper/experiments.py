"""The paper's tables and figures as experiments: jobs at an effort one can afford, shown beside the printed numbers.

Gao, Gouk, Hospedales, "Searching for Robustness: Loss Learning for Noisy Classification Tasks", ICCV 2021.
What is compared is said in `experiments.toml`. Figure 3 (left) and Table 5 need searches: `targets` says which, and
their losses are arguments of `experiments`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import resources
from itertools import product
from typing import Any

import msgspec

from autorobustloss.benchmark import BenchConfig, Entry, Table, pin, tabulate
from autorobustloss.benchmark.grid import at_authors_values
from autorobustloss.data import Dataset
from autorobustloss.errors import unknown_name
from autorobustloss.losses.cards import card_names, load_card
from autorobustloss.methods import MethodSpec, card_method
from autorobustloss.paper.effort import Effort
from autorobustloss.paper.numbers import beside, paper_tables
from autorobustloss.paper.tuning import tuned
from autorobustloss.runs import Executor, Job, Result, Store, Task, run_jobs
from autorobustloss.training import PRESETS

Learned = Mapping[str, MethodSpec]
"""Learned losses by the paper's names: arl-ar-s80, arl-ar-a40, arl-dr-s80, arl-dr-a40; "arl" for one of our own."""

LEARNED = ("arl-ar-s80", "arl-ar-a40", "arl-dr-s80", "arl-dr-a40")
OWN = MethodSpec.of("arl", learned="for each target")
"""The row of a table that has another learned loss in each column."""

EXPERIMENTS: Mapping[str, list[dict[str, Any]]] = msgspec.toml.decode(
    (resources.files("autorobustloss.paper") / "experiments.toml").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Target:
    """A loss that an experiment wants learned: its name there, its tasks, the order of its polynomial."""

    name: str
    tasks: tuple[Task, ...]
    order: int = 4


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper as jobs.

    rows: our methods by the paper's names. entries: the jobs. differs: how our runs differ from the paper's. picture:
    "", "curves", "sweep", "orders" or "features". tune: trials of hyper-parameter tuning before the entries run.
    """

    name: str
    title: str
    rows: Learned
    entries: tuple[Entry, ...]
    differs: tuple[str, ...] = ()
    picture: str = ""
    tune: int = 0

    @property
    def paper(self) -> bool:
        """Whether the paper prints numbers for it."""
        return self.name in paper_tables()

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The columns."""
        return tuple(dict.fromkeys(entry.task for entry in self.entries))

    def jobs(self, missing: Iterable[str] = ()) -> list[Job]:
        """Return the jobs, each once, without those whose data set is missing."""
        jobs = (e.job for e in self.entries if e.task.dataset.name not in missing)
        return list({job.key: job for job in jobs}.values())

    def pinned(self, datasets: Mapping[str, Dataset]) -> Experiment:
        """Return the experiment on these data: tasks tied to their content (see `bench.pin`), at authors' values."""
        classes = {name: dataset.num_classes for name, dataset in datasets.items()}
        entries = []
        for entry in self.entries:
            task, trained = pin((entry.task, entry.job.task), datasets)
            method = at_authors_values(entry.job.method, task, classes)
            entries.append(replace(entry, task=task, job=replace(entry.job, task=trained, method=method)))
        return replace(self, entries=tuple(entries))


def run_experiment(
    experiment: Experiment,
    store: Store,
    executor: Executor,
    on_result: Callable[[Job, Result, bool], None] | None = None,
    missing: Mapping[str, str] = {},
    failures: dict[str, str] | None = None,
    chance: Mapping[Task, float] = {},
) -> tuple[Table, dict[str, Result]]:
    """Train what the store lacks; return the table, beside the paper's where it prints one, and the results.

    missing: why a data set, by name, is absent: its columns say so and the rest runs. An experiment with `tune` is
    tuned first, which needs optuna. failures: where given, jobs that fail are noted here and in the table, and the
    others go on. chance: the accuracy that guessing does not exceed on each task (see `chance.chance_levels`).
    """

    def train(jobs: Iterable[Job]) -> dict[str, Result]:
        present = [job for job in jobs if job.task.dataset.name not in missing]
        return {r.key: r for r in run_jobs(present, store, executor, on_result, failures)}

    entries = tuned(experiment.entries, experiment.tune, train) if experiment.tune else experiment.entries
    results = train(entry.job for entry in entries)
    names = {method: name for name, method in experiment.rows.items()}
    said = experiment.differs
    table = tabulate(entries, results, experiment.title, missing, names, failures or {}, chance, said)
    if experiment.paper:
        table = beside(table, paper_tables()[experiment.name])
    return table, results


def zoo_losses() -> dict[str, MethodSpec]:
    """Return those learned losses of the paper's kinds that this library ships, a loss of two names once."""
    found = {card_method(load_card(name)): name for name in reversed((*LEARNED, "arl")) if name in card_names()}
    return {name: method for method, name in reversed(found.items())}


def experiments(name: str, effort: Effort, learned: Learned) -> tuple[Experiment, ...]:
    """Return the experiments of a table or figure: "table1" to "table5", "fig3", "fig4", "fig5", "cifar10-field".

    learned: learned losses by name (see `Learned`), such as `zoo_losses()`, and those that `targets` asks for.
    """
    wanted = {target.name for target in targets(name, effort)}
    return tuple(
        _experiment(raw, effort, {n: m for n, m in learned.items() if (n in wanted) == ("search" in raw)})
        for raw in EXPERIMENTS[name]
    )


def targets(name: str, effort: Effort) -> tuple[Target, ...]:
    """Return the losses that a table or figure wants learned for itself.

    Table 5: one for each of its columns, "DATASET/NOISE". Figure 3 (left): one of each order, "order 2" to "order 5".
    """
    if name not in EXPERIMENTS:
        raise unknown_name("table or figure of the paper", name, EXPERIMENTS)
    found: list[Target] = []
    for raw in EXPERIMENTS[name]:
        tasks = tuple(_tasks(raw, effort))
        found += [Target(f"order {order}", tasks, order) for order in raw.get("orders", ())]
        found += [Target(column, (task,)) for column, task in zip(_own_columns(raw), tasks)]
    return tuple(found)


def _experiment(raw: Mapping[str, Any], effort: Effort, learned: Learned) -> Experiment:
    tasks, rows, tune = _tasks(raw, effort), _rows(raw, learned), raw.get("tune", False)
    view = "tuned" if tune and not effort.trials else "published"
    own = dict(zip(tasks, _own_columns(raw)))
    entries = []
    for entry in BenchConfig(tuple(rows.values()), tuple(tasks), effort.seeds, (view,)).entries():
        instead = tasks[entry.task].get(entry.method.label)
        method = MethodSpec.parse(instead) if instead else entry.job.method
        trained = learned.get(own[entry.task]) if method == OWN else method
        if trained is not None:
            entries.append(replace(entry, job=replace(entry.job, method=trained)))
    return Experiment(
        name=raw["name"],
        title=raw["title"],
        rows=rows,
        entries=tuple(entries),
        differs=_differs(raw, effort),
        picture=raw.get("picture", ""),
        tune=effort.trials if tune else 0,
    )


def _tasks(raw: Mapping[str, Any], effort: Effort) -> dict[Task, Mapping[str, str]]:
    """Return the tasks of an experiment, with what is trained on each in place of a method."""
    return {
        effort.task(dataset, model, noise, PRESETS[block.get("protocol", raw["protocol"])], raw.get("valid", 0)): (
            block.get("instead", {})
        )
        for block in raw["tasks"]
        for model, dataset, noise in product(block["models"], block["datasets"], block["noise"])
    }


def _own_columns(raw: Mapping[str, Any]) -> list[str]:
    """Return the columns, as printed, of a table that has a loss of its own in each; of others none."""
    columns = paper_tables()[raw["name"]].columns if raw.get("search") == "tasks" else ()
    return ["/".join(column[1:]) for column in columns]


def _rows(raw: Mapping[str, Any], learned: Learned) -> dict[str, MethodSpec]:
    """Return the methods by name, hand-designed ones first, a method under two names once."""
    rows = {name: MethodSpec.of(name) for name in raw["methods"]}
    if raw.get("search") == "tasks":
        return {**rows, "arl": OWN}
    kind = raw.get("kind", "")
    for name, method in learned.items():
        if method not in rows.values() and (name not in LEARNED or name.endswith(kind)):
            rows[name.removesuffix(f"-{kind}")] = method
    return rows


def _differs(raw: Mapping[str, Any], effort: Effort) -> tuple[str, ...]:
    """Say how our runs of an experiment differ from the paper's."""
    protocol, chosen = PRESETS[raw["protocol"]], "hyper-parameters" if effort.trials else "learning rate"
    less = {
        f"{effort.train_size} training images and a quarter as many to validate on": effort.train_size,
        f"{effort.test_size} test images": effort.test_size,
        f"{effort.epochs} epochs instead of {protocol.epochs}": effort.epochs and effort.epochs != protocol.epochs,
        f"networks at {effort.width:g} of their width": effort.width != 1,
        f"numbers in {effort.precision}": effort.precision != "float32",
    }
    others, valid = raw.get("printed_by", ""), raw.get("valid", 0)  # who prints the numbers, if not the paper
    said = {
        f"scaled down here: {', '.join(text for text, holds in less.items() if holds)}": any(less.values()),
        "digits are cropped, not mirrored: a mirrored one is another": protocol.augment == "crop-flip" and not others,
        f"{valid} of the training images are validated on; {others} train on all": valid and not effort.train_size,
        f"mean over {effort.seeds} draws of split, noise and weights": effort.seeds > 1,
        "one draw of split, noise and weights, so no standard error": effort.seeds == 1,
        "learned losses are ours: the paper's coefficients and its scale normalisation are not published": not others,
        f"the numbers beside ours are those of {others}; initial weights and batches differ": others,
        "hyper-parameters of competitors are their authors' for the number of classes"
        + ("" if others else "; the paper states none"): True,
        f"with the {chosen} of each cell chosen on noisy validation data": raw.get("tune"),
    }
    notes = (note.format(**asdict(effort)) for note in raw.get("notes", ()))
    return (*(text for text, holds in said.items() if holds), *notes)
