"""Tables of a page: rows in rank order, cells with what sorts them and, where they are absent, why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autorobustloss.benchmark import render
from autorobustloss.benchmark.table import Block, Cell, Table

ABSENT = "—"
WORDS = {True: "yes", False: "no", None: "not set", "": "empty"}


@dataclass(frozen=True)
class Shown:
    """A cell of a page: its text, what it is sorted by (None for last), whether it is the best, what explains it."""

    text: str
    value: float | None = None
    best: bool = False
    why: str = ""


@dataclass(frozen=True)
class Row:
    """A row: what it is called, its cells, whether its numbers are quoted from elsewhere."""

    name: str
    cells: tuple[Shown, ...]
    quoted: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table of a page: a caption, what rows are, heads of columns in lines, rows, what is said below.

    sorted_by: the column that the rows are in order of, -1 for none.
    """

    caption: str
    names: str
    heads: tuple[tuple[str, ...], ...]
    rows: tuple[Row, ...]
    below: str = ""
    sorted_by: int = -1


def sheets(table: Table) -> list[Sheet]:
    """Return a sheet for each distinct block of a table, rows in rank order."""
    return [_sheet(table, heading, block) for heading, block in render.distinct_blocks(table)]


def _sheet(table: Table, heading: str, block: Block) -> Sheet:
    best, summary = render.best_rows(block), render.summary(table, block)
    heads, tails = summary[0], summary[1:]
    ranks = [math.inf if r is None or not block.telling else r for r in block.average_ranks]
    quoted = [any(c.mean is not None and not c.n for c in row) for row in block.cells]
    order = list(range(len(table.methods)))
    if not any(quoted):  # those stand beside what they are to be compared with
        order.sort(key=lambda i: (ranks[i], -_mean(block.cells[i])))
    rows = []
    for i in order:
        cells = [_cell(c, i in best[column]) for column, c in enumerate(block.cells[i])]
        cells += [_tail(head, text, i == order[0]) for head, text in zip(heads, tails[i])]
        rows.append(Row(table.methods[i], tuple(cells), quoted[i]))
    shown = tuple(tuple(head.rsplit("/", 2)) for head in [*table.tasks, *heads])
    place = len(table.tasks) + heads.index("rank") if "rank" in heads and not any(quoted) else -1
    caption = f"{table.title} ({render.UNIT}); {heading}"
    return Sheet(caption, "method", shown, tuple(rows), render.footer(block), place)


def _mean(cells: Sequence[Cell]) -> float:
    there = [c.mean for c in cells if c.mean is not None]
    return sum(there) / len(there) if there else -math.inf


def _cell(cell: Cell, best: bool) -> Shown:
    if cell.mean is None:
        return Shown(ABSENT, why=cell.reason or "no result")
    return Shown(render.cell_text(cell), cell.mean, best, cell.reason)


def _tail(head: str, text: str, first: bool) -> Shown:
    """Return rank, p or cost of a method."""
    if text == "–":
        why = {"rank": "not ranked", "p": "the method that others are tested against" if first else "not tested"}
        return Shown(ABSENT, why=why.get(head, "not known"))
    number = text.strip("<×")
    return Shown(text, float(number) if _is_number(number) else None)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def generations(found: Sequence[Mapping[str, Any]]) -> Sheet:
    """Return the generations of a search as a table; what is missing or is no number has a dash."""
    names = ("best", "mean", "worst", "trained", "rejected", "diverged")

    def cell(name: str, value: Any) -> Shown:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e9:
            return Shown(ABSENT, why="not noted")
        return Shown(f"{100 * value:.1f}" if name in names[:3] else f"{value:g}", float(value))

    rows = tuple(
        Row(str(place), tuple(cell(name, generation.get(name)) for name in names))
        for place, generation in enumerate(found, 1)
    )
    heads = tuple((f"{name}, %",) if name in names[:3] else (name,) for name in names)
    caption = "Candidates of each generation: validation accuracy, and how many were trained"
    return Sheet(caption, "generation", heads, rows)


def flat(content: Any) -> list[tuple[str, str]]:
    """Return nested settings as (name, value) in words, lists of plain values in one line.

    >>> flat({"tasks": [{"noise": "clean"}, {"noise": "sym:0.4"}], "seeds": [1, 2], "out": None})
    [('tasks 1 › noise', 'clean'), ('tasks 2 › noise', 'sym:0.4'), ('seeds', '1, 2'), ('out', 'not set')]
    """
    return list(_leaves(content))


def _leaves(content: Any) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[str, Any]] = [("", content)]  # a list and not a recursion: nesting may be deep
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Mapping) and value:
            joined = [(f"{name} › {key}" if name else str(key), v) for key, v in value.items()]
            waiting += reversed(joined)
        elif isinstance(value, (list, tuple)) and any(isinstance(v, (list, tuple, Mapping)) for v in value):
            waiting += reversed([(f"{name} {place}".strip(), v) for place, v in enumerate(value, 1)])
        else:
            yield name or "all", in_words(value)


def in_words(value: Any) -> str:
    """Return a value as a reader sees it: no brackets or quotes of JSON.

    >>> in_words([1.0, True, None]), in_words({}), in_words("gce")
    ('1, yes, not set', 'none', 'gce')
    """
    if isinstance(value, (list, tuple)):
        return ", ".join(map(in_words, value)) or "none"
    if isinstance(value, Mapping):
        return "none"
    if value is None or isinstance(value, bool) or value == "":
        return WORDS[value]
    return f"{value:.12g}" if isinstance(value, float) else str(value)
