"""Scale: what more workers would give, from a simulation that one and two real workers check."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from autorobustloss.runs import Job, Result, run_jobs
from autorobustloss.runs.executors import Executor
from benchmarks.costs import digit_jobs, fresh_store, measure_costs, pool
from benchmarks.settings import Settings
from benchmarks.simulation import Costs, generation, makespan, saturation
from benchmarks.table import Table, percent, times
from benchmarks.timing import Spread

WORKERS = (2, 8, 32, 128, 512)
POPULATIONS = (10, 100, 1000)
LONG = 20
"""How many times longer than those measured jobs of the paper's size are: thousands of images, tens of epochs."""


def measure(settings: Settings) -> list[Table]:
    """Measure jobs and costs, check the simulation against real runs, and go on where there are no more cores."""
    settings.log("scale: jobs that train nothing")
    costs = measure_costs(settings)
    settings.log("scale: a generation with one worker and with all")
    kinds, check = _validation(settings, costs)
    return [check, _table(kinds, costs)]


def _validation(settings: Settings, costs: Costs) -> tuple[list[float], Table]:
    counts = sorted({1, 1 if settings.quick else settings.workers})
    population, rounds = (2, 1) if settings.quick else (4, 2)
    measured: dict[int, list[tuple[float, list[tuple[Job, Result]]]]] = {w: [] for w in counts}
    with ExitStack() as stack:
        pools = {w: stack.enter_context(pool(settings, {"digits": settings.digits}, w)) for w in counts}
        for workers, executor in pools.items():
            _run(executor, digit_jobs(settings, max(1, workers - 1), seed=-1))
        for round_ in range(rounds):
            for workers, executor in pools.items():
                measured[workers].append(_run(executor, digit_jobs(settings, population, seed=round_)))
    rows, data = [], dict[str, Any]()
    for workers in counts:
        accuracy, own = [], []
        for (_, alone), (elapsed, batch) in zip(measured[1], measured[workers]):
            accuracy.append(elapsed / makespan(_seconds(alone), workers, costs))
            own.append(elapsed / makespan(_seconds(batch), workers, costs))
        speed = Spread.of([one / many for (one, _), (many, _) in zip(measured[1], measured[workers])])
        rows.append([str(workers), times(speed), times(Spread.of(accuracy)), times(Spread.of(own))])
        data[str(workers)] = {"measured_to_predicted": accuracy, "with_own_times": own}
    kinds: dict[str, list[float]] = defaultdict(list)
    for job, result in measured[1][0][1]:
        kinds[job.task.model].append(result.wall_time)
    means = [statistics.mean(v) for v in kinds.values()]
    notes = [
        f"a generation of {population} candidates × {len(means)} networks on the digits, {rounds} rounds",
        "from one worker's times: what cores take from each other is not in the model; from its own: the model alone",
    ]
    columns = ["workers", "speed-up measured", "measured ÷ predicted from one worker's times", "… from its own times"]
    return means, Table("Scale: the simulation against real runs", columns, rows, notes, data)


def _run(executor: Executor, jobs: list[Job]) -> tuple[float, list[tuple[Job, Result]]]:
    with fresh_store() as store:
        start = time.perf_counter()
        results = run_jobs(jobs, store, executor)
        return time.perf_counter() - start, list(zip(jobs, results))


def _seconds(batch: Sequence[tuple[Job, Result]]) -> list[float]:
    return [result.wall_time for _, result in batch]


def _table(kinds: Sequence[float], costs: Costs) -> Table:
    mean = statistics.mean(kinds)
    rows, data = [], dict[str, Any]()
    for factor, length in ((1, "as measured"), (LONG, f"{LONG}× longer")):
        for population in POPULATIONS:
            done = {w: generation(population, [factor * k for k in kinds], w, costs) for w in WORKERS}
            cells = [f"{g.speed_up:.1f}× ({percent(g.speed_up / w)})" for w, g in done.items()]
            bound = next(iter(done.values()))
            rows.append([length, str(population), *cells, f"{bound.alone / bound.serial:.0f}×"])
            data[f"{length}, {population}"] = {w: vars(g) for w, g in done.items()}
    limits = {
        name: saturation(factor * mean, costs) for name, factor in (("as measured", 1), (f"{LONG}× longer", LONG))
    }
    notes = [
        f"a candidate is {len(kinds)} jobs of {mean:.2f} s on average (as measured, digits), times vary by 10 % around "
        "their kind's; entries: times faster than one worker (share of W); model: `benchmarks/simulation.py`",
        f"serial: {1e3 * costs.serial:.1f} ms a job ({1e3 * costs.hand_over:.1f} hand-over, {1e3 * costs.commit:.1f} "
        f"commit) and {1e3 * costs.candidate:.1f} ms a candidate (CMA-ES, screen)",
        "the parent is the limit from "
        + ", ".join(f"{limit} workers on (jobs {name})" for name, limit in limits.items())
        + "; with few candidates for each worker, waiting for a generation's last jobs is the limit before that",
    ]
    data |= {"costs": vars(costs), "saturation": limits, "kinds": list(kinds)}
    columns = ["jobs", "population", *(f"W = {w}" for w in WORKERS), "limit of the serial part"]
    return Table("Scale: a generation with W workers (simulated)", columns, rows, notes, data)
