"""What a job costs beside its training, measured: jobs that train nothing, results put in a store, the screen."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from autorobustloss.data import Dataset, DataSpec
from autorobustloss.losses import TaylorLoss
from autorobustloss.losses.analysis import screen
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs import Job, ProcessExecutor, Result, Runtime, SerialExecutor, Store, Task, run_jobs
from autorobustloss.runs.executors import Executor
from autorobustloss.runs.machine import library_versions
from autorobustloss.search.space import Space
from autorobustloss.search.strategy import Strategy
from autorobustloss.training import History, create_protocol
from benchmarks.settings import NETWORKS, Settings, candidates
from benchmarks.simulation import Costs

NOISE = "sym:0.4"


def digit_jobs(settings: Settings, count: int, seed: int = 0, networks: tuple[str, ...] = NETWORKS) -> list[Job]:
    """Return the jobs of a generation of `count` candidates on every network, on the digits, longest training first."""
    protocol = create_protocol("digits", **({"epochs": 2} if settings.quick else {}))
    tasks = [Task(DataSpec("digits", valid_size=200), NOISE, network, protocol) for network in reversed(networks)]
    methods = [MethodSpec.of("taylor", theta=theta, scale="max") for theta in candidates(count)]
    return [Job(t, m, noise_seed=0, seed=seed, evaluate=("valid_clean",)) for t in tasks for m in methods]


@contextmanager
def pool(settings: Settings, datasets: dict[str, Dataset], workers: int) -> Iterator[Executor]:
    """Yield a pool whose workers are up (in a smoke test this process, for starting some takes seconds)."""
    with (
        SerialExecutor(datasets) if settings.quick else ProcessExecutor(datasets, Runtime(workers=workers)) as executor
    ):
        yield executor


@contextmanager
def fresh_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.sqlite") as store:
        yield store


class Nothing:
    """A trainer that trains nothing, and answers at once."""

    def __call__(self, job: Job) -> Result:
        curve = [0.123456789012345 * (i + 1) / 7 for i in range(40)]
        history = History(list(range(1, 41)), valid_clean=curve, train_loss=curve, train_accuracy=curve, steps=640)
        return Result(job.key, history, 0.4, 0.5, "cpu", "host", dict(library_versions()), 1)


def measure_costs(settings: Settings) -> Costs:
    """Run many jobs of no length through one worker, and results through stores in memory and on disk."""
    count = 10 if settings.quick else 300
    base = digit_jobs(settings, 1)[0]
    jobs = [replace(base, seed=i) for i in range(count + 3)]
    with pool(settings, {"digits": settings.digits}, 1) as executor, Store(":memory:") as store:
        executor.run = Nothing()  # type: ignore[attr-defined]
        run_jobs(jobs[count:], store, executor)  # the worker is up
        start, busy = time.perf_counter(), time.process_time()
        results = run_jobs(jobs[:count], store, executor)
        whole, parent = (time.perf_counter() - start) / count, (time.process_time() - busy) / count
    return Costs(parent, commit_seconds(jobs[:count], results), max(0.0, whole - parent), _candidate(settings))


def commit_seconds(jobs: list[Job], results: list[Result]) -> float:
    """Return how much longer it takes to put a result on disk than in memory."""
    medians = []
    with fresh_store() as disk, Store(":memory:") as memory:
        for store in (disk, memory):
            times = []
            for job, result in zip(jobs, results):
                start = time.perf_counter()
                store.put(job, result)
                times.append(time.perf_counter() - start)
            medians.append(statistics.median(times))
    return max(0.0, medians[0] - medians[1])


def _candidate(settings: Settings) -> float:
    """Return the time of CMA-ES and the screen for a candidate."""
    population, space = 4 if settings.quick else 50, Space()
    strategy = Strategy(space.start("mae"), 0.5, population, 0, False)
    start = time.perf_counter()
    points = strategy.ask()
    for point in points:
        screen(TaylorLoss(**space.method(point).options), [10])
    strategy.tell(points, [float(i) for i in range(population)])
    return (time.perf_counter() - start) / population
