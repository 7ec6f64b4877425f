"""Whether networks learn as much in bfloat16 as in float32."""

from __future__ import annotations

import statistics

from autorobustloss.jobs import Job, SerialExecutor, Store, Task, evaluate
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.training.protocol import Protocol
from benchmarks.settings import NETWORKS, Settings, candidates
from benchmarks.table import Table, agreement
from benchmarks.throughput import LEARNING_RATE, NOISE, Sizes


def measure(settings: Settings) -> Table:
    """Train the same candidates from the same initial weights in both precisions, with several seeds."""
    sizes, seeds = Sizes.of(settings), 2 if settings.quick else 6
    spec = settings.spec(sizes.train, sizes.valid)
    methods = [MethodSpec.of("taylor", theta=theta, scale="max") for theta in candidates(sizes.candidates)]
    rows, data = [], {}
    with Store(":memory:") as store, SerialExecutor({settings.mnist.name: settings.mnist}) as executor:

        def accuracy(network: str, precision: str, seed: int) -> float:
            protocol = Protocol(lr=LEARNING_RATE, epochs=sizes.epochs, precision=precision)
            task = Task(spec, NOISE, network, protocol)
            jobs = [Job(task, method, noise_seed=seed, seed=seed, evaluate=("valid_clean",)) for method in methods]
            return statistics.mean(r.history.last("valid_clean") for r in evaluate(jobs, store, executor))

        for network in NETWORKS:
            settings.log(f"inner loop: {network}, float32 and bfloat16")
            pairs = [tuple(accuracy(network, p, seed) for p in ("float32", "bfloat16")) for seed in range(seeds)]
            rows.append([network, *agreement(pairs)])
            data[network] = pairs
    notes = [
        f"{settings.data_note}, {sizes.train} training images, {NOISE}, {sizes.epochs} epochs, {len(methods)} Taylor "
        f"candidates, {seeds} seeds; difference ± standard error over seeds",
    ]
    return Table(
        "Inner loop, bfloat16: accuracy", ["network", "float32", "bfloat16", "equal within noise"], rows, notes, data
    )
