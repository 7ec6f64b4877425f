"""A search as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autorobustloss.errors import ConfigError, unknown_name
from autorobustloss.methods import MethodSpec
from autorobustloss.runs import Store, Task
from autorobustloss.runs.strict import plain
from autorobustloss.search.fitness import FITNESS
from autorobustloss.search.gated_space import GatedSpace
from autorobustloss.search.settings import SearchSettings
from autorobustloss.search.space import SearchSpace, Space
from autorobustloss.search.strategy import LEARNING_RATE_ADAPTATION_FROM, Strategy

FITNESS_ON: Mapping[str, str] = {"clean": "valid_clean", "noisy": "valid_noisy"}
"""The split of a job's result that a fitness on clean, or on noisy, validation labels is taken from."""
RIVAL_VALUES = ("defaults", "authors")
MOST_ROUNDS = 100_000
"""Generations, or seeds of the finalists, beyond which a number is a slip of the hand."""


def create_space(name: str = Space.name, **options: Any) -> SearchSpace:
    """Return the space of a name, its options where they are given.

    >>> create_space("gated", order=1).dimension, create_space("canonical").dimension
    (8, 6)
    """
    return GatedSpace(**options) if name == GatedSpace.name else Space(name, **options)


@dataclass(frozen=True)
class SearchConfig(SearchSettings):
    """Everything that decides the outcome of a search.

    tasks: what candidates are trained on; architecture, data-set and noise randomisation are a longer list.
    space: of the Taylor losses (`Space`) or of the gated ones (`GatedSpace`). start: see `start` of the space.
    rivals: methods trained beside each generation, on its tasks and noise; the fitness "rank" then ranks candidates
        among them too: what counts is to beat what there is, and a task where all candidates are poor costs them all.
    rival_values: the losses' "defaults" on all data, or those of their "authors" for each data set's number of classes.
    The others are those of `SearchSettings`.
    """

    tasks: tuple[Task, ...]
    space: SearchSpace = field(default_factory=Space)
    start: str = "mae"
    rivals: tuple[MethodSpec, ...] = ()
    seed: int = 0
    rival_values: str = field(default="defaults", metadata={"added": True})

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ConfigError("got no tasks, expected at least one data set, model and noise to search on")
        for name, known in (("fitness", FITNESS), ("fitness_on", FITNESS_ON), ("rival_values", RIVAL_VALUES)):
            if getattr(self, name) not in known:
                raise unknown_name(name, getattr(self, name), known)
        if self.rivals and (self.fitness != "rank" or self.race < 1):
            raise ConfigError(
                f"got rivals with fitness={self.fitness!r} and race={self.race}, expected fitness='rank' and no race: "
                "rivals are there to be ranked with, on every task"
            )
        rounds = (1, MOST_ROUNDS)
        bounds = {"generations": rounds, "finalists_seeds": rounds, "tasks_per_generation": (0, len(self.tasks))}
        for name, (least, most) in bounds.items():
            if not least <= getattr(self, name) <= most:
                what = " (all) to {}, the number of tasks" if least == 0 else " to {}"
                raise ConfigError(f"got {name}={getattr(self, name)}, expected {least}{what.format(most)}")
        if not 0 < self.race <= 1:
            raise ConfigError(f"got race={self.race}, expected a share in (0, 1], 1 for no race")
        if not 0 <= self.ahead <= self.population or (self.ahead and self.race < 1):
            raise ConfigError(
                f"got ahead={self.ahead} with population={self.population} and race={self.race}, expected 0 to the "
                "population, and no race: a race does not know early who runs in it"
            )
        self.strategy()  # complains about its part

    @property
    def jobs_per_generation(self) -> int:
        """Return how many networks are trained in a generation, unless some candidates are rejected or raced away."""
        return (self.population + len(self.rivals)) * (self.tasks_per_generation or len(self.tasks))

    @property
    def scored_split(self) -> str:
        """Return the split of a result that scores a candidate."""
        return FITNESS_ON[self.fitness_on]

    def strategy(self, store: Store | None = None) -> Strategy:
        """Return CMA-ES at its start, which keeps what it answers in the store."""
        start, adapt = self.space.start(self.start), self.population * self.generations >= LEARNING_RATE_ADAPTATION_FROM
        return Strategy(start, self.sigma, self.population, self.seed, adapt, store, self.ahead)

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types."""
        return {**plain(self), "rivals": [rival.label for rival in self.rivals]}
