"""The paper's tables and figures as experiments: jobs at a scale one can afford, shown beside the printed numbers.

Gao, Gouk, Hospedales, "Searching for Robustness: Loss Learning for Noisy Classification Tasks", ICCV 2021.
Figure 3 (left) and Table 5 need searches: `targets` says which, and their losses are arguments of `experiments`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from autorobustloss.benchmark.bench import SWEEP, pin
from autorobustloss.benchmark.grid import Entry, Grid, at_authors_values, seeded_job
from autorobustloss.benchmark.table import Table, tabulate
from autorobustloss.errors import unknown_name
from autorobustloss.losses.cards import card_names, load_card
from autorobustloss.methods import card_method
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.paper.effort import Scale
from autorobustloss.paper.numbers import beside, paper_table
from autorobustloss.runs.batch import run_jobs
from autorobustloss.runs.job import Job, Task
from autorobustloss.runs.result import Result
from autorobustloss.training.protocol import PRESETS, TrainingProtocol

if TYPE_CHECKING:
    from autorobustloss.data import Dataset
    from autorobustloss.runs.executors import Executor
    from autorobustloss.runs.store import Store

Learned = Mapping[str, MethodSpec]
"""Learned losses by the paper's names: arl-ar-s80, arl-ar-a40, arl-dr-s80, arl-dr-a40; "arl" for one of our own."""

LEARNED = ("arl-ar-s80", "arl-ar-a40", "arl-dr-s80", "arl-dr-a40", "arl")
HAND_DESIGNED = (
    *("ce", "gce", "sce", "fw", "bootstrap", "mae", "label_smoothing", "huber", "nce+mae", "nfl+mae", "bi_tempered"),
)
CLOTHING = "clothing1m[size=64]"
JOCOR_NET = "jocor-net"
ORDERS = (2, 3, 4, 5)

DEEP_PROTOCOL = PRESETS["lookahead"]


@dataclass(frozen=True)
class Target:
    """A loss that an experiment wants learned: its name there, its tasks, the order of its polynomial."""

    name: str
    tasks: tuple[Task, ...]
    order: int = 4


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper as jobs.

    rows: our methods by the paper's names. entries: the jobs. paper: the printed table, "" for a figure. columns: its
    column of each of our tasks. differs: how our runs differ from the paper's. picture: "", "curves", "sweep",
    "orders" or "features". tune: trials of hyper-parameter tuning before the entries run, see `tuning.tuned`.
    """

    name: str
    title: str
    rows: Learned
    entries: tuple[Entry, ...]
    selection: str = "last"
    paper: str = ""
    columns: tuple[int | None, ...] = ()
    differs: tuple[str, ...] = ()
    picture: str = ""
    tune: int = 0

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The columns."""
        return tuple(dict.fromkeys(entry.task for entry in self.entries))

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the data sets."""
        return tuple(dict.fromkeys(task.dataset.name for task in self.tasks))

    def jobs(self, missing: Mapping[str, str] | None = None) -> list[Job]:
        """Return the jobs, each once, without those whose data set is missing."""
        jobs = (e.job for e in self.entries if e.task.dataset.name not in (missing or {}))
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
    missing: Mapping[str, str] | None = None,
    failures: dict[str, str] | None = None,
    chance: Mapping[Task, float] | None = None,
) -> tuple[Table, dict[str, Result]]:
    """Train what the store lacks; return the table, beside the paper's where it prints one, and the results.

    missing: why a data set, by name, is absent: its columns say so and the rest runs. An experiment with `tune` is
    tuned first, which needs optuna. failures: where given, jobs that fail are noted here and in the table, and the
    others go on. chance: the accuracy that guessing does not exceed on each task (see `chance.chance_levels`).
    """
    reasons = missing or {}
    if experiment.tune:
        from autorobustloss.paper.tuning import tuned

        experiment = tuned(experiment, store, executor, on_result, reasons, failures)
    results = {r.key: r for r in run_jobs(experiment.jobs(reasons), store, executor, on_result, failures)}
    absent = {task: reasons[task.dataset.name] for task in experiment.tasks if task.dataset.name in reasons}
    names = {method: name for name, method in experiment.rows.items()}
    table = tabulate(experiment.entries, results, experiment.title, absent, names, failures=failures, chance=chance)
    if experiment.paper:
        rows = list(dict.fromkeys(names[entry.method] for entry in experiment.entries))
        table = beside(table, paper_table(experiment.paper), rows, experiment.columns, experiment.differs)
    else:
        table = replace(table, notes=(*experiment.differs, *table.notes))
    return table, results


def zoo_losses() -> dict[str, MethodSpec]:
    """Return those learned losses of the paper's kinds that this library ships, a loss of two names once."""
    found = {card_method(load_card(name)): name for name in reversed(LEARNED) if name in card_names()}
    return {name: method for method, name in reversed(found.items())}


def experiments(name: str, scale: Scale | None = None, learned: Learned | None = None) -> tuple[Experiment, ...]:
    """Return the experiments of a table or figure of the paper: "table1" to "table5", "fig3", "fig4", "fig5".

    learned: learned losses by name (see `Learned`), by default those that this library ships, and those that `targets`
    asks for.
    """
    if name not in EXPERIMENTS:
        raise unknown_name("table or figure of the paper", name, EXPERIMENTS)
    return EXPERIMENTS[name](scale or Scale(), zoo_losses() if learned is None else learned)


def targets(name: str, scale: Scale | None = None) -> tuple[Target, ...]:
    """Return the losses that a table or figure wants learned for itself.

    Table 5: one for each of its columns, "DATASET/NOISE". Figure 3 (left): one of each order, "order 2" to "order 5".
    """
    scale = scale or Scale()
    if name == "table5":
        return tuple(Target(name, (task,)) for name, task in _targets_of_table5(scale).items())
    if name == "fig3":
        return tuple(Target(f"order {order}", _order_tasks(scale), order) for order in ORDERS)
    return ()


def table1(scale: Scale, learned: Learned) -> tuple[Experiment, ...]:
    """Table 1: 80 % symmetric noise, accuracy at the last epoch."""
    return (_main_table("table1", "sym:0.8", "s80", scale, learned),)


def table2(scale: Scale, learned: Learned) -> tuple[Experiment, ...]:
    """Table 2: 40 % pair-flip noise, accuracy at the last epoch."""
    return (_main_table("table2", "pair:0.4", "a40", scale, learned),)


def table3(scale: Scale, learned: Learned) -> tuple[Experiment, ...]:
    """Table 3: epoch and hyper-parameters chosen on noisy validation data, both noises."""
    few = ("ce", "gce", "sce", "nce+mae", "nfl+mae")
    how = "with the hyper-parameters of each cell" if scale.trials else "with the learning rate of each cell"
    return tuple(
        replace(
            _main_table(name, noise, kind, scale, learned, few, () if scale.trials else SWEEP),
            differs=(*_differs(scale, DEEP_PROTOCOL), f"{how} chosen on noisy validation data"),
            tune=scale.trials,
        )
        for name, noise, kind in (("table3-sym", "sym:0.8", "s80"), ("table3-asym", "pair:0.4", "a40"))
    )


def table4(scale: Scale, learned: Learned) -> tuple[Experiment, ...]:
    """Table 4: ResNet-18 on Clothing1M, and on CIFAR-10 with the worst human labels as a stand-in."""
    names = ("ce", "bootstrap", "gce", "fw", "sce", "huber", "jocor", "nce+mae", "nfl+mae", "bi_tempered")
    rows = _rows(names, learned)
    tasks = (
        scale.task(CLOTHING, "resnet18", "given", PRESETS["clothing1m"]),
        scale.task("cifar10", "resnet18", "human:worse", DEEP_PROTOCOL),
    )
    differs = (
        *_differs(scale, PRESETS["clothing1m"]),
        f"{CLOTHING}: images of 64 pixels, initial weights not pre-trained; the paper states neither",
        "cifar10 with human labels (CIFAR-10N, worst of three) is a stand-in that the paper does not have",
    )
    entries = Grid(tuple(rows.values()), tasks, scale.seeds).entries()
    # JoCoR needs the noise rate, which Clothing1M does not come with: 38.5 % is the estimate of Xiao et al. 2015.
    told = MethodSpec.of("jocor", forget_rate=0.385)
    entries = tuple(
        replace(e, job=replace(e.job, method=told)) if (e.method.name, e.task) == ("jocor", tasks[0]) else e
        for e in entries
    )
    title = "Table 4: human label noise, ResNet-18"
    return (Experiment("table4", title, rows, entries, "last", "table4", (0, None), differs),)


def table5(scale: Scale, learned: Learned) -> tuple[Experiment, ...]:
    """Table 5: a loss learned for each target against JoCoR, JoCoR-Net throughout."""
    own = MethodSpec.of("arl", learned="for each target")
    rows = _rows(("ce", "gce", "sce", "fw", "bootstrap", "jocor"), {"arl": own})
    tasks = _targets_of_table5(scale)
    entries: list[Entry] = []
    for name, task in tasks.items():
        trained = {method: learned.get(name) if method == own else method for method in rows.values()}
        entries += [
            Entry(row, task, seed, seeded_job(method, task, seed))
            for seed in range(scale.seeds)
            for row, method in trained.items()
            if method is not None
        ]
    title = "Table 5: a loss learned for each target, JoCoR-Net"
    differs = (*_differs(scale, PRESETS["jocor"]), _effort(scale))
    return (Experiment("table5", title, rows, tuple(entries), "last", "table5", tuple(range(len(tasks))), differs),)


def _targets_of_table5(scale: Scale) -> dict[str, Task]:
    def noise(dataset: str, printed: str) -> str:  # CIFAR-100 in the JoCoR code: the next class in blocks of five
        return "map:0.4:legacy" if (dataset, printed) == ("cifar100", "map:0.4") else printed

    columns = paper_table("table5").columns
    return {f"{d}/{n}": scale.task(d, JOCOR_NET, noise(d, n), PRESETS["jocor"]) for _, d, n in columns}


def fig3(scale: Scale, learned: Learned) -> tuple[Experiment, ...]:
    """Figure 3: linear models under losses of orders 2 to 5; test accuracy per epoch on USPS."""
    by_order = {name: learned[name] for order in ORDERS if (name := f"order {order}") in learned}
    others = {name: method for name, method in learned.items() if name not in by_order}
    rows = {"ce": MethodSpec.of("ce"), **by_order}
    grid = Grid(tuple(rows.values()), _order_tasks(scale), scale.seeds)
    differs = (
        *_differs(scale, PRESETS["shallow"]),
        _effort(scale),
        "80 % symmetric noise, which the paper does not state; it prints bars, no numbers, for this figure",
    )
    orders = Experiment(
        "fig3-orders", "Figure 3: order of the polynomial", rows, grid.entries(), differs=differs, picture="orders"
    )
    return orders, _curves(scale, others)


def _order_tasks(scale: Scale) -> tuple[Task, ...]:
    shallow = PRESETS["shallow"]
    return tuple(scale.task(name, "linear", "sym:0.8", shallow) for name in ("mnist", "kmnist", "cifar10"))


def _curves(scale: Scale, learned: Learned) -> Experiment:
    tasks = (
        scale.task("usps", "vgg11", "sym:0.8", DEEP_PROTOCOL),
        scale.task("usps", "resnet18", "pair:0.4", DEEP_PROTOCOL),
    )
    rows = _rows(("ce", "gce", "sce", "mae", "nce+mae", "nfl+mae"), learned)
    return _figure("fig3-curves", "Figure 3: learning curves on USPS", rows, tasks, scale, "curves")


def fig4(scale: Scale, learned: Learned) -> tuple[Experiment, ...]:
    """Figure 4: accuracy against the noise rate, from clean labels up."""
    settings = (
        ("fashion_mnist", "vgg11", "sym", (0.2, 0.4, 0.6, 0.8)),
        ("fashion_mnist", "vgg11", "pair", (0.1, 0.2, 0.3, 0.4)),
        ("usps", "resnet18", "pair", (0.1, 0.2, 0.3, 0.4)),
    )
    tasks = [
        scale.task(dataset, model, noise, DEEP_PROTOCOL)
        for dataset, model, kind, rates in settings
        for noise in ("clean", *(f"{kind}:{rate}" for rate in rates))
    ]
    rows = _rows(("ce", "gce", "sce", "mae", "nce+mae", "nfl+mae"), learned)
    return (_figure("fig4", "Figure 4: from clean to noisy labels", rows, tasks, scale, "sweep"),)


def fig5(scale: Scale, learned: Learned) -> tuple[Experiment, ...]:
    """Figure 5: t-SNE of ResNet-18's features on CIFAR-10, 40 % symmetric noise."""
    tasks = (scale.task("cifar10", "resnet18", "sym:0.4", DEEP_PROTOCOL),)
    rows = _rows(("ce", "bootstrap"), learned)
    return (_figure("fig5", "Figure 5: features under 40 % symmetric noise", rows, tasks, scale, "features"),)


EXPERIMENTS: Mapping[str, Callable[[Scale, Learned], tuple[Experiment, ...]]] = {
    "table1": table1,
    "table2": table2,
    "table3": table3,
    "table4": table4,
    "table5": table5,
    "fig3": fig3,
    "fig4": fig4,
    "fig5": fig5,
}


def _main_table(
    name: str,
    noise: str,
    kind: str,
    scale: Scale,
    learned: Learned,
    methods: Sequence[str] = HAND_DESIGNED,
    learning_rates: Sequence[float] = (),
) -> Experiment:
    paper = paper_table(name)
    ours = {
        f"arl-{where}": learned[f"arl-{where}-{kind}"] for where in ("ar", "dr") if f"arl-{where}-{kind}" in learned
    }
    other = {row: method for row, method in learned.items() if row not in LEARNED or row == "arl"}
    rows = _rows(methods, {**ours, **other})
    tasks = tuple(scale.task(dataset, model, noise, DEEP_PROTOCOL) for model, dataset in paper.columns)
    grid = Grid(tuple(rows.values()), tasks, scale.seeds, learning_rates=tuple(learning_rates) or (1.0,))
    return Experiment(
        name=name,
        title=f"Table {name.removeprefix('table').partition('-')[0]}: {noise}",
        rows=rows,
        entries=grid.entries(),
        selection=paper.selection,
        paper=name,
        columns=tuple(range(len(tasks))),
        differs=_differs(scale, DEEP_PROTOCOL),
    )


def _figure(name: str, title: str, rows: Learned, tasks: Sequence[Task], scale: Scale, picture: str) -> Experiment:
    grid = Grid(tuple(rows.values()), tuple(dict.fromkeys(tasks)), scale.seeds)
    differs = (*_differs(scale, DEEP_PROTOCOL), "the paper prints curves, no numbers, for this figure")
    return Experiment(name, title, rows, grid.entries(), differs=differs, picture=picture)


def _rows(hand_designed: Sequence[str], learned: Learned) -> dict[str, MethodSpec]:
    """Return the methods by name, hand-designed ones first, a method under two names once."""
    rows = {name: MethodSpec.of(name) for name in hand_designed}
    for name, method in learned.items():
        if method not in rows.values():
            rows[name] = method
    return rows


def _effort(scale: Scale) -> str:
    return (
        f"losses learned here in {scale.generations} generations of {scale.population} candidates; "
        "the paper states neither number"
    )


def _differs(scale: Scale, protocol: TrainingProtocol) -> tuple[str, ...]:
    flips = ("digits are cropped, not mirrored: a mirrored one is another",) if protocol.augment == "crop-flip" else ()
    return (
        *scale.differences(protocol),
        *flips,
        f"mean over {scale.seeds} draws of split, noise and weights"
        if scale.seeds > 1
        else "one draw of split, noise and weights, so no standard error",
        "learned losses are ours: the paper's coefficients and its scale normalisation are not published",
        "hyper-parameters of competitors are their authors' for the number of classes; the paper states none",
    )
