"""The search for the gated loss that ships: attempts that differ in space or score, three seeds each, all side by side.

    python searches/gated/attempts.py --data-dir DIR --out FOLDER --minutes 8

On a GPU one generation of all fifteen searches takes seconds; on two CPU cores a night. Writes rivals.json (once),
attempts.json (the mean of every search after every generation) and final.json (fresh seeds, with ablations).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from many import Batch, Gates, Named, Scores
from pool import POOL, Task

RIVALS = (
    "ce", "label_smoothing", "gce", "sce", "mae", "nce+mae", "nfl+mae", "nce+rce", "nce+agce",
    "anl_ce", "jal_ce", "ce_eps+mae", "ldr_kl", "bi_tempered", "taylor_ce", "arl-mild", "arl",
)  # fmt: skip
OURS = ("arl", "arl-mild")
"""Rivals by which nothing is scored."""

START = {"q": 0.9, "r": 1.5, "kappa": 5.0, "pace": 0.0, "prior": 0.0, "power": 1.0}
UNIT = {"q": 0.25, "r": 0.6, "kappa": 0.5, "pace": 0.35, "prior": 0.35, "power": 0.6, "c": 0.7}
"""How far a coordinate of 1 is from the start; kappa is searched by its logarithm."""
RANGE = {"q": (0, 2), "r": (0, 5), "kappa": (0.3, 60), "pace": (0, 1), "prior": (0, 1.5), "power": (0, 4), "c": (-4, 4)}
POLYNOMIAL = ("c1", "c2", "c3", "c4", "c5")


@dataclass(frozen=True)
class Attempt:
    """A space, the numbers that are searched and those that are fixed, and how much the largest gap counts."""

    name: str
    free: tuple[str, ...]
    fixed: tuple[tuple[str, float], ...] = ()
    largest: float = 0.25

    def decode(self, point: np.ndarray) -> list[float]:
        """Return the numbers of a loss, in the order of `Gates.names`."""
        values = {**START, **dict(self.fixed)}
        for name, coordinate in zip(self.free, point):
            kind = "c" if name in POLYNOMIAL else name
            step = UNIT[kind] * float(coordinate)
            value = values[name] * math.exp(step) if name == "kappa" else values.get(name, 0.0) + step
            values[name] = float(np.clip(value, *RANGE[kind]))
        return [values.get(name, 0.0) for name in Gates.names]


ATTEMPTS = (
    Attempt("agreement", ("q", "r", "kappa"), (("power", 0.0),)),
    Attempt("surprise", ("q", "r", "kappa")),
    Attempt("surprise to a power, pace", ("q", "r", "kappa", "pace", "power")),
    Attempt("surprise, prior, mean gap only", ("q", "r", "kappa", "prior"), largest=0.0),
    Attempt("surprise, polynomial", ("q", "r", "kappa", *POLYNOMIAL)),
)
SEEDS, POPULATION = (0, 1, 2), 8


def chosen(scores: Scores) -> np.ndarray:
    """Return test, balanced and worst class accuracy at the rate that noisy validation chooses: (3, methods)."""
    best = scores.valid.mean(0).argmax(-1)
    take = [
        np.take_along_axis(part.mean(0), best[:, None], 1)[:, 0]
        for part in (scores.plain, scores.balanced, scores.least)
    ]
    return np.stack(take)


class Score:
    """What a candidate is scored by: its gaps to the best rival of each task, see `docs/evidence/PROTOCOL.md`."""

    def __init__(self, tasks: Sequence[Task], rivals: np.ndarray, names: Sequence[str]) -> None:
        """rivals: (tasks, 3, methods) as `chosen` returns them."""
        known = [i for i, name in enumerate(names) if name not in OURS]
        ce = names.index("ce")
        self.rare = np.array([task.imbalance > 1 for task in tasks])
        self.clean = np.array([task.noise == "clean" for task in tasks])
        self.best, self.best_balanced = rivals[:, 0, known].max(1), rivals[:, 1, known].max(1)
        self.ce, self.ce_least = rivals[:, 0, ce], rivals[:, 2, ce]

    def gaps(self, results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return gaps (columns, candidates) of results (tasks, 3, candidates), balanced accuracy of imbalanced tasks
        as columns of their own, and which tasks a candidate fails because it gives up a class that CE learns."""
        gap = np.concatenate(
            [self.best[:, None] - results[:, 0], (self.best_balanced[:, None] - results[:, 1])[self.rare]]
        )
        given_up = (results[:, 2] < 0.25 * self.ce_least[:, None]) & (self.ce_least[:, None] > 20)
        return np.clip(gap, -4, None), given_up

    def __call__(self, results: np.ndarray, largest: float) -> np.ndarray:
        """Return the mean gap, a part of the largest, the cost of clean labels, and 0.5 for each class given up."""
        gap, given_up = self.gaps(results)
        cost = np.clip(self.ce[:, None] - results[:, 0], 0, None)[self.clean].mean(0)
        return gap.mean(0) + largest * gap.max(0) + cost + 0.5 * given_up.sum(0)


def batches(
    tasks: Sequence[Task], loss: Callable[[Task], Any], methods: int, seeds: int, data_dir: str, device: Any
) -> list[Batch]:
    """Return a batch for each task, their graphs in one pool of memory."""
    pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
    return [Batch(task, loss(task), methods, seeds, data_dir, device, pool) for task in tasks]


def can_run(name: str, data_dir: str, device: Any, log: Any) -> bool:
    """Return whether a loss can be part of a captured graph, which may not wait for the GPU; anything can on a CPU."""
    if device.type != "cuda":
        return True
    task = next(task for task in POOL if task.data.startswith("clouds"))
    try:
        Batch(task, Named([name], task.data), 1, 1, data_dir, device)
    except Exception as error:
        log(f"left out: {name}, {error!r:.150}")
        return False
    return True


def run_rivals(tasks: Sequence[Task], names: Sequence[str], data_dir: str, device: Any, log: Any) -> np.ndarray:
    """Return (tasks, 3, methods), the mean of two seeds."""
    rows = []
    for task in tasks:
        batch = Batch(task, Named(names, task.data), len(names), 2, data_dir, device)
        rows.append(chosen(batch.train((900, 901))[-1]))
        order = rows[-1][0].argsort()[::-1][:4]
        log(task.label, "|", ", ".join(f"{names[i]} {rows[-1][0][i]:.1f}" for i in order), f"| ce {rows[-1][0][0]:.1f}")
        del batch
    return np.stack(rows)


def main() -> None:
    """Run rivals, searches and the final comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=480)
    parser.add_argument("--tasks", type=int, nargs="*", help="only these of the pool, by number")
    parser.add_argument("--attempts", type=int, nargs="*", help="only these, by number: so many networks fewer at once")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.time()
    torch.backends.cuda.matmul.allow_tf32 = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def log(*words: Any) -> None:
        print(f"[{time.time() - start:6.1f}]", *words, flush=True)

    tasks = [POOL[i] for i in options.tasks] if options.tasks else list(POOL)
    kept = options.out / "rivals.json"
    if kept.exists():
        stored = json.loads(kept.read_text())
        names, rivals = stored["names"], np.array(stored["results"])
    else:
        names = [name for name in RIVALS if can_run(name, options.data_dir, device, log)]
        rivals = run_rivals(tasks, names, options.data_dir, device, log)
        kept.write_text(
            json.dumps({"tasks": [t.label for t in tasks], "names": names, "results": rivals.round(2).tolist()})
        )
    score = Score(tasks, rivals, names)
    search(tasks, score, options, device, log, start)


def search(tasks: Sequence[Task], score: Score, options: Any, device: Any, log: Any, start: float) -> None:
    """Run all searches until two ninths of the time are left, then compare what they found."""
    from cmaes import CMA

    runs = [
        (
            attempt,
            seed,
            CMA(mean=np.zeros(len(attempt.free)), sigma=0.8, population_size=POPULATION, seed=100 * i + seed),
        )
        for i, attempt in enumerate(ATTEMPTS)
        for seed in SEEDS
        if i in (options.attempts or range(len(ATTEMPTS)))
    ]
    gates = Gates(np.zeros((len(runs) * (POPULATION + 1), len(Gates.names))), device)
    ready = batches(tasks, lambda task: shared(gates), len(gates.numbers), 1, options.data_dir, device)
    log("ready", torch.cuda.memory_allocated() >> 20 if device.type == "cuda" else "")
    history, generation, took = [], 0, 0.0
    while time.time() - start + 4.5 * took < 60 * options.minutes and generation < 60:
        began, generation = time.time(), generation + 1
        points = [[cma.ask() for _ in range(POPULATION)] for _, _, cma in runs]
        rows = [attempt.decode(p) for (attempt, _, cma), own in zip(runs, points) for p in (*own, cma._mean)]
        gates.numbers.copy_(torch.tensor(rows))
        results = np.stack([chosen(batch.train((1000 + generation,))[-1]) for batch in ready])
        gaps, given_up = score.gaps(results)
        for i, (attempt, seed, cma) in enumerate(runs):
            mine = slice(i * (POPULATION + 1), (i + 1) * (POPULATION + 1) - 1)
            cma.tell([(p, float(v)) for p, v in zip(points[i], score(results, attempt.largest)[mine])])
            last = mine.stop
            history.append(
                {
                    "attempt": attempt.name,
                    "seed": seed,
                    "generation": generation,
                    "numbers": rows[last],
                    "mean_gap": float(gaps[:, last].mean()),
                    "largest_gap": float(gaps[:, last].max()),
                    "given_up": int(given_up[:, last].sum()),
                }
            )
        (options.out / "attempts.json").write_text(json.dumps(history))
        took = time.time() - began
        log(
            f"generation {generation}, {took:.1f} s",
            " | ".join(f"{h['mean_gap']:.2f}/{h['largest_gap']:.0f}" for h in history[-len(runs) :]),
        )
    final(tasks, score, runs, gates, ready, options, log)


def shared(gates: Gates) -> Gates:
    """Return gates with a state of their own and the same numbers."""
    other = Gates(np.zeros((1, len(Gates.names))), gates.numbers.device)
    other.numbers, other.l1 = gates.numbers, gates.l1
    return other


CHANGES: dict[str, dict[str, float]] = {
    "": {},
    "without q": {"q": 0},
    "without r": {"r": 0},
    "g = 1": {"kappa": 1e6},
    "power 0": {"power": 0},
    "power 1": {"power": 1},
    "pace 1": {"pace": 1},
    "prior 0.5": {"prior": 0.5},
    "without polynomial": dict.fromkeys(POLYNOMIAL, 0.0),
}


def final(
    tasks: Sequence[Task], score: Score, runs: Any, gates: Gates, ready: Sequence[Batch], options: Any, log: Any
) -> None:
    """Train what the searches found, and variants of it, on three fresh seeds."""
    rows, labels = [], []
    for attempt, seed, cma in runs:
        found = dict(zip(Gates.names, attempt.decode(cma._mean)))
        for label, change in CHANGES.items():
            rows.append([{**found, **change}[name] for name in Gates.names])
            labels.append(f"{attempt.name} #{seed}" + (f": {label}" if label else ""))
    hand = {"ce": (0, 0, 1, 0, 0, 0), "first gated": (0.83, 2.1, 4.35, 0, 0, 0), "by hand": (0.83, 2.1, 4.35, 0, 0, 1)}
    for label, values in hand.items():
        rows.append([*values, *(0.0,) * (len(Gates.names) - len(values))])
        labels.append(label)
    rows, labels = rows[: len(gates.numbers)], labels[: len(gates.numbers)]
    gates.numbers.zero_()
    gates.numbers[: len(rows)].copy_(torch.tensor(rows))
    results = np.mean(
        [np.stack([chosen(batch.train((seed,))[-1]) for batch in ready]) for seed in (2001, 2002, 2003)], 0
    )
    results = results[:, :, : len(rows)]
    gaps, given_up = score.gaps(results)
    cost = (score.ce[:, None] - results[:, 0])[score.clean]
    (options.out / "final.json").write_text(json.dumps({
        "tasks": [t.label for t in tasks], "labels": labels, "numbers": rows, "results": results.round(2).tolist(),
    }))  # fmt: skip
    for i in np.argsort(score(results, 0.25)):
        numbers = " ".join(f"{v:.2f}" for v in rows[i])
        log(
            f"score {score(results, 0.25)[i]:5.2f} gap {gaps[:, i].mean():5.2f} largest {gaps[:, i].max():4.1f} clean "
            f"{cost[:, i].mean():5.2f} at most {cost[:, i].max():4.1f} given up {given_up[:, i].sum()} "
            f"{labels[i]} [{numbers}]"
        )


if __name__ == "__main__":
    main()
