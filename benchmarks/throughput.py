"""Search throughput: candidates per hour of the process pool against those of the textbook loop."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from autorobustloss.data.splits import make_splits, split_indices
from autorobustloss.losses import TaylorLoss
from autorobustloss.losses.taylor.scale import scale_factor
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.models import build_model
from autorobustloss.runs import Job, ProcessExecutor, Runtime, SerialExecutor, Store, Task, run_jobs
from autorobustloss.runs.executors import Executor
from autorobustloss.training.protocol import TrainingProtocol
from benchmarks import textbook
from benchmarks.settings import NETWORKS, Settings, candidates, threads
from benchmarks.table import Table, agreement, times, verdict
from benchmarks.timing import Spread

NOISE = "sym:0.4"
LEARNING_RATE = 0.05
"""High enough for a few epochs to show what a network learns."""
TARGET, FLOOR = 5.0, 3.5


@dataclass(frozen=True)
class Sizes:
    train: int = 2000
    valid: int = 400
    epochs: int = 3
    candidates: int = 6
    rounds: int = 3

    @classmethod
    def of(cls, settings: Settings) -> Sizes:
        return cls(256, 50, 1, 2, 1) if settings.quick else cls()


def measure(settings: Settings) -> list[Table]:
    """Train the same candidates for the same epochs in both ways, in turns."""
    sizes, protocol = Sizes.of(settings), TrainingProtocol(lr=LEARNING_RATE, epochs=Sizes.of(settings).epochs)
    spec = settings.spec(sizes.train, sizes.valid)
    losses = candidates(sizes.candidates)
    yardstick = Yardstick(settings, sizes, losses)
    seconds: dict[str, list[float]] = {}
    scores: dict[str, list[tuple[float, float]]] = {network: [] for network in NETWORKS}

    def jobs(networks: Sequence[str], seed: int, noise_seed: int = 0, method: str = "taylor") -> list[Job]:
        methods = [MethodSpec.of(method, theta=theta, scale="max") for theta in losses]
        tasks = [Task(spec, NOISE, network, protocol) for network in networks]
        return [Job(t, m, noise_seed=noise_seed, seed=seed, evaluate=("valid_clean",)) for t in tasks for m in methods]

    with (
        tempfile.TemporaryDirectory() as folder,
        _executor(settings) as pool,
        _executor(settings, cohorts=True) as cohorts,
        _executor(settings, exact=True) as exact,
        Store(Path(folder) / "store") as store,
    ):

        def timed(name: str, networks: Sequence[str], seed: int, by: Executor = pool) -> list[float]:
            start = time.perf_counter()
            results = run_jobs(jobs(networks, seed), store, by)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
            return [r.history.last("valid_clean") for r in results]

        timed("start-up", ("mlp2",), seed=-1)  # starts the workers; each draws the splits, as once in a generation
        timed("warm-up", NETWORKS, seed=-2)
        timed("warm-up", NETWORKS, seed=-3, by=cohorts)
        timed("warm-up", NETWORKS, seed=-4, by=exact)
        for round_ in range(sizes.rounds):
            settings.log(f"textbook: round {round_ + 1} of {sizes.rounds}")
            for network in NETWORKS:
                plain = yardstick.train(network, seed=round_, seconds=seconds.setdefault(f"textbook {network}", []))
                ours = timed(network, (network,), seed=round_)  # the same initial weights
                scores[network].append((statistics.mean(plain), statistics.mean(ours)))
                alone = seconds.setdefault(f"textbook {network}, 1 thread", [])
                yardstick.train(network, seed=round_, seconds=alone, thread_count=1)
            yardstick.train("our cnn4", seed=round_, seconds=seconds.setdefault("textbook our cnn4", []))
            timed("all", NETWORKS, seed=200 + round_)
            timed("all, cohorts", NETWORKS, seed=400 + round_, by=cohorts)
            timed("all, exact", NETWORKS, seed=600 + round_, by=exact)
    return [_table(settings, sizes, seconds, scores)]


def _executor(settings: Settings, cohorts: bool = False, exact: bool = False) -> Executor:
    datasets = {settings.mnist.name: settings.mnist}
    if settings.quick:
        return SerialExecutor(datasets, Runtime(exact=exact, cohorts=cohorts))
    return ProcessExecutor(datasets, Runtime(workers=settings.workers, exact=exact, cohorts=cohorts))


class Yardstick:
    """The textbook loop on the same images, noisy labels and initial weights' distribution."""

    def __init__(self, settings: Settings, sizes: Sizes, losses: Sequence[tuple[float, ...]]) -> None:
        dataset, spec = settings.mnist, settings.spec(sizes.train, sizes.valid)
        splits = make_splits(dataset, spec, NOISE)
        train, valid, _ = split_indices(dataset, spec, 0)
        images = dataset.x_train[:, 0].numpy()
        mean, std = (images[train] / 255.0).mean(), (images[train] / 255.0).std()
        transforms: list[Callable] = [textbook.ToTensor(), textbook.Normalize([float(mean)], [float(std)])]
        self.train_set = textbook.Images(images[train], splits.y_train.numpy(), transforms)
        self.valid_set = textbook.Images(images[valid], splits.y_valid_clean.numpy(), transforms)
        self.losses, self.epochs, self.threads = losses, sizes.epochs, settings.workers

    def train(self, network: str, seed: int, seconds: list[float], thread_count: int = 0) -> list[float]:
        """Train every candidate, append how long that took, return the accuracies."""
        start = time.perf_counter()
        with threads(thread_count or self.threads):
            accuracies = [
                textbook.train(
                    initial(network, seed), criterion(t), self.train_set, self.valid_set, self.epochs, LEARNING_RATE
                )
                for t in self.losses
            ]
        seconds.append(time.perf_counter() - start)
        return accuracies


def initial(name: str, seed: int) -> nn.Module:
    """Return a network with the initial weights that ours has; "cnn4" is the textbook's, "our cnn4" ours."""
    ours = build_model(name.removeprefix("our "), (1, 28, 28), 10, seed=seed)
    return plain_cnn(ours) if name == "cnn4" else ours


def plain_cnn(ours: nn.Module) -> textbook.CNN4:
    """Return the textbook's CNN with the weights of our `cnn4` for 28x28: the same function, other layouts."""
    plain, w = textbook.CNN4(), ours.state_dict()
    weights = {
        "conv1.weight": w["body.1.weight"].view(16, 1, 5, 5),
        "conv2.weight": w["body.4.weight"].view(32, 2, 2, 16).permute(0, 3, 1, 2),
        "fc1.weight": w["body.7.weight"].view(64, 49, 32).permute(0, 2, 1).reshape(64, -1),
        "fc2.weight": w["head.weight"],
    }
    names = {"conv1": "body.1", "conv2": "body.4", "fc1": "body.7", "fc2": "head"}
    plain.load_state_dict(weights | {f"{mine}.bias": w[f"{theirs}.bias"] for mine, theirs in names.items()})
    return plain


def criterion(theta: Sequence[float]) -> textbook.Taylor:
    """Return the textbook's loss at the scale that ours has."""
    return textbook.Taylor(theta, scale_factor("max", TaylorLoss(theta).canonical(), 10))


def _table(
    settings: Settings,
    sizes: Sizes,
    seconds: dict[str, list[float]],
    scores: dict[str, list[tuple[float, float]]],
) -> Table:
    whole = [sum(parts) for parts in zip(*(seconds[f"textbook {n}"] for n in NETWORKS))]
    seconds["textbook all"] = whole
    slow = [a - b + c for a, b, c in zip(whole, seconds["textbook cnn4"], seconds["textbook our cnn4"])]
    whole_name = " + ".join(NETWORKS)
    faster = {name: _ratio(seconds[f"textbook {name}"], seconds[name]) for name in (*NETWORKS, "all")}
    faster["our cnn4"] = _ratio(seconds["textbook our cnn4"], seconds["cnn4"])
    single = [sum(parts) for parts in zip(*(seconds[f"textbook {n}, 1 thread"] for n in NETWORKS))]
    faster["all, 1 thread"] = _ratio(single, seconds["all"])
    faster["all, cohorts"] = _ratio(whole, seconds["all, cohorts"])
    faster["all, exact"] = _ratio(whole, seconds["all, exact"])
    faster["all, our cnn4"] = _ratio(slow, seconds["all"])
    agreed = {name: agreement(pairs) for name, pairs in scores.items()}
    names = {
        "all": whole_name,
        "our cnn4": "cnn4 ¹",
        "all, our cnn4": f"{whole_name} ¹",
        "all, 1 thread": f"{whole_name} ²",
        "all, cohorts": f"{whole_name} ³",
        "all, exact": f"{whole_name} ⁴",
    }
    rows = [
        [names.get(name, name), times(ratio), *agreed.get(name, ("", "", ""))[:3]] for name, ratio in faster.items()
    ]
    candidate = statistics.median(seconds["all"]) / sizes.candidates
    start_up = (seconds["start-up"][0] - statistics.median(seconds["mlp2"])) / candidate
    got = faster["all"].median
    notes = [
        f"{settings.data_note}, {sizes.train} training and {sizes.valid} validation images, {NOISE}, {sizes.epochs} "
        f"epochs, scored after each, {sizes.candidates} Taylor candidates, {sizes.rounds} rounds in turns",
        f"textbook: DataLoader, autograd through powers, {settings.workers} threads, one after another; "
        f"ours: {settings.workers} processes and the store, warm",
        "¹ the textbook loop with our cnn4 (convolutions as matrix products) in place of nn.Conv2d",
        "² the textbook loop with one thread: small networks gain little by a second, and lose on a busy machine",
        "³ ours with --cohort on: the candidates of a network trained at once, half of them by each process",
        "⁴ ours with --exact: without the compiled loss, and with denormal numbers for what they are",
        f"start-up of the pool, once a run: as long as {start_up:.0f} candidates of this size, each on "
        f"{len(NETWORKS)} networks",
        verdict(f"{TARGET:g}× on {whole_name}", got >= TARGET, f"{got:.1f}×")
        + f", {faster['all, cohorts'].median:.1f}× with cohorts"
        + ("" if got >= FLOOR else f"; below {FLOOR:g}×"),
        "accuracy: mean over candidates; difference ± standard error over rounds, each from the same initial weights; "
        "only the order of the batches differs",
    ]
    data = {
        "times_faster": {k: vars(v) for k, v in faster.items()},
        "accuracy": {k: {"textbook": a, "ours": b} for k, (a, b, *_) in agreed.items()},
        "start_up_in_candidates": start_up,
        "seconds": seconds,
    }
    columns = ["network", "candidates per hour, ours ÷ textbook", "accuracy textbook", "ours", "equal within noise"]
    return Table("Textbook: throughput at equal epochs", columns, rows, notes, data)


def _ratio(one: Sequence[float], other: Sequence[float]) -> Spread:
    return Spread.of([a / b for a, b in zip(one, other)])
