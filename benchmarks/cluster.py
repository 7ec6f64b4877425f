"""Ray: the same jobs on a cluster of this machine's cores, against the pool; what a job costs there; more workers."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autorobustloss.runs import Job, ProcessExecutor, RayExecutor, Result, Runtime, Store, run_jobs
from autorobustloss.runs.cohort import Unit
from autorobustloss.runs.executors import Executor
from benchmarks.costs import Nothing, commit_seconds, digit_jobs, fresh_store
from benchmarks.pipeline import KINDS, search_seconds
from benchmarks.settings import Settings
from benchmarks.simulation import Costs, generation, saturation
from benchmarks.table import Table, percent, times, verdict
from benchmarks.timing import Spread

LENGTHS = (0.002, 0.02, 0.2, 1.0)
WORKERS = (10, 100, 1000)
SIMULATED = {"0.2 s": 0.2, "4 s": 4.0, "1 min": 60.0, "15 min": 900.0}
"""Lengths of jobs: the digits, MNIST, small and CIFAR-scale networks."""
TRAININGS, GENERATIONS, SPREAD, PLANNED = 10_000, 33, 0.2, (10, 50, 100, 300, 600)
ONE_NODE, GAIN, OVERHEAD = 0.95, 1.85, 0.05


@dataclass(frozen=True)
class Sleeper:
    """A trainer that sleeps for the job's `seconds`, and so leaves the cores to what is measured."""

    seconds: float

    def __call__(self, unit: Unit) -> list[Result]:
        time.sleep(self.seconds)
        return [replace(Nothing()(job), wall_time=self.seconds) for job in unit]


def measure(settings: Settings) -> Iterator[Table]:
    """Measure, where Ray is installed; nothing elsewhere."""
    try:
        import ray  # noqa: F401
    except ImportError:
        settings.log("ray: not installed (pip install 'autorobustloss[ray]'), left out")
        return
    # Workers as nice as the pool's; Ray's own are at 15.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
    with cluster(1 if settings.quick else settings.workers) as address:
        yield _throughput(settings, address)
        yield _overhead(settings, address)
        yield _simulated(_costs(settings, address))
    yield plan()


@contextmanager
def cluster(*cores: int) -> Iterator[str]:
    """Yield the address of a cluster whose nodes have these cores."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": cores[0], "include_dashboard": False})
    try:
        for count in cores[1:]:
            made.add_node(num_cpus=count)
        yield made.address
    finally:
        made.shutdown()


def _throughput(settings: Settings, many: str) -> Table:
    """Time the same jobs in turns: by the pool and one worker of it, on one node, on one core, on two nodes of one."""
    data, workers = {"digits": settings.digits}, 1 if settings.quick else settings.workers
    population, rounds = (1, 1) if settings.quick else (64, 3)
    seconds: dict[str, list[float]] = {}
    settings.log("ray: throughput")
    with ExitStack() as stack:
        one, two = (many if settings.quick else stack.enter_context(cluster(*cores)) for cores in ((1,), (1, 1)))
        ways: dict[str, Callable[[], Executor]] = {
            "pool": lambda: ProcessExecutor(data, Runtime(workers=workers)),
            "pool of one": lambda: ProcessExecutor(data, Runtime(workers=1)),
            "one node": lambda: RayExecutor(data, address=many),
            "one core": lambda: RayExecutor(data, address=one),
            "two nodes": lambda: RayExecutor(data, address=two),
        }
        for seed, (way, executor) in itertools.product(range(rounds), ways.items()):
            with executor() as started, fresh_store() as store:
                run_jobs(digit_jobs(settings, 2, seed=-1), store, started)  # all workers are up
                jobs = digit_jobs(settings, population, seed=seed)
                seconds.setdefault(way, []).append(_seconds(jobs, store, started))
                if isinstance(started, RayExecutor):
                    started.use(Sleeper(0.2))
                    run_jobs([replace(job, seed=-2) for job in jobs[: 4 * workers]], store, started)
                    jobs = [replace(job, seed=100 + seed) for job in jobs]
                    seconds.setdefault(f"{way}, asleep", []).append(_seconds(jobs, store, started))

    def ratio(above: str, below: str) -> Spread:
        return Spread.of([a / b for a, b in zip(seconds[above], seconds[below])])

    node, gain = ratio("pool", "one node"), ratio("one core", "two nodes")
    rows = [
        [f"one node of {workers} cores, of the pool's throughput", times(node)],
        ["two nodes of one core, of one node's of one core", times(gain)],
        ["the same, jobs that sleep 0.2 s: Ray's own part", times(ratio("one core, asleep", "two nodes, asleep"))],
        [
            f"{workers} workers of the pool, of one's: what this machine lets two cores gain",
            times(ratio("pool of one", "pool")),
        ],
    ]
    notes = [
        f"{3 * population} jobs of 3 networks on the digits, with a store on disk, {rounds} rounds in turns; all nodes "
        "are this machine, whose other load takes from two cores more than from one",
        verdict(f"one node ≥ {ONE_NODE}×", node.median >= ONE_NODE, f"{node.median:.2f}×"),
        verdict(f"two nodes ≥ {GAIN}×", gain.median >= GAIN, f"{gain.median:.2f}×"),
    ]
    return Table("Ray: throughput", ["jobs per second", "ratio"], rows, notes, seconds)


def _seconds(jobs: list[Job], store: Store, executor: Executor) -> float:
    start = time.perf_counter()
    run_jobs(jobs, store, executor)
    return time.perf_counter() - start


def _overhead(settings: Settings, address: str) -> Table:
    """Run jobs that sleep: what they take of a worker beside their sleep."""
    rows, shares, workers = [], dict[str, float](), 1 if settings.quick else settings.workers
    with RayExecutor({}, address=address) as executor, Store(":memory:") as store:
        for length in LENGTHS[:1] if settings.quick else LENGTHS:
            settings.log(f"ray: jobs of {length} s")
            count = 20 if settings.quick else max(40, min(1000, round(8 / length)))
            jobs = [replace(digit_jobs(settings, 1)[0], seed=round(1e7 * length) + i) for i in range(count + 20)]
            executor.use(Sleeper(length))
            run_jobs(jobs[count:], store, executor)
            taken = workers * _seconds(jobs[:count], store, executor) / count
            shares[f"{length}"] = 1 - length / taken
            rows.append([f"{length:g} s", f"{1e3 * (taken - length):.2f} ms", percent(1 - length / taken)])
    notes = [
        f"{workers} workers on one node; jobs sleep, so that only what is beside them takes a core; store in memory"
    ]
    if "0.2" in shares:
        met = shares["0.2"] < OVERHEAD
        notes.append(verdict(f"overhead < {percent(OVERHEAD)} at 0.2 s", met, percent(shares["0.2"])))
    return Table("Ray: overhead by length of job", ["job", "beside it, a job", "share"], rows, notes, shares)


def _unlike(settings: Settings, count: int) -> list[Job]:
    """Return jobs of which nothing tells how long each takes, so that each goes alone."""
    base = digit_jobs(settings, 1)[0]
    tasks = [replace(base.task, protocol=replace(base.task.protocol, lr=0.1 + i / 1e6)) for i in range(count)]
    return [replace(base, task=task) for task in tasks]


def _costs(settings: Settings, address: str) -> Costs:
    """Return what a job costs that travels alone, as long ones do: the driver's time, the disk's, the worker's."""
    settings.log("ray: jobs that train nothing")
    count = 20 if settings.quick else 600
    jobs = _unlike(settings, count + 20)
    workers = 1 if settings.quick else settings.workers
    with RayExecutor({}, address=address) as executor, Store(":memory:") as store:
        executor.use(Sleeper(0.0))
        run_jobs(jobs[count:], store, executor)
        start, busy = time.perf_counter(), time.process_time()
        results = run_jobs(jobs[:count], store, executor)
        whole, driver = (time.perf_counter() - start) / count, (time.process_time() - busy) / count
    return Costs(driver, commit_seconds(jobs[:count], results), max(0.0, workers * whole - driver))


def _simulated(costs: Costs) -> Table:
    rows, data = [], dict[str, Any]()
    for name, mean in SIMULATED.items():
        kinds = [mean * share for share in KINDS]
        cells = []
        for workers in WORKERS:
            done = generation(max(10, workers), kinds, workers, costs)
            cells.append(f"{done.speed_up:.0f}× ({percent(done.speed_up / workers)})")
            data[f"{name}, {workers}"] = vars(done)
        rows.append([name, *cells, f"{saturation(mean, costs):,}"])
    limit = statistics.mean(KINDS) / costs.serial
    notes = [
        "a generation of as many candidates as workers, each three jobs, as in the table of scale; entries: times "
        "faster than one worker (share of W); model: `benchmarks/simulation.py`",
        f"the driver: {1e3 * costs.hand_over:.2f} ms of processor time a job, {1e3 * costs.commit:.2f} ms a commit to "
        f"the disk; a worker: {1e3 * costs.turn:.2f} ms a job; each job in a message of its own, as jobs above 0.25 s "
        "travel",
        f"so the driver keeps up with {limit:.0f} jobs a second; of its time a job the commit is "
        f"{percent(costs.commit / costs.serial)}",
    ]
    columns = ["job", *(f"W = {w:,}" for w in WORKERS), "workers at which the driver is the limit"]
    return Table("Ray: many workers (simulated)", columns, rows, notes, {**data, "costs": vars(costs)})


def plan() -> Table:
    """Return how long a search of 10,000 trainings takes, and how many hours of workers are paid for."""
    rows, data, shape, population = [], dict[str, float](), 1 / SPREAD**2, TRAININGS // GENERATIONS // len(KINDS)
    draw = np.random.default_rng(0)
    times_ = (np.array(KINDS) * draw.gamma(shape, 1 / shape, (GENERATIONS, population, len(KINDS)))).tolist()
    for workers, share in itertools.product(PLANNED, (0, 1)):
        lasts = search_seconds(times_, workers, share * population)
        data[f"{workers}, {share}"] = lasts
        hours = [lasts * minutes / 60 for minutes in (1, 15)]
        rows.append([f"{workers:,}", "all" if share else "none", *(f"{h:,.1f} h" for h in hours)])
        rows[-1] += [f"{hours[1] * workers:,.0f} h", percent(1 - sum(np.ravel(times_)) / workers / lasts)]
    notes = [
        f"{GENERATIONS} generations of {population} candidates on {len(KINDS)} networks, whose trainings' means are as "
        f"{' : '.join(map(str, KINDS))}, times vary by {percent(SPREAD)}; hours are proportional to the "
        "minutes of a training on one worker, money is worker-hours × the price of one; simulated, no time is measured",
        f"a generation is {population * len(KINDS)} trainings: more workers than that have nothing to do unless the "
        "next one's are drawn early (--ahead)",
    ]
    columns = ["workers", "drawn early", "trainings of 1 min", "of 15 min", "worker-hours paid, 15 min", "of them idle"]
    return Table("Ray: a search of 10,000 trainings (simulated)", columns, rows, notes, data)
