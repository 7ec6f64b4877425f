"""What the committed tables say of one method: its ranks, and where it wins and loses against cross-entropy."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

DOCS = Path(__file__).parents[1]
EVIDENCE = DOCS / "evidence"
GATED = DOCS.parent / "searches" / "gated"
KINDS = {"images": "pictures", "features": "features of sentences", "tables": "tables"}


class Standing(NamedTuple):
    """A place among so many methods, over so many tasks, in a table of a page below docs/."""

    table: str
    part: str
    page: str
    tasks: int
    rank: float
    place: int
    methods: int


class Duel(NamedTuple):
    """Accuracies less those of cross-entropy, in points, by task."""

    gains: Mapping[str, float]

    def text(self) -> str:
        """Return in two sentences where it wins and where it loses."""
        ahead = sum(gain > 0 for gain in self.gains.values())
        most, least = max(self.gains, key=self.gains.__getitem__), min(self.gains, key=self.gains.__getitem__)
        return (
            f"On {ahead} of the {len(self.gains)} held-out tasks it ends ahead of cross-entropy. Its largest gain is "
            f"{self.gains[most]:+.1f} points (`{most}`), its smallest, or its largest loss, {self.gains[least]:+.1f} "
            f"(`{least}`)."
        )


@cache
def ranks_script() -> dict[str, Any]:
    """Return what `docs/evidence/ranks.py` defines."""
    return runpy.run_path(str(EVIDENCE / "ranks.py"))


@cache
def standings() -> tuple[tuple[Standing, ...], Mapping[str, tuple[Standing, ...]]]:
    """Return cross-entropy's standings, and those of each method, in every part of every table."""
    script, found = ranks_script(), {}
    for table, file in script["TABLES_READ"].items():
        for part, pattern in script["PARTS"].items():
            tasks, ranks = script["ranked"](EVIDENCE / file, pattern)
            for method, rank in ranks.items():
                place = script["place"](ranks, method)
                standing = Standing(table, part, f"evidence/{file}", tasks, rank, place, len(ranks))
                found.setdefault(method, []).append(standing)
    for kind, (tasks, ranks) in verdict_ranks().items():
        for method, rank in ranks.items():
            place = script["place"](ranks, method)
            page = "evidence/first-verdict.md"
            standing = Standing("unseen tasks, best of three rates", KINDS[kind], page, tasks, rank, place, len(ranks))
            found.setdefault(method, []).append(standing)
    return tuple(found["ce"]), {method: tuple(rows) for method, rows in found.items()}


@cache
def verdict_ranks() -> dict[str, tuple[int, dict[str, float]]]:
    """Return, by kind, the tasks and ranks of the first verdict's trainings, the loss on trial left out."""
    script = runpy.run_path(str(GATED / "verdict.py"))
    stored = script["stored_in"](GATED / "results" / "first-held-out.tar.xz")
    tasks = [script["read"](task, early=False) for task in stored]
    found = {}
    for kind in KINDS:
        own = [task for task in tasks if task.kind == kind]
        for task in own:
            for name in ("new", "arl", "arl-mild"):  # the one on trial has no name; the others are in the tables above
                task.plain.pop(name, None)
        found[kind] = len(own), script["ranks"](own)
    return found


def of(method: str) -> tuple[Standing, ...]:
    """Return the standings of a method, none where no committed table has it."""
    return standings()[1].get(method, ())


@cache
def accuracies() -> tuple[list[str], dict[str, list[float]]]:
    """Return the tasks of the held-out table, and each method's accuracies at the last epoch."""
    blocks = ranks_script()["read"](EVIDENCE / "held-out.md")
    tasks, rows = next(block for name, block in blocks.items() if name.startswith("last epoch"))
    return [task.replace("\\", "") for task in tasks], rows


def duel(method: str) -> Duel | None:
    """Return how a method fares against cross-entropy, None where the held-out table does not have it."""
    tasks, rows = accuracies()
    if method not in rows or method == "ce":
        return None
    gains = np.array(rows[method]) - np.array(rows["ce"])
    return Duel({task: float(gain) for task, gain in zip(tasks, gains) if np.isfinite(gain)})
