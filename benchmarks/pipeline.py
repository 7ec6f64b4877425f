"""Ahead: what a search loses at the ends of its generations, what early candidates win back, and what they cost."""

from __future__ import annotations

import heapq
import statistics
from collections import deque
from collections.abc import Sequence
from itertools import product

import numpy as np

from autorobustloss.data import DataSpec
from autorobustloss.runs import Task
from autorobustloss.runs.executors import Executor
from autorobustloss.search.config import SearchConfig
from autorobustloss.search.search import run_search
from autorobustloss.search.space import Space
from autorobustloss.training import create_protocol
from benchmarks.costs import fresh_store, pool
from benchmarks.settings import Settings
from benchmarks.table import Table, percent

WORKERS = 32
POPULATIONS = (10, 16, 32, 100)
KINDS = (0.6, 1.0, 1.4)
"""Seconds of a candidate's jobs, on three networks, in units of their mean."""
SHARES = (0.0, 0.25, 0.5, 1.0)
"""Of a generation, the candidates that are drawn early."""


def measure(settings: Settings) -> list[Table]:
    """Simulate generations on many workers, and run searches whose generations overlap."""
    settings.log("ahead: searches with candidates drawn early")
    return [_waiting(settings), _quality(settings)]


def search_seconds(times: Sequence[Sequence[Sequence[float]]], workers: int, ahead: int) -> float:
    """Return when a search ends whose jobs cost nothing but their seconds.

    times: of the jobs of each candidate of each generation. A generation's candidates are known when the one before
    it has ended, `ahead` of them a generation earlier; jobs of the present generation go first, longest first.

    >>> search_seconds([[[3.0], [1.0]], [[3.0], [1.0]]], workers=2, ahead=0)
    6.0
    >>> search_seconds([[[3.0], [1.0]], [[3.0], [1.0]]], workers=2, ahead=1)
    4.0
    """
    clock, running = 0.0, list[tuple[float, int]]()
    waiting = [deque(_longest_first(generation[:ahead])) for generation in times]
    left = [sum(map(len, generation)) for generation in times]
    for number, generation in enumerate(times):
        waiting[number] = deque(_longest_first([waiting[number], *generation[ahead:]]))
        while left[number]:
            for ready in waiting[number : number + 2]:  # of the next one, those that were drawn early
                while ready and len(running) < workers:
                    owner = number if ready is waiting[number] else number + 1
                    heapq.heappush(running, (clock + ready.popleft(), owner))
            clock, owner = heapq.heappop(running)
            left[owner] -= 1
    return clock


def _longest_first(jobs: Sequence[Sequence[float]]) -> list[float]:
    return sorted((seconds for candidate in jobs for seconds in candidate), reverse=True)


def _waiting(settings: Settings) -> Table:
    generations = 4 if settings.quick else 20
    rows, data = [], {}
    for population, spread in product(POPULATIONS, (0.1, 0.5)):
        draw, shape = np.random.default_rng(0), 1 / spread**2
        times = np.array(KINDS) * draw.gamma(shape, 1 / shape, (generations, population, len(KINDS)))
        best = times.sum() / WORKERS
        lost = [1 - best / search_seconds(times.tolist(), WORKERS, round(s * population)) for s in SHARES]
        rows.append([str(population), percent(spread), *map(percent, lost)])
        data[f"{population}, {spread}"] = dict(zip(SHARES, lost))
    notes = [
        f"{WORKERS} workers, {generations} generations; a candidate is {len(KINDS)} jobs, whose means are as "
        f"{' : '.join(map(str, KINDS))}; lost: share of the workers' time in which they wait for a generation to end",
        "spread: coefficient of variation of a job's time around its kind's mean (networks that diverge stop early, "
        "nodes differ); simulated (`benchmarks/pipeline.py`), no time is measured",
    ]
    columns = ["population", "spread", *(f"lost at ahead = {s:g} × population" for s in SHARES)]
    return Table("Ahead: time lost at the ends of generations (simulated)", columns, rows, notes, data)


def _quality(settings: Settings) -> Table:
    population, generations, seeds = (4, 2, 1) if settings.quick else (10, 14, 12)
    protocol = create_protocol("digits", epochs=1 if settings.quick else 8)
    data = DataSpec("digits", 400, 200, 100)
    tasks = tuple(Task(data, noise, "mlp2", protocol) for noise in ("sym:0.6", "pair:0.4"))
    scores: dict[float, list[tuple[float, float]]] = {share: [] for share in SHARES}
    with pool(settings, {"digits": settings.digits}, settings.workers) as executor:
        for seed, share in product(range(seeds), SHARES):
            config = SearchConfig(
                tasks,
                Space("canonical+log"),
                population=population,
                generations=generations,
                seed=seed,
                ahead=round(share * population),
                finalists_seeds=6,
            )
            scores[share].append(_scores(config, executor))
    rows, plain = [], scores[0.0]
    for share, found in scores.items():
        cells = [f"{statistics.mean(values):.3f}" for values in zip(*found)]
        gaps = [_gap([b[i] - a[i] for a, b in zip(plain, found)]) if share else "" for i in range(2)]
        rows.append([f"{share:g}", cells[0], gaps[0], cells[1], gaps[1]])
    notes = [
        f"searches of {generations} generations of {population} on the digits (mlp2, sym:0.6 and pair:0.4), "
        f"{seeds} seeds; accuracy on clean validation data",
        "found: the learned loss, on fresh noise; on the way: mean over generations of the candidates' mean; "
        "differences from ahead = 0 at equal generations, by seed, ± standard error",
    ]
    columns = ["ahead, of the population", "found", "difference", "on the way", "difference "]
    return Table("Ahead: what early candidates cost", columns, rows, notes, {str(k): v for k, v in scores.items()})


def _scores(config: SearchConfig, executor: Executor) -> tuple[float, float]:
    with fresh_store() as store:
        outcome = run_search(config, {"digits": 10}, store, executor)
    return outcome.winner.accuracy or 0.0, statistics.mean(g.mean for g in outcome.generations)


def _gap(gaps: Sequence[float]) -> str:
    error = statistics.stdev(gaps) / len(gaps) ** 0.5 if len(gaps) > 1 else 0.0
    return f"{statistics.mean(gaps):+.3f} ± {error:.3f}"
