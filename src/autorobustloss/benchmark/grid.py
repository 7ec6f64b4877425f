"""What a benchmark compares, and the jobs it stands for: methods × tasks × learning rates × seeds, in three views."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from autorobustloss.errors import ConfigError, unknown_name
from autorobustloss.methods import MethodSpec, with_published_values
from autorobustloss.registry import METHODS
from autorobustloss.runs import Job, Task
from autorobustloss.runs.job import EVALUATIONS
from autorobustloss.runs.strict import plain

VIEWS: Mapping[str, str] = {
    "published": "each method as published",
    "matched": "each loss with cross-entropy's gradient at the start of training",
    "tuned": "each method with the learning rate it likes best, chosen on noisy validation data",
}
SWEEP = (0.1, 0.3, 1.0, 3.0)


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
class BenchConfig:
    """What a benchmark compares; each view is a table.

    seeds: how often each cell is trained. Seed i draws the split, the noise, the initial weights and the batch order
        (`split_seed = noise_seed = seed = i`), the same for every method, so the standard error of a cell covers all
        of them and the methods of a column meet equal conditions.
    views: some of VIEWS. At a fixed number of epochs a smaller gradient is early stopping in disguise, so a loss is
        robust if it wins in all three.
    learning_rates: multiples of each task's learning rate, for the view "tuned"; a table takes for each cell the one
        that is best on noisy validation data.
    classes: number of classes by the name of a data set; there methods have their authors' values for so many (see
        `with_published_values`), elsewhere their defaults.

    The jobs are a set: one more seed, method, task, view or learning rate leaves all others as they are.
    """

    methods: tuple[MethodSpec, ...]
    tasks: tuple[Task, ...]
    seeds: int = 3
    views: tuple[str, ...] = ("published",)
    learning_rates: tuple[float, ...] = SWEEP
    classes: Mapping[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("methods", "tasks", "views", "learning_rates"):
            values = tuple(getattr(self, name))
            if not values:
                raise ConfigError(f"got no {name.replace('_', ' ')} to compare, expected at least one")
            if len(set(values)) < len(values):
                twice = next(v for v in values if values.count(v) > 1)
                raise ConfigError(f"got {getattr(twice, 'label', twice)} twice among the {name.replace('_', ' ')}")
            object.__setattr__(self, name, values)
        for view in self.views:
            if view not in VIEWS:
                raise unknown_name("view", view, VIEWS)
        if not 1 <= self.seeds <= 10_000:
            raise ConfigError(f"got seeds={self.seeds!r}, expected 1 to 10000")
        if not all(0 < rate < float("inf") for rate in self.learning_rates):
            raise ConfigError(f"got learning rates {self.learning_rates!r}, expected positive multiples")

    def entries(self, view: str = "") -> tuple[Entry, ...]:
        """Return the jobs of a view, the first if none is named, with their places.

        Seed by seed, so that what is cut short has whole columns.
        """
        view = view or self.views[0]
        rates = self.learning_rates if view == "tuned" else (1.0,)
        found = []
        for seed, task, rate, method in product(range(self.seeds), self.tasks, rates, self.methods):
            trained = at_authors_values(method, task, self.classes)
            trained = at_start_scale(trained) if view == "matched" else trained
            job = seeded_job(trained, with_learning_rate(task, rate), seed)
            found.append(Entry(method, task, seed, job, f"lr×{rate:g}" if rates[1:] else ""))
        return tuple(found)

    def jobs(self) -> list[Job]:
        """Return the jobs of all views, each once."""
        return list({e.job.key: e.job for view in self.views for e in self.entries(view)}.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types, and authors' values other than the defaults, by data set."""
        settings: dict[str, Any] = plain(self)
        del settings["classes"]
        values: dict[str, dict[str, str]] = defaultdict(dict)
        for task, method in product(self.tasks, self.methods):
            if (chosen := at_authors_values(method, task, self.classes)) != method:
                values[task.dataset.name][method.label] = chosen.label
        return {**settings, "values": dict(values)} if values else settings


def at_authors_values(method: MethodSpec, task: Task, classes: Mapping[str, int]) -> MethodSpec:
    """Return a method with its authors' values for a task, as it is where the number of classes is not known."""
    name = task.dataset.name
    return with_published_values(method, classes[name], name) if name in classes else method


def at_start_scale(method: MethodSpec) -> MethodSpec:
    """Return the variant of a method whose loss starts training with the gradient of cross-entropy.

    Cross-entropy, losses that are matched already, and procedures (which are more than a loss) come back unchanged.
    """
    options = method.options
    if method.name in METHODS or method.name == "ce" or options.get("scale") == "init" or "match_scale" in options:
        return method
    return MethodSpec.of(method.name, **options, match_scale=True)


def seeded_job(method: MethodSpec, task: Task, seed: int, evaluate: tuple[str, ...] = EVALUATIONS) -> Job:
    """Return the job of a table's seed: the one number draws split, noise, initial weights and batch order."""
    return Job(task, method, split_seed=seed, noise_seed=seed, seed=seed, evaluate=evaluate)


def with_learning_rate(task: Task, factor: float) -> Task:
    """Return the task with its learning rate multiplied; factor 1 is the very same task."""
    return replace(task, protocol=task.protocol.but(lr=task.protocol.lr * factor)) if factor != 1 else task
