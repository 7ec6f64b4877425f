"""The search for the gated loss that ships: attempts that differ in space or score, three seeds each, all side by side.

    python searches/gated/attempts.py --data-dir DIR --out FOLDER --minutes 8

On a GPU one generation of all fifteen searches takes seconds; on two CPU cores a night. Writes rivals.json and
hand.json (once), attempts.json (the mean of every search after every generation), evaluations.json (every candidate)
and final.json (fresh seeds, with ablations).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hand import HAND
from many import Batch, Gates, Lanes, Named, Scores
from pool import POOL, Task

RIVALS = (
    "ce", "label_smoothing", "gce", "sce", "mae", "nce+mae", "nfl+mae", "nce+rce", "nce+agce",
    "anl_ce", "jal_ce", "ce_eps+mae", "ldr_kl", "bi_tempered", "taylor_ce", "elr", "ce_prior", "logitclip", "antidote",
    "js", "logit_bias", "nls", "bootstrap_soft", "arl-mild", "arl",
)  # fmt: skip
OURS = ("arl", "arl-mild")
"""Rivals by which nothing is scored."""

START = {"r": 1.0, "rel": 1.0, "kappa": 15.0, "own": 1.0, "smooth": 0.1}
"""Where a search of a number begins; one that is not searched is as `Gates` has it."""
UNIT = {
    "q": 0.25, "r": 0.5, "rel": 0.5, "kappa": 0.5, "pace": 0.35, "prior": 0.35, "power": 0.4, "own": 0.5, "peak": 0.4,
    "window": 0.7, "smooth": 0.04, "pull": 0.15, "sure": 4.0, "shared": 0.2, "c": 0.7,
}  # fmt: skip
"""How far a coordinate of 1 is from the start; kappa and window are searched by their logarithms."""
RANGE = {
    "q": (0, 2), "r": (0, 5), "rel": (0, 5), "kappa": (0.3, 60), "pace": (0, 1), "prior": (0, 1.5), "power": (0, 4),
    "own": (0, 2), "peak": (0, 1), "window": (10, 1000), "smooth": (0, 0.4), "pull": (0, 1), "sure": (0, 40),
    "shared": (0, 1), "c": (-4, 4),
}  # fmt: skip
POLYNOMIAL = ("c1", "c2", "c3", "c4", "c5")


@dataclass(frozen=True)
class Attempt:
    """A space, by the numbers that are searched, and how much the largest gap counts."""

    name: str
    free: tuple[str, ...]
    largest: float = 0.25

    def decode(self, point: np.ndarray) -> dict[str, float]:
        """Return the numbers of a loss by name."""
        values = {}
        for name, coordinate in zip(self.free, point):
            kind = "c" if name in POLYNOMIAL else name
            step, start = UNIT[kind] * float(coordinate), START.get(name, Gates.plain.get(name, 0.0))
            value = start * math.exp(step) if name in ("kappa", "window") else start + step
            values[name] = float(np.clip(value, *RANGE[kind]))
        return values


SPACE = ("q", "r", "rel", "kappa", "own", "smooth")
ATTEMPTS = (
    Attempt("without odds", ("q", "r", "kappa", "own", "smooth")),
    Attempt("odds", SPACE),
    Attempt("odds, mean gap only", SPACE, largest=0.0),
    Attempt("pace, shared, sure", ("r", "rel", "kappa", "smooth", "pace", "shared", "sure")),
    Attempt("polynomial", ("r", "rel", "kappa", "smooth", *POLYNOMIAL)),
)
"""Those of the first verdict, with their results, are in results/first-search.tar.xz and this file's history."""
RACE = (2, 4, 6, 10, 13, 22, 27, 40, 41, 46, 51, 55, 57, 59, 60, 61, 63, 64, 65, 67)
"""The tasks of the pool by which searches go; what they find is compared on all."""
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
        """Return the mean gap, a part of the largest, so of clean labels' cost, and 0.5 a class given up."""
        gap, given_up = self.gaps(results)
        cost = np.clip(self.ce[:, None] - results[:, 0], 0, None)[self.clean]
        return gap.mean(0) + largest * (gap.max(0) + cost.max(0)) + cost.mean(0) + 0.5 * given_up.sum(0)


def can_run(name: str, data_dir: str, device: Any, log: Any = print) -> bool:
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


def trained(tasks: Sequence[Task], loss: Any, methods: int, seeds: Sequence[int], data_dir: str, lanes: Lanes) -> Any:
    """Return (tasks, 3, methods) of methods that are trained once: loss(task) makes their losses."""

    def one(task: Task) -> np.ndarray:
        return chosen(Batch(task, loss(task), methods, len(seeds), data_dir, lanes.device).train(seeds)[-1])

    return np.stack(lanes.map(one, tasks, tasks))


def main() -> None:
    """Run rivals, searches and the final comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=480)
    parser.add_argument("--lanes", type=int, default=4, help="tasks side by side on a GPU")
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
    lanes = Lanes(device, options.lanes)

    def stored(name: str, names: Sequence[str], loss: Any, seeds: Sequence[int]) -> tuple[list[str], np.ndarray]:
        path = options.out / name
        if not path.exists():
            results = trained(tasks, loss, len(names), seeds, options.data_dir, lanes)
            found = {
                "tasks": [task.label for task in tasks],
                "names": list(names),
                "results": results.round(2).tolist(),
            }
            path.write_text(json.dumps(found))
            log(name)
        kept = json.loads(path.read_text())
        return kept["names"], np.array(kept["results"])

    able = [name for name in RIVALS if can_run(name, options.data_dir, device, log)]
    names, rivals = stored("rivals.json", able, lambda task: Named(able, task.data), (900, 901))
    score = Score(tasks, rivals, names)
    for i, task in enumerate(tasks):
        order = rivals[i, 0].argsort()[::-1][:4]
        log(
            task.label,
            "|",
            ", ".join(f"{names[j]} {rivals[i, 0, j]:.1f}" for j in order),
            f"| ce {rivals[i, 0, 0]:.1f}",
        )
    rows = [Gates.row(**values) for values in HAND.values()]
    hand = stored("hand.json", list(HAND), lambda task: Gates(rows, device), (3000, 3001))
    table(hand[1], score, hand[0], log)
    search(tasks, rivals, names, hand, options, lanes, log, start)


def table(results: np.ndarray, score: Score, labels: Sequence[str], log: Any, most: int = 40) -> None:
    """Print candidates, the best ones first."""
    gaps, given_up = score.gaps(results)
    cost = (score.ce[:, None] - results[:, 0])[score.clean]
    found = score(results, 0.25)
    for i in np.argsort(found)[:most]:
        log(
            f"score {found[i]:5.2f} gap {gaps[:, i].mean():5.2f} largest {gaps[:, i].max():4.1f} clean "
            f"{cost[:, i].mean():5.2f} at most {cost[:, i].max():4.1f} given up {given_up[:, i].sum()} {labels[i]}"
        )


def search(tasks: Any, rivals: Any, names: Any, hand: Any, options: Any, lanes: Lanes, log: Any, start: float) -> None:
    """Run all searches until their minutes are over, then compare what they found on all tasks."""
    from cmaes import CMA

    runs = [
        (a, seed, CMA(mean=np.zeros(len(a.free)), sigma=0.8, population_size=POPULATION, seed=100 * i + seed))
        for i, a in enumerate(ATTEMPTS)
        for seed in SEEDS
        if i in (options.attempts or range(len(ATTEMPTS)))
    ]
    each = POPULATION + 1
    gates = Gates(np.zeros((len(runs) * each, len(Gates.names))), lanes.device)
    raced = [i for i in RACE if i < len(tasks)]
    race = [tasks[i] for i in raced]
    score = Score(race, rivals[raced], names)

    def prepared(task: Task) -> Batch:
        return Batch(task, gates.alike(), len(gates.numbers), 1, options.data_dir, lanes.device)

    ready = lanes.map(prepared, race, race)
    log("ready", torch.cuda.memory_allocated() >> 20 if lanes.device.type == "cuda" else "")

    def all_of(rows: list[list[float]], seed: int) -> np.ndarray:
        gates.numbers.copy_(torch.tensor(rows))
        if lanes.device.type == "cuda":
            torch.cuda.synchronize()
        return np.stack(lanes.map(lambda batch: chosen(batch.train((seed,))[-1]), ready, race))

    history, evaluations, generation, took = [], [], 0, 0.0
    while not generation or (time.time() - start + took < 60 * options.minutes and generation < 60):
        began, generation = time.time(), generation + 1
        points = [[cma.ask() for _ in range(POPULATION)] for _, _, cma in runs]
        rows = [Gates.row(**a.decode(p)) for (a, _, cma), own in zip(runs, points) for p in (*own, cma._mean)]
        results = all_of(rows, 1000 + generation)
        evaluations.append({"numbers": rows, "results": results.round(2).tolist()})
        gaps, given_up = score.gaps(results)
        for i, (attempt, seed, cma) in enumerate(runs):
            mine = slice(i * each, (i + 1) * each - 1)
            found = score(results, attempt.largest)
            cma.tell([(p, float(v)) for p, v in zip(points[i], found[mine])])
            last = mine.stop
            history.append(
                {
                    "attempt": attempt.name,
                    "seed": seed,
                    "generation": generation,
                    "numbers": rows[last],
                    "score": float(score(results, 0.25)[last]),
                    "mean_gap": float(gaps[:, last].mean()),
                    "largest_gap": float(gaps[:, last].max()),
                    "given_up": int(given_up[:, last].sum()),
                }
            )
        (options.out / "attempts.json").write_text(json.dumps(history))
        (options.out / "evaluations.json").write_text(json.dumps(evaluations))
        took = time.time() - began
        log(f"generation {generation}, {took:.1f} s", " ".join(f"{h['score']:.2f}" for h in history[-len(runs) :]))
    ready.clear()  # and with it their memory
    score = Score(tasks, rivals, names)
    rows, labels = candidates(runs, history, score, hand)
    results = trained(tasks, lambda task: Gates(rows, lanes.device), len(rows), (900, 901), options.data_dir, lanes)
    kept = {"labels": labels, "numbers": rows, "results": results.round(2).tolist()}
    (options.out / "final.json").write_text(json.dumps({"tasks": [task.label for task in tasks], **kept}))
    named = [
        f"{label} " + " ".join(f"{k} {v:.2f}" for k, v in zip(Gates.names, row) if v != Gates.plain.get(k, 0.0))
        for label, row in zip(labels, rows)
    ]
    table(results, score, named, log)


CHANGES: dict[str, dict[str, float]] = {
    "without q": {"q": 0},
    "without r": {"r": 0},
    "g = 1": {"kappa": 1e6},
    "agreement": {"power": 0},
    "own 0": {"own": 0},
    "without odds": {"rel": 0},
    "smooth 0": {"smooth": 0},
    "mean of all": {"shared": 1},
    "prior 0.5": {"prior": 0.5},
    "without polynomial": dict.fromkeys(POLYNOMIAL, 0.0),
}


def candidates(runs: Any, history: Any, score: Score, hand: Any) -> tuple[list[list[float]], list[str]]:
    """Return what all searches found, the best by hand, and the best searches' finds with one part changed."""
    last = {(h["attempt"], h["seed"]): [] for h in history}
    for h in history:
        last[h["attempt"], h["seed"]].append(h["score"])
    order = sorted(runs, key=lambda run: np.mean(last[run[0].name, run[1]][-3:]))
    found = {f"{a.name} #{seed}": a.decode(cma._mean) for a, seed, cma in order}
    best = {hand[0][i]: HAND[hand[0][i]] for i in np.argsort(score(hand[1], 0.25))[:10]}
    rows = {**found, **best, "cross-entropy": HAND["cross-entropy"]}
    for label, numbers in list(found.items())[:3]:
        for change, values in CHANGES.items():
            if any(numbers.get(name, Gates.plain.get(name, 0.0)) != value for name, value in values.items()):
                rows.setdefault(f"{label}: {change}", {**numbers, **values})
    return [Gates.row(**numbers) for numbers in rows.values()], list(rows)


if __name__ == "__main__":
    main()
