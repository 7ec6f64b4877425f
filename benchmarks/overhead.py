"""Overhead: what of a search's time is not training, and whether workers keep their memory."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs import Job, Result, Task, run_jobs
from autorobustloss.runs.executors import Executor
from autorobustloss.search.config import SearchConfig
from autorobustloss.search.search import Reporter, run_search
from autorobustloss.training.protocol import TrainingProtocol
from benchmarks.costs import NOISE, digit_jobs, fresh_store, measure_costs, pool
from benchmarks.settings import Settings
from benchmarks.simulation import makespan
from benchmarks.table import Table, percent, verdict

TARGET = 0.03


def measure(settings: Settings) -> list[Table]:
    """Run a short search and a long row of small jobs."""
    return [_search(settings), _memory(settings)]


@dataclass
class Batches(Reporter):
    """Keeps the results of each batch of jobs: of a generation, or of the finalists."""

    batches: list[list[tuple[Job, Result]]] = field(default_factory=list)

    def on_generation_start(self, number: int, jobs: int, rejected: int) -> None:
        self.batches.append([])

    def on_finalists(self, jobs: int) -> None:
        self.batches.append([])

    def on_result(self, job: Job, result: Result, cached: bool) -> None:
        self.batches[-1].append((job, result))


def _search(settings: Settings) -> Table:
    workers = 1 if settings.quick else settings.workers
    warm_up = digit_jobs(settings, 2, seed=-1)
    tasks = tuple(dict.fromkeys(job.task for job in warm_up))
    shape = (4, 1) if settings.quick else (8, 2)
    config = SearchConfig(tasks, population=shape[0], generations=shape[1], finalists_seeds=1)
    settings.log("overhead: a search on the digits")
    with pool(settings, {"digits": settings.digits}, workers) as executor, fresh_store() as store:
        run_jobs(warm_up, store, executor)
        reporter, start, busy = Batches(), time.perf_counter(), time.process_time()
        run_search(config, {"digits": 10}, store, executor, reporter)
        elapsed, parent = time.perf_counter() - start, time.process_time() - busy
    seconds = [result.wall_time for batch in reporter.batches for _, result in batch]
    cores = workers * elapsed
    training = sum(seconds)
    at_best = workers * sum(makespan(_order(batch), workers) for batch in reporter.batches)
    rest = (cores - at_best) / cores
    settings.log("overhead: jobs that train nothing")
    costs = measure_costs(settings)
    mean = statistics.mean(seconds)
    rows = [
        ["training (the jobs' wall time)", percent(training / cores)],
        ["idle at the ends of generations", percent((at_best - training) / cores)],
        ["store, pool, splits, CMA-ES, screen: all else", percent(rest)],
        ["the parent's processor time, which is part of it", percent(parent / cores) if workers > 1 else ""],
        ["a job that trains nothing, of a mean job", percent((costs.serial + costs.turn) / mean)],
        ["… its commit to the disk, during which workers train", percent(costs.commit / mean)],
    ]
    notes = [
        f"{len(seconds)} jobs of {mean:.2f} s (digits, {', '.join(t.model for t in tasks)}), {workers} workers, "
        f"{len(reporter.batches)} batches that end together; the pool is warm",
        "idle: what list scheduling of the measured times leaves (the last jobs of a generation do not end together)",
        verdict(f"store + pool + bookkeeping < {percent(TARGET)}", rest < TARGET, percent(rest)),
    ]
    data: dict[str, Any] = {
        "shares": {"training": training / cores, "idle": (at_best - training) / cores, "rest": rest}
    }
    data |= {"mean_job": mean, "costs": vars(costs)}
    return Table("Overhead: where the cores' time goes in a search", ["what", "share"], rows, notes, data)


def _order(batch: Sequence[tuple[Job, Result]]) -> list[float]:
    """Return the times of a batch in the order in which the pool starts its jobs: the longest kinds first."""
    kinds: dict[Task, list[float]] = defaultdict(list)
    for job, result in batch:
        kinds[job.task].append(result.wall_time)
    return [t for times in sorted(kinds.values(), key=statistics.mean, reverse=True) for t in times]


def _memory(settings: Settings) -> Table:
    count = 12 if settings.quick else 240
    rows, data = [], {}
    settings.log("overhead: peak memory")
    for what, every in (("the same noise throughout", count), ("a new noise draw every 10 jobs, as a search", 10)):
        with pool(settings, {settings.mnist.name: settings.mnist}, 1) as executor:
            peaks = _peaks(settings, executor, count, every)
        first, early, last = peaks[0], peaks[min(50, count // 4)], peaks[-1]
        grown = last / early - 1
        rows.append([what, f"{first >> 20} MiB", f"{early / first:.2f}×", f"{last / first:.2f}×", percent(grown)])
        data[what] = {"first": first, "after_50": early, "last": last}
    notes = [
        f"{count} jobs on one worker, {settings.data_note}; a worker keeps the splits of up to 1 GiB of noise draws, "
        "so its memory grows until that is full"
    ]
    columns = ["peak memory of a worker", "first job", "after 50", f"after {count}", "growth after 50"]
    return Table("Overhead: memory over a long run", columns, rows, notes, data)


def _peaks(settings: Settings, executor: Executor, count: int, every: int) -> list[int]:
    task = Task(settings.spec(2000 if not settings.quick else 200, 400 if not settings.quick else 50), NOISE, "linear")
    task = replace(task, protocol=TrainingProtocol(epochs=1))
    jobs = [Job(task, MethodSpec("ce"), noise_seed=i // every, seed=i, evaluate=("valid_clean",)) for i in range(count)]
    with fresh_store() as store:
        return [result.peak_memory for result in run_jobs(jobs, store, executor)]
