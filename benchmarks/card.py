"""Cohorts on a GPU, beside networks trained one by one there, by one process or by several, and on the CPU."""

from __future__ import annotations

import time

import torch

from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs import Job, ProcessExecutor, Runtime, SerialExecutor, Task
from autorobustloss.runs.executors import Executor
from autorobustloss.training.protocol import TrainingProtocol
from benchmarks.settings import Settings, candidates
from benchmarks.table import Table
from benchmarks.timing import Spread

NETWORKS = ("mlp2", "cnn4")
SHARING = (4, 12)
"""How many processes share the GPU."""


def measure(settings: Settings) -> list[Table]:
    """Train a generation's candidates in every way; nothing without a GPU."""
    if not (torch.cuda.is_available() or settings.quick):
        settings.log("card: no GPU, left out")
        return []
    return [_table(settings, "cuda" if torch.cuda.is_available() else "cpu")]


def _table(settings: Settings, device: str) -> Table:
    count, epochs, rounds = (2, 1, 1) if settings.quick else (24, 5, 3)
    spec = settings.spec(*((256, 50) if settings.quick else (2000, 400)))
    losses = [MethodSpec.of("taylor", theta=theta, scale="max") for theta in candidates(count)]

    def jobs(network: str, seed: int) -> list[Job]:
        task = Task(spec, "sym:0.4", network, TrainingProtocol(lr=0.05, epochs=epochs))
        return [Job(task, method, seed=seed, evaluate=("valid_clean",)) for method in losses]

    data = {settings.mnist.name: settings.mnist}
    sharing = () if settings.quick else SHARING
    ways: dict[str, Executor] = {
        "a cohort": SerialExecutor(data, Runtime(device, cohorts=True)),
        "one by one": SerialExecutor(data, Runtime(device)),
        **{f"{n} processes share the GPU": ProcessExecutor(data, Runtime(device, n)) for n in sharing},
        f"the CPU, {settings.workers} processes": ProcessExecutor(data, Runtime(workers=settings.workers)),
    }
    first: dict[tuple[str, str], float] = {}
    later: dict[tuple[str, str], Spread] = {}
    for way, executor in ways.items():
        with executor:
            for network in NETWORKS:
                seconds = [_seconds(executor, jobs(network, seed)) for seed in range(rounds + 1)]
                first[way, network], later[way, network] = seconds[0], Spread.of(seconds[1:])
    rows = [[way, *(_cell(first[way, n], later[way, n], later["a cohort", n]) for n in NETWORKS)] for way in ways]
    return Table(
        f"Cohorts on a GPU: seconds for {count} networks, {epochs} epochs of {spec.train_size} images",
        ["way", *NETWORKS],
        rows,
        ["in brackets: how many times a cohort's seconds; then the first generation, which traces or starts processes"],
        {f"{way}, {n}": spread.median for (way, n), spread in later.items()},
    )


def _seconds(executor: Executor, jobs: list[Job]) -> float:
    start = time.perf_counter()
    for _ in executor.map(jobs):
        pass
    return time.perf_counter() - start


def _cell(first: float, later: Spread, cohort: Spread) -> str:
    return f"{later.median:.2f} ({later.median / cohort.median:.1f}×); first {first:.1f}"
