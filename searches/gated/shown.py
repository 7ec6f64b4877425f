"""What a search gave, from its stored results: no training.

    python searches/gated/shown.py searches/gated/results/second-search.tar.xz [hand|finds|final|ablation]

Without a word: what each attempt gave. hand: changes by hand, on the tasks of the race at one learning rate; finds:
what all searches found, on other seeds; final: the best on all tasks; ablation: the best find with a part changed.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

LAST = 5
"""Generations at the end whose means are averaged: each is scored on data of its own."""


def read(place: Path, name: str) -> Any:
    """Return a JSON file of an archive."""
    with tarfile.open(place) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith(f"/{name}.json"))
        file = archive.extractfile(member)
        assert file is not None
        return json.load(file)


def attempts(history: list[dict[str, Any]]) -> None:
    """Print a row for each attempt and seed."""
    print("| attempt | seed | score | mean gap | largest gap | classes given up |\n|---|--:|--:|--:|--:|--:|")
    for attempt, seed in dict.fromkeys((h["attempt"], h["seed"]) for h in history):
        last = [h for h in history if (h["attempt"], h["seed"]) == (attempt, seed)][-LAST:]
        means = [np.mean([h[key] for h in last]) for key in ("score", "mean_gap", "largest_gap", "given_up")]
        print(f"| {attempt} | {seed} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")


def compared(found: dict[str, Any]) -> None:
    """Print a row for each loss, the best first, and the best single rivals on the same tasks."""
    from attempts import HEAD, KNOWN, OURS, Score, rows
    from pool import POOL

    known = json.loads(KNOWN.read_text())
    tasks = [task for task in POOL if task.label in found["results"]]
    rivals = np.array([known["results"][task.label] for task in tasks])
    score = Score(tasks, rivals, known["names"])
    print(f"{len(tasks)} tasks\n\n{HEAD}")
    ours = np.array([found["results"][task.label] for task in tasks])
    own = [i for i, name in enumerate(known["names"]) if name not in OURS]
    for names, results, most in (
        (found["names"], ours, None),
        ([f"*{known['names'][i]}*" for i in own], rivals[..., own], 3),
        ([f"*{name}*" for name in OURS], rivals[..., [known["names"].index(name) for name in OURS]], None),
    ):
        print("\n".join(rows(results, score, names, most)))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path)
    what = ("attempts", "hand", "finds", "final", "ablation")
    parser.add_argument("what", nargs="?", default="attempts", choices=what)
    options = parser.parse_args()
    found = read(options.place, options.what)
    (attempts if options.what == "attempts" else compared)(found)


if __name__ == "__main__":
    main()
