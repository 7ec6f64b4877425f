"""The settings of a search that are plain values: what they are called, their defaults, and what they mean."""

from dataclasses import dataclass, field
from typing import Any, Literal


def setting(default: Any, text: str, **metadata: Any) -> Any:
    """Return the field of a setting: its default, and what `arl search --help` says of it."""
    return field(default=default, metadata={"help": text, **metadata})


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How candidates are proposed (CMA-ES) and scored; `SearchConfig` inherits these, `arl search` has a flag of each.

    population, generations, sigma: see `Strategy`. tasks_per_generation: a seeded sample of so many of the tasks.
    race: share of the candidates on one task that goes on to the next, in the order of the tasks; 1 for no race. The
        others are decided: they rank behind. So list cheap tasks first.
    fitness: "accuracy" (the paper's), "odds" or "rank".
    fitness_on: the validation labels that score a network, "clean" (the paper's) or "noisy": for data of which nobody
        knows the right labels. Noise of a kind that a network cannot guess costs all candidates alike.
    finalists_seeds: fresh noise draws and initial weights on which the distribution's mean and the best candidate
        are scored again at the end; the better one is the learned loss.
    """

    population: int = setting(10, "candidates of a generation")
    generations: int = setting(6, "CMA-ES generations")
    sigma: float = setting(0.5, "step size of the first generation")
    fitness: Literal["accuracy", "odds", "rank"] = setting(
        "accuracy", "mean over tasks of the accuracy, of its log odds, or of the rank"
    )
    fitness_on: Literal["clean", "noisy"] = setting(
        "clean",
        "the validation labels that score a candidate: clean, or noisy where nobody knows the right ones",
        added=True,
    )
    tasks_per_generation: int = setting(0, "train on a seeded sample of so many tasks each generation, 0 for all")
    race: float = setting(
        1.0,
        "train task after task, in the order given, and let only this share of the candidates, the best so far, go on "
        "to the next; 1 for no race",
    )
    finalists_seeds: int = setting(2, "fresh noise draws on which the finalists are scored again")
