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


class Standing(NamedTuple):
    """A place among so many methods, over so many tasks, in a table of a page below docs/."""

    table: str
    part: str
    page: str
    tasks: int
    rank: float
    place: int
    methods: int


@cache
def ranks_script() -> dict[str, Any]:
    """Return what `docs/evidence/ranks.py` defines."""
    return runpy.run_path(str(EVIDENCE / "ranks.py"))


@cache
def all_standings() -> Mapping[str, list[Standing]]:
    """Return the standings of each method, in every part of every table that `ranks.py` reads."""
    script = ranks_script()
    found: dict[str, list[Standing]] = {}
    for table, file in script["TABLES_READ"].items():
        for part, pattern in script["PARTS"].items():
            tasks, ranks = script["ranked"](EVIDENCE / file, pattern)
            for method in ranks:
                place = script["place"](ranks, method)
                standing = Standing(table, part, f"evidence/{file}", tasks, ranks[method], place, len(ranks))
                found.setdefault(method, []).append(standing)
    return found


def standings(method: str) -> list[Standing]:
    """Return the standings of a method, none where no table has it."""
    return all_standings().get(method, [])


def unseen(method: str) -> list[Standing]:
    """Return the standings of a method among the trainings of the second verdict, by kind of task."""
    found = []
    for kind, (tasks, ranks) in verdict_ranks().items():
        if method in ranks:
            place = int(ranks_script()["place"](ranks, method))
            found.append(Standing("", kind, "evidence/second-verdict.md", tasks, ranks[method], place, len(ranks)))
    return found


@cache
def verdict_ranks() -> dict[str, tuple[int, dict[str, float]]]:
    """Return, by part of the tasks, how many there are and the ranks in the second verdict, `arl` the one on trial."""
    script = runpy.run_path(str(GATED / "verdict.py"))
    stored = script["stored_in"](GATED / "results" / "second-held-out.tar.xz")
    tasks = [script["read"](task, early=False) for task in stored]
    found = {}
    for part, belongs in script["PARTS"].items():
        if own := [task for task in tasks if belongs(task)]:
            ranks = script["ranks"](own)
            found[part] = len(own), {"arl" if name == "new" else name: rank for name, rank in ranks.items()}
    return found


@cache
def accuracies() -> tuple[list[str], dict[str, list[float]]]:
    """Return the tasks of the held-out table, and each method's accuracies at the last epoch."""
    blocks = ranks_script()["read"](EVIDENCE / "held-out.md")
    tasks, rows = next(block for name, block in blocks.items() if name.startswith("last epoch"))
    return [task.replace("\\", "") for task in tasks], rows


def duel(method: str) -> str:
    """Return in a sentence how a method fares against cross-entropy; "" where the held-out table does not have it."""
    tasks, rows = accuracies()
    if method not in rows or method == "ce":
        return ""
    gains = {task: ours - ce for task, ours, ce in zip(tasks, rows[method], rows["ce"]) if np.isfinite(ours - ce)}
    most, least = max(gains, key=gains.__getitem__), min(gains, key=gains.__getitem__)
    ahead = sum(gain > 0 for gain in gains.values())
    return (
        f"It ends ahead of cross-entropy on {ahead} of {len(gains)} [held-out tasks](../evidence/held-out.md), as "
        f"published: at best {signed(gains[most])} points (`{most}`), at worst {signed(gains[least])} (`{least}`)."
    )


def signed(points: float) -> str:
    """Return points with their sign.

    >>> signed(-1.23)
    '−1.2'
    """
    return f"{points:+.1f}".replace("-", "−")
