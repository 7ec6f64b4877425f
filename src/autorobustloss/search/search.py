"""Algorithm 1 of the paper: CMA-ES over losses, each scored by networks trained with it on noisy labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress, product
from typing import Any

import numpy as np

from autorobustloss.errors import ConfigError
from autorobustloss.losses import RobustLoss, create_loss
from autorobustloss.losses.analysis import screen
from autorobustloss.methods import MethodSpec, with_published_values
from autorobustloss.runs import Executor, Job, Result, Store, Task, run_jobs
from autorobustloss.runs.result import Origin
from autorobustloss.search.config import SearchConfig
from autorobustloss.search.fitness import FITNESS, by_stage, mean_accuracy
from autorobustloss.seeding import derive_seed, numpy_generator

SPLIT_SEED = 0
"""A search keeps one split of its data: what is held out stays held out from the first candidate to the last."""


@dataclass(frozen=True)
class Generation:
    """What one generation gave. Accuracies are means over its tasks on validation data, in [0, 1].

    loss: the numbers of the loss at the distribution's mean after it, by name.
    """

    number: int
    best: float
    mean: float
    worst: float
    rejected: int
    diverged: int
    trained: int
    loss: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the generation as plain JSON types, the numbers of the loss among the others."""
        return {**{name: value for name, value in vars(self).items() if name != "loss"}, **self.loss}


@dataclass(frozen=True)
class Finalist:
    """A loss that may be shipped, scored again on fresh noise draws and initial weights.

    origin: "mean" (of the search distribution) or "best" (candidate). per_task: mean accuracy over fresh seeds; nothing
    if it was rejected or diverged.
    """

    origin: str
    method: MethodSpec
    per_task: tuple[float, ...]

    @property
    def accuracy(self) -> float | None:
        """The mean over tasks; None if it was rejected or diverged."""
        return float(np.mean(self.per_task)) if self.per_task else None


@dataclass(frozen=True)
class SearchOutcome:
    """The end of a search: its history, the finalists, the better of them, and where the networks were trained."""

    generations: tuple[Generation, ...]
    finalists: tuple[Finalist, ...]
    winner: Finalist
    converged: bool
    origin: Origin

    @property
    def loss(self) -> RobustLoss:
        """The learned loss, ready to train with."""
        return create_loss(self.winner.method.name, **self.winner.method.options)


class Reporter:
    """Told how a search goes on; these methods do nothing, a subclass overrides what it shows."""

    def on_generation_start(self, number: int, jobs: int, rejected: int) -> None:
        """Hear that a generation of at most so many jobs begins; diverging candidates of a race make it fewer."""

    def on_result(self, job: Job, result: Result, cached: bool) -> None:
        """Hear that a job is finished, or was found in the store."""

    def on_generation(self, generation: Generation) -> None:
        """Hear what a generation gave."""

    def on_finalists(self, jobs: int) -> None:
        """Hear that the finalists are scored again."""


def run_search(
    config: SearchConfig,
    class_counts: Mapping[str, int],
    store: Store,
    executor: Executor,
    reporter: Reporter | None = None,
) -> SearchOutcome:
    """Search for a loss (Algorithm 1) and return its history and the better of its finalists.

    class_counts: number of classes of each data set of the tasks, by name, for the screen before training.
    Every finished job is in `store` at once; calling again with the same configuration and store goes on from there
    and ends at the same loss, bit for bit, on another processor too (see `search.strategy` for what is promised).

    Raises ConfigError when no candidate survived, WorkerError or StoreError when jobs cannot be run or kept.
    """
    reporter = reporter or Reporter()
    trial = _Trial(config, class_counts, store, executor, reporter)
    strategy = config.strategy(store)
    finished: list[tuple[float, MethodSpec]] = []
    history: list[Generation] = []
    for number in range(1, config.generations + 1):
        tasks, before = tasks_of(config, number), len(trial.results)
        points = strategy.ask()
        candidates = [config.space.method(point) for point in points]
        accepted = [trial.accepts(method, tasks) for method in candidates]
        entrants = [*compress(candidates, accepted), *config.rivals]
        most, rejected = sum(race_sizes(len(entrants), len(tasks), config.race)), accepted.count(False)
        reporter.on_generation_start(number, most, rejected)
        ahead = trial.next_jobs(strategy.early(), number + 1)
        raced = iter(trial.race(entrants, tasks, generation_seeds(config.seed, number), ahead))
        scores = [next(raced) if ok else None for ok in accepted]
        strategy.tell(points, by_stage([*scores, *raced], FITNESS[config.fitness])[: len(points)])
        accuracies = mean_accuracy(scores)
        finished += [(a, m) for a, m, s in zip(accuracies, candidates, scores) if s and len(s) == len(tasks)]
        mean = config.space.method(strategy.mean)
        generation = Generation(
            number=number,
            best=max(accuracies),
            mean=float(np.mean(accuracies)),
            worst=min(accuracies),
            rejected=rejected,
            diverged=scores.count(None) - rejected,
            trained=len(trial.results) - before,
            loss=config.space.numbers(mean),
        )
        history.append(generation)
        reporter.on_generation(generation)
        if strategy.converged:
            break
    best = max(finished, key=lambda scored: scored[0], default=(0.0, mean))[1]  # the first of equals
    finalists = trial.finals({"mean": mean, "best": best}) if finished else ()
    alive = [f for f in finalists if f.per_task]
    if not alive:
        raise ConfigError(
            f"no candidate of {config.population * config.generations} trained to the end: all were rejected or "
            f"diverged; try --start {config.space.default_start}, a smaller --sigma, or a lower --lr"
        )
    fitness = FITNESS[config.fitness]([f.per_task for f in alive])
    winner = alive[int(np.argmax(fitness))]
    return SearchOutcome(tuple(history), finalists, winner, strategy.converged, Origin.of(trial.results))


def race_sizes(candidates: int, tasks: int, race: float) -> list[int]:
    """Return how many candidates train on each of a generation's tasks: of those on one, a share goes on to the next.

    >>> race_sizes(candidates=10, tasks=3, race=0.5), race_sizes(10, 3, race=1.0)
    ([10, 5, 3], [10, 10, 10])
    """
    sizes = [candidates]
    while len(sizes) < tasks:
        sizes.append(math.ceil(race * sizes[-1]))
    return sizes


@dataclass(frozen=True)
class _Trial:
    """How the losses of a search are tried: by screen, by training; and the results of all that was trained."""

    config: SearchConfig
    class_counts: Mapping[str, int]
    store: Store
    executor: Executor
    reporter: Reporter
    results: list[Result] = field(default_factory=list)

    def accepts(self, method: MethodSpec, tasks: Sequence[Task]) -> bool:
        """Return whether a loss may learn at all, as far as can be told before training."""
        counts = sorted({self.class_counts[task.dataset.name] for task in tasks})
        return screen(create_loss(method.name, **method.options), counts).ok

    def jobs(self, methods: Sequence[MethodSpec], tasks: Sequence[Task], draws: Sequence[tuple[int, int]]) -> list[Job]:
        """Return a job for each method, task and draw, in this order."""
        jobs = []
        for method, task, seeds in product(methods, tasks, draws):
            if self.config.rival_values == "authors":  # a candidate has values of its own
                method = with_published_values(method, self.class_counts[task.dataset.name], task.dataset.name)
            jobs.append(Job(task, method, SPLIT_SEED, *seeds, evaluate=(self.config.scored_split,)))
        return jobs

    def next_jobs(self, points: Sequence[np.ndarray], number: int) -> list[Job]:
        """Return the jobs of candidates that were drawn early for a generation, if that is to come."""
        if not points or number > self.config.generations:
            return []
        tasks, methods = tasks_of(self.config, number), [self.config.space.method(point) for point in points]
        alive = [method for method in methods if self.accepts(method, tasks)]
        return self.jobs(alive, tasks, [generation_seeds(self.config.seed, number)])

    def train(
        self,
        methods: Sequence[MethodSpec],
        tasks: Sequence[Task],
        draws: Sequence[tuple[int, int]],
        ahead: Sequence[Job] = (),
    ) -> list[list[float] | None]:
        """Return each method's mean score over the draws on each task; None where a network diverged."""
        split, jobs = self.config.scored_split, self.jobs(methods, tasks, draws)
        results = run_jobs(jobs, self.store, self.executor, self.reporter.on_result, ahead=ahead)
        self.results.extend(results)
        accuracies = np.reshape([r.history.last(split) for r in results], (len(methods), len(tasks), len(draws)))
        return [None if np.isnan(means).any() else means.tolist() for means in accuracies.mean(axis=2)]

    def race(
        self,
        methods: Sequence[MethodSpec],
        tasks: Sequence[Task],
        draw: tuple[int, int],
        ahead: Sequence[Job] = (),
    ) -> list[list[float] | None]:
        """Return each method's score on the tasks it was trained on, None if it diverged.

        Without a race (1.0) every method meets every task, all at once. Else task after task, and of the methods on
        one only that share with the best mean so far goes on to the next.
        """
        race = self.config.race
        scores: list[list[float] | None] = [[] for _ in methods]
        running = list(range(len(methods)))
        for stage in [tasks] if race == 1 else [[task] for task in tasks]:
            for i, new in zip(running, self.train([methods[i] for i in running], stage, [draw], ahead)):
                scores[i] = None if new is None else [*(scores[i] or []), *new]
            alive = {i: float(np.mean(s)) for i in running if (s := scores[i]) is not None}
            running = sorted(sorted(alive, key=lambda i: -alive[i])[: math.ceil(race * len(alive))])
        return scores

    def finals(self, candidates: Mapping[str, MethodSpec]) -> tuple[Finalist, ...]:
        """Score losses on all tasks with fresh draws."""
        tasks = self.config.tasks
        alive = [method for method in candidates.values() if self.accepts(method, tasks)]
        draws = [generation_seeds(self.config.seed, -1 - i) for i in range(self.config.finalists_seeds)]
        self.reporter.on_finalists(len(alive) * len(tasks) * len(draws))
        scores = dict(zip(alive, self.train(alive, tasks, draws)))
        return tuple(Finalist(origin, m, tuple(scores.get(m) or ())) for origin, m in candidates.items())


def tasks_of(config: SearchConfig, generation: int) -> tuple[Task, ...]:
    """Return the tasks of a generation: all, or a sample that the search's seed and the generation decide."""
    if config.tasks_per_generation in (0, len(config.tasks)):
        return config.tasks
    draw = numpy_generator("tasks", config.seed, generation)
    chosen = draw.choice(len(config.tasks), size=config.tasks_per_generation, replace=False)
    return tuple(config.tasks[i] for i in sorted(chosen))


def generation_seeds(seed: int, generation: int) -> tuple[int, int]:
    """Return the noise seed and training seed that all candidates of a generation share.

    Common random numbers: what differs between candidates of a generation is the loss alone. Negative generations
    are the fresh draws of the finalists.
    """
    return derive_seed("generation noise", seed, generation), derive_seed("generation training", seed, generation)
