"""Whether networks learn as much by the faster arithmetic: the compiled loss and flushed denormals, and bfloat16."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs import Job, Runtime, SerialExecutor, Store, Task, run_jobs
from autorobustloss.training.protocol import TrainingProtocol
from benchmarks.settings import NETWORKS, Settings, candidates
from benchmarks.table import Table, agreement
from benchmarks.throughput import LEARNING_RATE, NOISE, Sizes


def measure(settings: Settings, bfloat16: bool) -> Table:
    """Train the same candidates from the same initial weights in each way, with several seeds."""
    sizes, seeds = Sizes.of(settings), 2 if settings.quick else 6
    exact, default = trainer(settings, sizes, exact=True), trainer(settings, sizes)
    ways = {"default": lambda network, seed: default(network, "float32", seed)}
    if bfloat16:
        ways["bfloat16"] = lambda network, seed: default(network, "bfloat16", seed)
    rows, data = [], {}
    for network in NETWORKS:
        settings.log(f"inner loop: what {network} learns")
        yardstick = [exact(network, "float32", seed) for seed in range(seeds)]
        rows.append([network, f"{statistics.mean(yardstick):.3f}"])
        data[network] = {"exact": yardstick}
        for name, way in ways.items():
            data[network][name] = [way(network, seed) for seed in range(seeds)]
            rows[-1] += agreement(list(zip(yardstick, data[network][name])))[1:]
    notes = [
        f"{settings.data_note}, {sizes.train} training images, {NOISE}, {sizes.epochs} epochs, "
        f"{sizes.candidates} Taylor candidates, {seeds} seeds; difference from --exact ± standard error over seeds",
        "default: the compiled loss, and denormal numbers taken for 0; bfloat16: these, and the network in bfloat16",
    ]
    columns = ["network", "float32, --exact", *(c for name in ways for c in (name, "equal within noise"))]
    return Table("Inner loop: what is learnt", columns, rows, notes, data)


def trainer(settings: Settings, sizes: Sizes, exact: bool = False) -> Callable[[str, str, int], float]:
    """Return what trains every candidate on a network, in a precision, with a seed, and tells the mean accuracy."""
    spec = settings.spec(sizes.train, sizes.valid)
    methods = [MethodSpec.of("taylor", theta=theta, scale="max") for theta in candidates(sizes.candidates)]
    executor = SerialExecutor({settings.mnist.name: settings.mnist}, Runtime(exact=exact))

    def accuracy(network: str, precision: str, seed: int) -> float:
        task = Task(spec, NOISE, network, TrainingProtocol(lr=LEARNING_RATE, epochs=sizes.epochs, precision=precision))
        jobs = [Job(task, method, noise_seed=seed, seed=seed, evaluate=("valid_clean",)) for method in methods]
        with Store(":memory:") as store:
            return statistics.mean(r.history.last("valid_clean") for r in run_jobs(jobs, store, executor))

    return accuracy
