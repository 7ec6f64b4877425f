"""A search as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autorobustloss.errors import ConfigError, unknown_name
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.methods.values import with_published_values
from autorobustloss.runs.job import Task
from autorobustloss.runs.strict import plain
from autorobustloss.search.fitness import FITNESS
from autorobustloss.search.space import SearchSpace, Space
from autorobustloss.search.strategy import LEARNING_RATE_ADAPTATION_FROM, Strategy

FITNESS_ON: Mapping[str, str] = {"clean": "valid_clean", "noisy": "valid_noisy"}
"""The split of a job's result that a fitness on clean, or on noisy, validation labels is taken from."""
RIVAL_VALUES = ("defaults", "authors")
MOST_ROUNDS = 100_000
"""Generations, or seeds of the finalists, beyond which a number is a slip of the hand."""


@dataclass(frozen=True)
class SearchConfig:
    """Everything that decides the outcome of a search.

    tasks: what candidates are trained on; architecture, data-set and noise randomisation are a longer list.
    tasks_per_generation: a seeded sample of so many tasks each generation, 0 for all of them.
    race: share of the candidates on one task that goes on to the next, in the order of `tasks`; 1 for no race. The
        others are decided: they rank behind. So list cheap tasks first.
    space: of the Taylor losses (`Space`) or of the gated ones (`GatedSpace`).
    population, generations, sigma, start: CMA-ES (see `Strategy`, and `start` of the space).
    fitness: "accuracy" (the paper's), "odds" or "rank".
    rivals: methods trained beside each generation, on its tasks and noise; the fitness "rank" then ranks candidates
        among them too: what counts is to beat what there is, and a task where all candidates are poor costs them all.
    rival_values: the losses' "defaults" on all data, or those of their "authors" for each data set's number of classes.
    fitness_on: the validation labels that score a network, "clean" (the paper's) or "noisy": for data of which nobody
        knows the right labels. Noise of a kind that a network cannot guess costs all candidates alike.
    finalists_seeds: fresh noise draws and initial weights on which the distribution's mean and the best candidate
        are scored again at the end; the better one is the learned loss.
    """

    tasks: tuple[Task, ...]
    space: SearchSpace = field(default_factory=Space)
    population: int = 10
    generations: int = 6
    sigma: float = 0.5
    start: str = "mae"
    fitness: str = "accuracy"
    rivals: tuple[MethodSpec, ...] = ()
    tasks_per_generation: int = 0
    race: float = 1.0
    finalists_seeds: int = 2
    seed: int = 0
    rival_values: str = field(default="defaults", metadata={"added": True})
    fitness_on: str = field(default="clean", metadata={"added": True})

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("got no tasks, expected at least one data set, model and noise to search on")
        if self.fitness not in FITNESS:
            raise unknown_name("fitness", self.fitness, FITNESS)
        if self.fitness_on not in FITNESS_ON:
            raise unknown_name("fitness_on", self.fitness_on, FITNESS_ON)
        if self.rival_values not in RIVAL_VALUES:
            raise unknown_name("rival_values", self.rival_values, RIVAL_VALUES)
        if self.rivals and (self.fitness != "rank" or self.race < 1):
            raise ConfigError(
                f"got rivals with fitness={self.fitness!r} and race={self.race}, expected fitness='rank' and no race: "
                "rivals are there to be ranked with, on every task"
            )
        for name in ("generations", "finalists_seeds"):
            if not 1 <= getattr(self, name) <= MOST_ROUNDS:
                raise ConfigError(f"got {name}={getattr(self, name)}, expected 1 to {MOST_ROUNDS}")
        if not 0 <= self.tasks_per_generation <= len(self.tasks):
            raise ConfigError(
                f"got tasks_per_generation={self.tasks_per_generation}, expected 0 (all) to {len(self.tasks)}, "
                "the number of tasks"
            )
        if not 0 < self.race <= 1:
            raise ConfigError(f"got race={self.race}, expected a share in (0, 1], 1 for no race")
        self.strategy()  # complains about its part

    @property
    def evaluations(self) -> int:
        """Return the number of candidates the search scores."""
        return self.population * self.generations

    @property
    def jobs_per_generation(self) -> int:
        """Return how many networks are trained in a generation, unless some candidates are rejected or raced away."""
        return (self.population + len(self.rivals)) * (self.tasks_per_generation or len(self.tasks))

    @property
    def adapt_learning_rate(self) -> bool:
        """Return whether CMA-ES adapts its learning rate, which pays only for long searches."""
        return self.evaluations >= LEARNING_RATE_ADAPTATION_FROM

    @property
    def scored_split(self) -> str:
        """Return the split of a result that scores a candidate."""
        return FITNESS_ON[self.fitness_on]

    def trained(self, method: MethodSpec, task: Task, class_counts: Mapping[str, int]) -> MethodSpec:
        """Return what is trained on a task: a candidate itself, a rival perhaps at its authors' values."""
        name = task.dataset.name
        return with_published_values(method, class_counts[name], name) if self.rival_values == "authors" else method

    def strategy(self) -> Strategy:
        """Return CMA-ES at its start."""
        mean = self.space.start(self.start)
        return Strategy(mean, self.sigma, self.population, self.seed, self.adapt_learning_rate)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types."""
        return {**plain(self), "rivals": [rival.label for rival in self.rivals]}
