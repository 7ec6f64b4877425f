"""Algorithm 1 of the paper: CMA-ES over losses, each scored by networks trained with it on noisy labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autorobustloss.errors import ConfigError
from autorobustloss.losses import create_loss
from autorobustloss.losses.analysis import screen
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs.batch import run_jobs
from autorobustloss.runs.executors import Executor
from autorobustloss.runs.job import Job, Task
from autorobustloss.runs.result import Origin, Result
from autorobustloss.runs.store import Store
from autorobustloss.search.config import SearchConfig
from autorobustloss.search.fitness import FITNESS, by_stage, mean_accuracy, score
from autorobustloss.search.replay import Remembered
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

    origin: "mean" (of the search distribution) or "best" (candidate). accuracy: mean over tasks and fresh seeds;
    None if it was rejected or diverged.
    """

    origin: str
    method: MethodSpec
    accuracy: float | None
    per_task: tuple[float, ...] = ()


@dataclass(frozen=True)
class SearchOutcome:
    """The end of a search: its history, the finalists, the better of them, and where the networks were trained."""

    generations: tuple[Generation, ...]
    finalists: tuple[Finalist, ...]
    winner: Finalist
    converged: bool
    origin: Origin


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
    and ends at the same loss, bit for bit, on another processor too (see `search.replay` for what is promised).

    Raises ConfigError when no candidate survived, WorkerError or StoreError when jobs cannot be run or kept.
    """
    reporter = reporter or Reporter()
    strategy = Remembered(config, store)
    best: tuple[float, MethodSpec] | None = None
    history: list[Generation] = []
    results: list[Result] = []
    for number in range(1, config.generations + 1):
        tasks, draws = tasks_of(config, number), generation_seeds(config.seed, number)
        points = strategy.ask()
        methods = [config.space.method(p) for p in points]
        accepted = [not _rejected(m, tasks, class_counts) for m in methods]
        field, trainable = [*methods, *config.rivals], [*accepted, *(True for _ in config.rivals)]
        expected = sum(race_sizes(trainable.count(True), len(tasks), config.race))
        reporter.on_generation_start(number, expected, accepted.count(False))
        scores, new = _race(config, field, trainable, tasks, draws, class_counts, store, executor, reporter)
        results += new
        strategy.tell(points, by_stage(scores, FITNESS[config.fitness])[: len(points)])
        scores = scores[: len(points)]
        accuracies = mean_accuracy(scores)
        for method, accuracy, scored in zip(methods, accuracies, scores):
            finished = scored is not None and len(scored) == len(tasks)
            if finished and (best is None or accuracy > best[0]):
                best = accuracy, method
        centre = config.space.method(strategy.mean)
        numbers = config.space.numbers(centre)
        generation = _generation(number, accuracies, accepted, scores, len(new), numbers)
        history.append(generation)
        reporter.on_generation(generation)
        if strategy.converged:
            break
    if best is None:
        raise _nothing_survived(config)
    candidates = {"mean": config.space.method(strategy.mean), "best": best[1]}
    finalists, new = _rescore(config, candidates, class_counts, store, executor, reporter)
    alive = [f for f in finalists if f.accuracy is not None]
    if not alive:
        raise _nothing_survived(config)
    fitness = FITNESS[config.fitness]([f.per_task for f in alive])
    winner = alive[int(np.argmax(fitness))]
    return SearchOutcome(tuple(history), finalists, winner, strategy.converged, Origin.of([*results, *new]))


def race_sizes(candidates: int, tasks: int, race: float) -> list[int]:
    """Return how many candidates train on each of a generation's tasks: of those on one, a share goes on to the next.

    >>> race_sizes(candidates=10, tasks=3, race=0.5), race_sizes(10, 3, race=1.0)
    ([10, 5, 3], [10, 10, 10])
    """
    sizes = [candidates]
    while len(sizes) < tasks:
        sizes.append(math.ceil(race * sizes[-1]))
    return sizes


def _race(
    config: SearchConfig,
    methods: Sequence[MethodSpec],
    accepted: Sequence[bool],
    tasks: Sequence[Task],
    draws: tuple[int, int],
    class_counts: Mapping[str, int],
    store: Store,
    executor: Executor,
    reporter: Reporter,
) -> tuple[list[list[float] | None], list[Result]]:
    """Return each candidate's score on the tasks it was trained on, None if rejected or diverged; and all results.

    Without a race (1.0) every candidate meets every task, all at once. Else task after task, and of the candidates on
    one only that share with the best mean so far goes on to the next.
    """
    scores: list[list[float] | None] = [[] if ok else None for ok in accepted]
    running = [i for i, ok in enumerate(accepted) if ok]
    split, race = config.scored_split, config.race
    results: list[Result] = []
    for stage in [tasks] if race == 1 else [[task] for task in tasks]:
        jobs = [
            Job(task, config.trained(methods[i], task, class_counts), SPLIT_SEED, *draws, evaluate=(split,))
            for i in running
            for task in stage
        ]
        stage_results = run_jobs(jobs, store, executor, reporter.on_result)
        results += stage_results
        left = iter(stage_results)
        for i in running:
            new = _scores([next(left) for _ in stage], split)
            scores[i] = None if new is None else [*(scores[i] or []), *new]
        alive = {i: float(np.mean(score)) for i in running if (score := scores[i]) is not None}
        running = sorted(sorted(alive, key=lambda i: -alive[i])[: math.ceil(race * len(alive))])
    return scores, results


def rescore(
    config: SearchConfig,
    candidates: Mapping[str, MethodSpec],
    class_counts: Mapping[str, int],
    store: Store,
    executor: Executor,
    reporter: Reporter | None = None,
) -> tuple[Finalist, ...]:
    """Score losses on all tasks with noise draws and initial weights that no generation has seen."""
    return _rescore(config, candidates, class_counts, store, executor, reporter or Reporter())[0]


def _rescore(
    config: SearchConfig,
    candidates: Mapping[str, MethodSpec],
    class_counts: Mapping[str, int],
    store: Store,
    executor: Executor,
    reporter: Reporter,
) -> tuple[tuple[Finalist, ...], list[Result]]:
    alive = {o: m for o, m in candidates.items() if not _rejected(m, config.tasks, class_counts)}
    draws = [generation_seeds(config.seed, -1 - i) for i in range(config.finalists_seeds)]
    jobs = [
        Job(task, method, SPLIT_SEED, noise_seed, seed, evaluate=(config.scored_split,))
        for method in alive.values()
        for task in config.tasks
        for noise_seed, seed in draws
    ]
    reporter.on_finalists(len(jobs))
    results = run_jobs(jobs, store, executor, reporter.on_result)
    left = iter(results)
    finalists = []
    for origin, method in candidates.items():
        if origin not in alive:
            finalists.append(Finalist(origin, method, None))
            continue
        scores = [_scores([next(left) for _ in draws], config.scored_split) for _ in config.tasks]
        per_task = tuple(float(np.mean(s)) for s in scores if s is not None)
        whole = len(per_task) == len(config.tasks)
        finalists.append(Finalist(origin, method, float(np.mean(per_task)) if whole else None, per_task))
    return tuple(finalists), results


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


def _rejected(method: MethodSpec, tasks: Sequence[Task], class_counts: Mapping[str, int]) -> bool:
    counts = sorted({class_counts[t.dataset.name] for t in tasks})
    return not screen(create_loss(method.name, **method.options), counts).ok


def _scores(results: Sequence[Result], split: str) -> list[float] | None:
    """Return the score of each result, or None if any network diverged."""
    scores = [score(r, split) for r in results]
    return None if any(s is None for s in scores) else [s for s in scores if s is not None]


def _generation(
    number: int,
    accuracies: Sequence[float],
    accepted: Sequence[bool],
    scores: Sequence[list[float] | None],
    trained: int,
    loss: Mapping[str, Any],
) -> Generation:
    diverged = sum(ok and s is None for ok, s in zip(accepted, scores))
    return Generation(
        number=number,
        best=max(accuracies),
        mean=float(np.mean(accuracies)),
        worst=min(accuracies),
        rejected=list(accepted).count(False),
        diverged=diverged,
        trained=trained,
        loss=loss,
    )


def _nothing_survived(config: SearchConfig) -> ConfigError:
    return ConfigError(
        f"no candidate of {config.evaluations} trained to the end: all were rejected or diverged; "
        f"try --start {config.space.default_start}, a smaller --sigma, or a lower --lr"
    )
