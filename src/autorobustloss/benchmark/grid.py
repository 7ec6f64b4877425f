"""A grid of methods × tasks × learning rates × seeds, and the jobs it stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autorobustloss.errors import ConfigError
from autorobustloss.jobs.job import EVALUATIONS, Job, Task
from autorobustloss.methods.registry import METHODS
from autorobustloss.methods.spec import MethodSpec


@dataclass(frozen=True)
class Entry:
    """One job of a grid and where it belongs: its row, its column, and which of the variants it is.

    method is the row as the grid names it; the job's own method may be its scale-matched variant.
    """

    method: MethodSpec
    task: Task
    learning_rate: float
    seed: int
    job: Job


@dataclass(frozen=True)
class Grid:
    """What a table compares.

    seeds: how often each cell is trained. Seed i draws the split, the noise, the initial weights and the batch order
        (`split_seed = noise_seed = seed = i`), the same for every method, so the standard error of a cell covers all
        of them and the methods of a column meet equal conditions.
    evaluate: the splits that are scored.
    match_scale: give every loss cross-entropy's gradient at the start of training (see `matched`).
    learning_rates: multiples of the task's learning rate; of several, a table takes for each cell the one that is
        best on noisy validation data.

    The jobs of a grid are a set: one more seed, method, task or learning rate leaves all others as they are.
    """

    methods: tuple[MethodSpec, ...]
    tasks: tuple[Task, ...]
    seeds: int = 3
    evaluate: tuple[str, ...] = EVALUATIONS
    match_scale: bool = False
    learning_rates: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for name in ("methods", "tasks", "learning_rates"):
            values = tuple(getattr(self, name))
            if not values:
                raise ConfigError(f"got no {name.replace('_', ' ')} to compare, expected at least one")
            if len(set(values)) < len(values):
                twice = next(v for v in values if values.count(v) > 1)
                raise ConfigError(f"got {getattr(twice, 'label', twice)} twice among the {name.replace('_', ' ')}")
            object.__setattr__(self, name, values)
        if self.seeds < 1:
            raise ConfigError(f"got seeds={self.seeds!r}, expected at least 1")
        if not all(rate > 0 for rate in self.learning_rates):
            raise ConfigError(f"got learning rates {self.learning_rates!r}, expected positive multiples")
        if len(self.learning_rates) > 1 and "valid_noisy" not in self.evaluate:
            raise ConfigError(f"got evaluate={self.evaluate!r}, but learning rates are chosen on valid_noisy; add it")

    def entries(self) -> tuple[Entry, ...]:
        """Return the jobs with their places, seed by seed: a grid that is cut short has whole columns."""
        return tuple(
            Entry(method, task, rate, seed, self._job(method, task, rate, seed))
            for seed in range(self.seeds)
            for task in self.tasks
            for rate in self.learning_rates
            for method in self.methods
        )

    def jobs(self) -> list[Job]:
        """Return the jobs, in the order of `entries`."""
        return [entry.job for entry in self.entries()]

    def without(self, tasks: frozenset[Task] | set[Task]) -> Grid | None:
        """Return the grid less some tasks, None if none is left."""
        kept = tuple(task for task in self.tasks if task not in tasks)
        return replace(self, tasks=kept) if kept else None

    def _job(self, method: MethodSpec, task: Task, rate: float, seed: int) -> Job:
        if rate != 1.0:
            task = replace(task, protocol=task.protocol.but(lr=task.protocol.lr * rate))
        method = matched(method) if self.match_scale else method
        return Job(task, method, split_seed=seed, noise_seed=seed, seed=seed, evaluate=self.evaluate)


def matched(method: MethodSpec) -> MethodSpec:
    """Return the variant of a method whose loss starts training with the gradient of cross-entropy.

    Cross-entropy, losses that are matched already, and procedures (which are more than a loss) come back unchanged.
    """
    options = method.options
    if method.name in METHODS or method.name == "ce" or options.get("scale") == "init" or "match_scale" in options:
        return method
    return MethodSpec.of(method.name, **options, match_scale=True)
