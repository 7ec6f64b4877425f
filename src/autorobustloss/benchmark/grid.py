"""A grid of methods × tasks × learning rates × seeds, and the jobs it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from autorobustloss.errors import ConfigError
from autorobustloss.methods.duplicates import firsts_alike
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.methods.values import values_used, with_published_values
from autorobustloss.registry import METHODS
from autorobustloss.runs.job import EVALUATIONS, Job, Task


@dataclass(frozen=True)
class Entry:
    """One job and where it belongs in a table: its row, its column, its seed, and which variant of the cell it is.

    method is the row as the table names it; the job's own method may differ, such as its scale-matched variant.
    variant: "" where there is one only, else a short text such as "lr×0.3".
    """

    method: MethodSpec
    task: Task
    seed: int
    job: Job
    variant: str = ""


@dataclass(frozen=True)
class Grid:
    """What a table compares.

    seeds: how often each cell is trained. Seed i draws the split, the noise, the initial weights and the batch order
        (`split_seed = noise_seed = seed = i`), the same for every method, so the standard error of a cell covers all
        of them and the methods of a column meet equal conditions.
    evaluate: the splits that are scored.
    match_scale: give every loss cross-entropy's gradient at the start of training (see `like_cross_entropy`).
    learning_rates: multiples of the task's learning rate; of several, a table takes for each cell the one that is
        best on noisy validation data.
    classes: number of classes by the name of a data set; there methods have their authors' values for so many (see
        `with_published_values`), elsewhere their defaults.

    The jobs of a grid are a set: one more seed, method, task or learning rate leaves all others as they are.
    """

    methods: tuple[MethodSpec, ...]
    tasks: tuple[Task, ...]
    seeds: int = 3
    evaluate: tuple[str, ...] = EVALUATIONS
    match_scale: bool = False
    learning_rates: tuple[float, ...] = (1.0,)
    classes: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("methods", "tasks", "learning_rates"):
            values = tuple(getattr(self, name))
            if not values:
                raise ConfigError(f"got no {name.replace('_', ' ')} to compare, expected at least one")
            if len(set(values)) < len(values):
                twice = next(v for v in values if values.count(v) > 1)
                raise ConfigError(f"got {getattr(twice, 'label', twice)} twice among the {name.replace('_', ' ')}")
            object.__setattr__(self, name, values)
        if not 1 <= self.seeds <= 10_000:
            raise ConfigError(f"got seeds={self.seeds!r}, expected 1 to 10000")
        if not all(0 < rate < float("inf") for rate in self.learning_rates):
            raise ConfigError(f"got learning rates {self.learning_rates!r}, expected positive multiples")
        if len(self.learning_rates) > 1 and "valid_noisy" not in self.evaluate:
            raise ConfigError(f"got evaluate={self.evaluate!r}, but learning rates are chosen on valid_noisy; add it")

    def entries(self) -> tuple[Entry, ...]:
        """Return the jobs with their places, seed by seed: a grid that is cut short has whole columns."""
        several = len(self.learning_rates) > 1
        return tuple(
            Entry(method, task, seed, self._job(method, task, rate, seed), f"lr×{rate:g}" if several else "")
            for seed in range(self.seeds)
            for task in self.tasks
            for rate in self.learning_rates
            for method in self.methods
        )

    def jobs(self) -> list[Job]:
        """Return the jobs, in the order of `entries`."""
        return [entry.job for entry in self.entries()]

    def _job(self, method: MethodSpec, task: Task, rate: float, seed: int) -> Job:
        method = at_authors_values(method, task, self.classes)
        return seeded_job(
            matched(method) if self.match_scale else method, with_learning_rate(task, rate), seed, self.evaluate
        )


def at_authors_values(method: MethodSpec, task: Task, classes: Mapping[str, int]) -> MethodSpec:
    """Return a method with its authors' values for a task, as it is where the number of classes is not known."""
    name = task.dataset.name
    return with_published_values(method, classes[name], name) if name in classes else method


def values_note(entries: Iterable[Entry], names: Mapping[MethodSpec, str]) -> str:
    """Return which hyper-parameters the methods of a table have, and where they differ on which data; "" for none.

    Of learned losses, whose numbers are many, and of cells with values of their own nothing is said.
    """
    used: dict[MethodSpec, dict[str, dict[str, None]]] = {}
    for entry in entries:
        if entry.job.method.name != "taylor":
            shown = values_used(entry.job.method)
            shown.pop("match_scale", None)  # titles and labels tell
            text = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items())
            used.setdefault(entry.method, {}).setdefault(entry.task.dataset.name, {})[text] = None
    parts = []
    for method, by_dataset in used.items():
        where: dict[str, list[str]] = {}
        for dataset, (text, *others) in by_dataset.items():
            if text and not others:
                where.setdefault(text, []).append(dataset)
        several = len(where) > 1
        texts = [f"{text} ({', '.join(datasets)})" if several else text for text, datasets in where.items()]
        if texts:
            parts.append(f"{names[method]} {', '.join(texts)}")
    return f"values: {'; '.join(parts)}" if parts else ""


def counted_once(entries: Iterable[Entry]) -> dict[MethodSpec, MethodSpec]:
    """Return the methods of a table that train as an earlier one does everywhere, and that one."""
    entries = list(entries)
    alike = firsts_alike(entry.job.method for entry in entries)
    trained: dict[MethodSpec, dict[tuple[Task, int, str], MethodSpec]] = {}
    for entry in entries:
        trained.setdefault(entry.method, {})[entry.task, entry.seed, entry.variant] = alike[entry.job.method]
    firsts: list[MethodSpec] = []
    found = {}
    for method, jobs in trained.items():
        first = next((f for f in firsts if trained[f] == jobs), None)
        if first is None:
            firsts.append(method)
        else:
            found[method] = first
    return found


def seeded_job(method: MethodSpec, task: Task, seed: int, evaluate: tuple[str, ...] = EVALUATIONS) -> Job:
    """Return the job of a table's seed: the one number draws split, noise, initial weights and batch order."""
    return Job(task, method, split_seed=seed, noise_seed=seed, seed=seed, evaluate=evaluate)


def with_learning_rate(task: Task, factor: float) -> Task:
    """Return the task with its learning rate multiplied; factor 1 is the very same task."""
    return replace(task, protocol=task.protocol.but(lr=task.protocol.lr * factor)) if factor != 1 else task


def matched(method: MethodSpec) -> MethodSpec:
    """Return the variant of a method whose loss starts training with the gradient of cross-entropy.

    Cross-entropy, losses that are matched already, and procedures (which are more than a loss) come back unchanged.
    """
    options = method.options
    if method.name in METHODS or method.name == "ce" or options.get("scale") == "init" or "match_scale" in options:
        return method
    return MethodSpec.of(method.name, **options, match_scale=True)
