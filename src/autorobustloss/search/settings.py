"""The settings of a search that are plain values; their documentation is also what `arl search --help` says."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How candidates are proposed and scored: fields of `SearchConfig`, and options of `arl search`.

    Attributes:
        population: candidates of a generation
        generations: CMA-ES generations
        sigma: step size of the first generation
        fitness: mean over tasks of the accuracy (the paper's), of its log odds, or of the rank
        fitness_on: the validation labels that score a candidate: clean (the paper's), or noisy where nobody knows the
            right ones: noise of a kind that a network cannot guess costs all candidates alike
        tasks_per_generation: train on a seeded sample of so many tasks each generation, 0 for all
        race: train task after task, in the order given (so the cheap ones first), and let only this share of the
            candidates, the best so far, go on to the next, the others rank behind; 1 for no race
        ahead: so many candidates of each generation are drawn a generation early, so that the workers of a cluster
            train them where they would wait for a generation's last jobs; the outcome is as reproducible as with 0, and
            another: what it gains and costs is in docs/tutorials/cluster.md
        finalists_seeds: fresh noise draws and initial weights on which the distribution's mean and the best candidate
            are scored again; the better one is the learned loss
    """

    population: int = 10
    generations: int = 6
    sigma: float = 0.5
    fitness: Literal["accuracy", "odds", "rank"] = "accuracy"
    fitness_on: Literal["clean", "noisy"] = field(default="clean", metadata={"added": True})
    tasks_per_generation: int = 0
    race: float = 1.0
    ahead: int = field(default=0, metadata={"added": True})
    finalists_seeds: int = 2
