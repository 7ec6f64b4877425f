"""The search for the gated loss that ships: attempts that differ in space or score, three seeds each, all side by side.

    python searches/gated/attempts.py --data-dir DIR --out FOLDER --minutes 25

One generation of all searches takes seconds on a GPU, three minutes on two CPU cores. Writes rivals.json (what is
known from `results/rivals.json`, and the tasks that are new), hand.json, attempts.json (the mean of every search after
every generation), evaluations.json (every candidate), final.json (the best, on all tasks) and ablation.json.
What is there is not trained again, task by task; the searches neither, once they are over.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hand import HAND
from many import RATES, Batch, Gates, Lanes, Named, Scores
from pool import POOL, Task

RIVALS = (
    "ce", "label_smoothing", "gce", "sce", "mae", "nce+mae", "nfl+mae", "nce+rce", "nce+agce",
    "anl_ce", "jal_ce", "ce_eps+mae", "ldr_kl", "bi_tempered", "taylor_ce", "elr", "ce_prior", "logitclip", "antidote",
    "js", "logit_bias", "nls", "bootstrap_soft", "arl-mild", "arl-taylor",
)  # fmt: skip
OURS = ("arl-taylor", "arl-mild")
"""Rivals by which nothing is scored."""

START = {"r": 1.25, "rel": 1.25, "clear": 0.5, "kappa": 15.0, "own": 1.0, "smooth": 0.1}
"""Where a search begins, and what a number is that is not searched; one that is not here is as `Gates` has it."""
FLAT = {**START, "r": 2.0, "rel": 1.0, "clear": 0.0, "c2": 2.0, "c5": 1.0}
"""Another start: what a polynomial leaves of (1 - m)^2 where m is small is nothing."""
UNIT = {
    "q": 0.25, "r": 0.5, "rel": 0.5, "kappa": 0.5, "pace": 0.35, "prior": 0.35, "power": 0.4, "own": 0.5, "peak": 0.4,
    "window": 0.7, "smooth": 0.04, "pull": 0.15, "sure": 4.0, "shared": 0.2, "calm": 0.3, "clear": 0.3, "c": 0.7,
}  # fmt: skip
"""How far a coordinate of 1 is from the start; kappa and window are searched by their logarithms."""
RANGE = {
    "q": (0, 2), "r": (0, 5), "rel": (0, 5), "kappa": (0.3, 60), "pace": (0, 1), "prior": (0, 1.5), "power": (0, 4),
    "own": (0, 2), "peak": (0, 1), "window": (10, 1000), "smooth": (0, 0.4), "pull": (0, 1), "sure": (0, 40),
    "shared": (0, 1), "calm": (0, 4), "clear": (0, 4), "c": (-4, 4),
}  # fmt: skip
POLYNOMIAL = ("c1", "c2", "c3", "c4", "c5")


@dataclass(frozen=True)
class Attempt:
    """A space, by the numbers that are searched, where they begin, and how much the largest gap counts."""

    name: str
    free: tuple[str, ...]
    largest: float = 0.25
    start: Mapping[str, float] = field(default_factory=lambda: START)

    def decode(self, point: np.ndarray) -> dict[str, float]:
        """Return the numbers of a loss by name."""
        values = dict(self.start)
        for name, coordinate in zip(self.free, point):
            kind = "c" if name in POLYNOMIAL else name
            step, start = UNIT[kind] * float(coordinate), self.start.get(name, Gates.plain.get(name, 0.0))
            value = start * math.exp(step) if name in ("kappa", "window") else start + step
            values[name] = float(np.clip(value, *RANGE[kind]))
        return values


SPACE = ("r", "rel", "clear", "kappa", "smooth")
ATTEMPTS = (
    Attempt("clear", SPACE),
    Attempt("clear, mean gap only", SPACE, largest=0.0),
    Attempt("calm, pace, own", ("r", "rel", "clear", "calm", "pace", "own")),
    Attempt("polynomial", ("r", "rel", "clear", "smooth", "c2", "c5"), start=FLAT),
)
"""Those of the first verdict, with their results, are in results/first-search.tar.xz and this file's history."""
RACE = (16, 22, 32, 35, 41, 42, 55, 56, 57, 60, 61, 65, 66, 67, 68, 70)
"""The tasks of the pool by which searches go, cheap ones of each kind; what they find is compared on all."""
SEEDS, POPULATION, SIGMA = (0, 1, 2), 5, 0.7
KNOWN = Path(__file__).parent / "results" / "rivals.json"
FINALISTS = 4
"""So many finds are compared on all tasks."""
JUDGED = (900, 901)
"""The seeds of what is compared on all tasks."""


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


class Trained:
    """Methods that are trained once on each task, and what came of it in a file: what is in it is not trained again.

    pick: what is kept of a task's scores.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        lanes: Lanes,
        data_dir: str,
        rates: Sequence[float],
        pick: Callable[[Scores], np.ndarray] = chosen,
    ) -> None:
        self.pick = pick
        self.path, self.names, self.lanes, self.data_dir, self.rates = path, list(names), lanes, data_dir, rates
        kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"names": self.names, "results": {}}
        assert kept["names"] == self.names, f"{path} is of other methods: {kept['names']}"
        self.results, self.lock = kept["results"], threading.Lock()

    def __call__(self, tasks: Sequence[Task], loss: Callable[[Task], Any]) -> np.ndarray:
        """Return what is kept of each task, (tasks, …); loss(task) makes the methods' losses."""

        def one(task: Task) -> None:
            if task.label in self.results:
                return
            batch = Batch(task, loss(task), len(self.names), len(JUDGED), self.data_dir, self.lanes.device, self.rates)
            found = self.pick(batch.train(JUDGED)[-1]).round(2).tolist()
            with self.lock:
                self.results[task.label] = found
                self.path.write_text(json.dumps({"names": self.names, "results": self.results}))

        self.lanes.map(one, tasks, tasks)
        return np.array([self.results[task.label] for task in tasks])


def main() -> None:
    """Run rivals, searches and the final comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=25, help="of the searches")
    parser.add_argument("--lanes", type=int, default=2, help="tasks side by side: cores, or more on a GPU")
    parser.add_argument("--skip", type=int, nargs="*", default=[], help="not these tasks of the pool, by number")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.time()
    torch.backends.cuda.matmul.allow_tf32 = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def log(*words: Any) -> None:
        print(f"[{time.time() - start:6.1f}]", *words, flush=True)

    tasks = [task for i, task in enumerate(POOL) if i not in options.skip]
    race, lanes = [POOL[i] for i in RACE], Lanes(device, options.lanes)
    if KNOWN.exists() and not (options.out / "rivals.json").exists():
        shutil.copy(KNOWN, options.out / "rivals.json")
    able = [name for name in RIVALS if can_run(name, options.data_dir, device, log)]
    rivals = Trained(options.out / "rivals.json", able, lanes, options.data_dir, RATES)
    known = rivals(tasks, lambda task: Named(able, task.data))
    for task, scores in zip(tasks, known):
        order = scores[0].argsort()[::-1][:4]
        ahead = ", ".join(f"{able[j]} {scores[0, j]:.1f}" for j in order)
        log(f"{task.label} | {ahead} | ce {scores[0, 0]:.1f}")
    numbers = [Gates.row(**values) for values in HAND.values()]
    by_hand = Trained(options.out / "hand.json", list(HAND), lanes, options.data_dir, (1.0,))
    race_known = rivals(race, lambda task: Named(able, task.data))
    score = Score(race, race_known, able)

    def compare(name: str, candidates: dict[str, dict[str, float]], on: Sequence[Task], against: np.ndarray) -> Any:
        gates = Gates([Gates.row(**values) for values in candidates.values()], device)
        labels = [
            " ".join([label + ":", *(f"{k} {v:.2f}" for k, v in kept.items())]) for label, kept in candidates.items()
        ]
        results = Trained(options.out / name, labels, lanes, options.data_dir, RATES)(on, lambda _: gates.alike())
        score, names = Score(on, against, able), list(candidates)
        log(name)
        log("\n".join([HEAD, *rows(results, score, labels, 40)]))
        return {names[i]: candidates[names[i]] for i in np.argsort(score(results, 0.25))}

    hand = by_hand(race, lambda _: Gates(numbers, device))
    log("\n".join([HEAD, *rows(hand, score, by_hand.names, 40)]))
    history = options.out / "attempts.json"
    if not history.exists():
        search(race, score, options, lanes, log)
    found = found_by(json.loads(history.read_text()))
    names = list(HAND)
    best = [names[i] for i in np.argsort(score(hand, 0.25))[:2]]
    evaluations = json.loads((options.out / "evaluations.json").read_text())
    found = {**pooled(evaluations, score), **found}
    by_name = {name: HAND[name] for name in (*best, "base", "first verdict", "cross-entropy")}
    found = compare("finds.json", found, race, race_known)
    compare("final.json", {**dict(list(found.items())[:FINALISTS]), **by_name}, tasks, known)
    compare("ablation.json", changed(*next(iter(found.items()))), race, race_known)


HEAD = "| loss | score | mean gap | largest gap | clean labels cost | classes given up |\n|---|--:|--:|--:|--:|--:|"


def rows(results: np.ndarray, score: Score, names: Sequence[str], most: int | None = None) -> Iterator[str]:
    """Yield a row of a table for each loss, the best ones first, under `HEAD`."""
    values, (gaps, given_up) = score(results, 0.25), score.gaps(results)
    cost = (score.ce[:, None] - results[:, 0])[score.clean]
    for i in np.argsort(values)[:most]:
        cells = (values[i], gaps[:, i].mean(), gaps[:, i].max(), cost[:, i].mean())
        yield f"| {names[i]} | " + " | ".join(f"{cell:.2f}" for cell in cells) + f" | {given_up[:, i].sum()} |"


def search(race: Sequence[Task], score: Score, options: Any, lanes: Lanes, log: Any) -> None:
    """Run all searches until their minutes are over, at least one generation."""
    from cmaes import CMA

    runs = [
        (attempt, seed, CMA(np.zeros(len(attempt.free)), SIGMA, population_size=POPULATION, seed=100 * i + seed))
        for i, attempt in enumerate(ATTEMPTS)
        for seed in SEEDS
    ]
    each = POPULATION + 1
    gates = Gates(np.zeros((len(runs) * each, len(Gates.names))), lanes.device)

    def prepared(task: Task) -> Batch:
        return Batch(task, gates.alike(), len(gates.numbers), 1, options.data_dir, lanes.device)

    ready = lanes.map(prepared, race, race)
    log("ready", torch.cuda.memory_allocated() >> 20 if lanes.device.type == "cuda" else "")

    def all_of(rows: list[list[float]], seed: int) -> np.ndarray:
        gates.numbers.copy_(torch.tensor(rows))
        if lanes.device.type == "cuda":
            torch.cuda.synchronize()
        return np.stack(lanes.map(lambda batch: chosen(batch.train((seed,))[-1]), ready, race))

    history, evaluations, generation, took, start = [], [], 0, 0.0, time.time()
    while not generation or time.time() - start + took < 60 * options.minutes:
        began, generation = time.time(), generation + 1
        points = [[cma.ask() for _ in range(POPULATION)] for _, _, cma in runs]
        rows = [Gates.row(**a.decode(p)) for (a, _, cma), own in zip(runs, points) for p in (*own, cma.mean)]
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


def found_by(history: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return where each search ended, by name, those of the best last three generations first."""
    mine: dict[str, list[dict[str, Any]]] = {}
    for row in history:
        mine.setdefault(f"{row['attempt']} #{row['seed']}", []).append(row)
    order = sorted(mine, key=lambda name: np.mean([row["score"] for row in mine[name][-3:]]))
    return {name: Gates.named(mine[name][-1]["numbers"]) for name in order}


def pooled(evaluations: Sequence[dict[str, Any]], score: Score, count: int = 2) -> dict[str, dict[str, float]]:
    """Return the candidates of all searches that a quadratic, fitted to their scores, finds best: a score of one seed
    is noise for the most part, and what hundreds of neighbours say of a place is less so."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    numbers = np.concatenate([np.array(e["numbers"]) for e in evaluations])
    found = [score(np.array(e["results"]), 0.25) for e in evaluations]
    values = np.concatenate([np.clip(v - np.median(v), -5, 6) for v in found])  # each generation has its own data
    varied = numbers[:, numbers.std(0) > 0]
    fitted = make_pipeline(StandardScaler(), PolynomialFeatures(2), Ridge(3.0)).fit(varied, values).predict(varied)
    return {f"pooled {place}": Gates.named(numbers[i]) for place, i in enumerate(np.argsort(fitted)[:count])}


CHANGES: dict[str, dict[str, float]] = {
    "without r": {"r": 0},
    "without polynomial": dict.fromkeys(POLYNOMIAL, 0.0),
    "without clear": {"clear": 0},
    "without calm": {"calm": 0},
    "without pace": {"pace": 0},
    "g = 1": {"kappa": 1e6},
    "agreement": {"power": 0},
    "own 0": {"own": 0},
    "without odds": {"rel": 0},
    "smooth 0": {"smooth": 0},
    "mean of all": {"shared": 1},
    "prior 0.5": {"prior": 0.5},
}


def changed(label: str, numbers: dict[str, float]) -> dict[str, dict[str, float]]:
    """Return a find, and it with one part changed."""
    rows = {label: numbers}
    for change, values in CHANGES.items():
        if any(numbers.get(name, Gates.plain.get(name, 0.0)) != value for name, value in values.items()):
            rows[f"{label}: {change}"] = {**numbers, **values}
    return rows


if __name__ == "__main__":
    main()
