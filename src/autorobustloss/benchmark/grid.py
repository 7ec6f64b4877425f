"""A grid of methods × tasks × learning rates × seeds, and the jobs it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from autorobustloss.errors import ConfigError
from autorobustloss.methods.published import with_published_values
from autorobustloss.methods.spec import MethodSpec
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
    match_scale: give every loss cross-entropy's gradient at the start of training (see `at_start_scale`).
    learning_rates: multiples of the task's learning rate; of several, a table takes for each cell the one that is
        best on noisy validation data.
    classes: number of classes by the name of a data set; there methods have their authors' values for so many (see
        `with_published_values`), elsewhere their defaults.

    The jobs of a grid are a set: one more seed, method, task or learning rate leaves all others as they are.
    """

    methods: tuple[MethodSpec, ...]
    tasks: tuple[Task, ...]
    seeds: int = 3
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

    def entries(self) -> tuple[Entry, ...]:
        """Return the jobs with their places, seed by seed: a grid that is cut short has whole columns."""
        several = len(self.learning_rates) > 1
        return tuple(
            Entry(
                method,
                task,
                seed,
                seeded_job(self._trained(method, task), with_learning_rate(task, rate), seed),
                f"lr×{rate:g}" if several else "",
            )
            for seed in range(self.seeds)
            for task in self.tasks
            for rate in self.learning_rates
            for method in self.methods
        )

    def jobs(self) -> list[Job]:
        """Return the jobs, in the order of `entries`."""
        return [entry.job for entry in self.entries()]

    def _trained(self, method: MethodSpec, task: Task) -> MethodSpec:
        method = at_authors_values(method, task, self.classes)
        return at_start_scale(method) if self.match_scale else method


def at_authors_values(method: MethodSpec, task: Task, classes: Mapping[str, int]) -> MethodSpec:
    """Return a method with its authors' values for a task, as it is where the number of classes is not known."""
    name = task.dataset.name
    return with_published_values(method, classes[name], name) if name in classes else method


def seeded_job(method: MethodSpec, task: Task, seed: int, evaluate: tuple[str, ...] = EVALUATIONS) -> Job:
    """Return the job of a table's seed: the one number draws split, noise, initial weights and batch order."""
    return Job(task, method, split_seed=seed, noise_seed=seed, seed=seed, evaluate=evaluate)


def with_learning_rate(task: Task, factor: float) -> Task:
    """Return the task with its learning rate multiplied; factor 1 is the very same task."""
    return replace(task, protocol=task.protocol.but(lr=task.protocol.lr * factor)) if factor != 1 else task


def at_start_scale(method: MethodSpec) -> MethodSpec:
    """Return the variant of a method whose loss starts training with the gradient of cross-entropy.

    Cross-entropy, losses that are matched already, and procedures (which are more than a loss) come back unchanged.
    """
    options = method.options
    if method.name in METHODS or method.name == "ce" or options.get("scale") == "init" or "match_scale" in options:
        return method
    return MethodSpec.of(method.name, **options, match_scale=True)
