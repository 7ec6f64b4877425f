"""The numbers that the paper prints, and a table of ours with them in between."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources

from autorobustloss.benchmark.table import Block, Cell, Table
from autorobustloss.errors import unknown_name

SOURCE = "paper_numbers.json"


@dataclass(frozen=True)
class PaperRow:
    """A printed row: accuracies and spreads in [0, 1] (None where nothing is printed), average rank from 1."""

    accuracy: tuple[float | None, ...]
    spread: tuple[float | None, ...]
    average_rank: float | None


@dataclass(frozen=True)
class PaperTable:
    """A printed table. columns: (model, data set) or (model, data set, noise); rows: by our name of the method."""

    selection: str
    columns: tuple[tuple[str, ...], ...]
    rows: Mapping[str, PaperRow]
    notes: tuple[str, ...]


@lru_cache(maxsize=1)
def paper_tables() -> Mapping[str, PaperTable]:
    """Return the paper's tables by name; ranks that it prints from 0 are raised by one.

    >>> paper_tables()["table1"].rows["ce"].accuracy[0]
    0.1838
    """
    text = (resources.files("autorobustloss.benchmark") / SOURCE).read_text(encoding="utf-8")
    return {name: _table(raw) for name, raw in json.loads(text)["tables"].items()}


def paper_table(name: str) -> PaperTable:
    """Return a table by name, such as "table1" or "table3-sym"."""
    tables = paper_tables()
    if name not in tables:
        raise unknown_name("table of the paper", name, tables)
    return tables[name]


def beside(
    ours: Table, paper: PaperTable, methods: Sequence[str], columns: Sequence[int | None], differs: Sequence[str] = ()
) -> Table:
    """Return our table under the paper's selection protocol, each row followed by the paper's.

    methods: the paper's name for each of our rows; columns: its column for each of ours, None where it has none.
    differs: how our runs differ from the paper's, for the notes. Rows of the paper that we have not run come last.
    """
    block = ours.block(paper.selection)
    names: list[str] = []
    cells: list[tuple[Cell, ...]] = []
    ranks: list[float | None] = []
    p_values: list[float | None] = []
    cost: list[float | None] = []

    def add(
        name: str, row: tuple[Cell, ...], rank: float | None, p: float | None = None, seconds: float | None = None
    ) -> None:
        names.append(name)
        cells.append(row)
        ranks.append(rank)
        p_values.append(p)
        cost.append(seconds)

    def add_paper(method: str) -> None:
        printed = paper.rows[method]
        name = method if method.endswith("paper)") else f"{method} (paper)"
        add(name, tuple(_cell(printed, column) for column in columns), printed.average_rank)

    for row, method in enumerate(methods):
        add(ours.methods[row], block.cells[row], block.average_ranks[row], block.p_values[row], ours.cost[row])
        if method in paper.rows:
            add_paper(method)
    for method in paper.rows:
        if method not in methods:
            add_paper(method)
    merged: Block = replace(block, cells=tuple(cells), average_ranks=tuple(ranks), p_values=tuple(p_values))
    notes = (*differs, *ours.notes, *paper.notes, "(paper): as printed, which does not say what its ± is")
    return replace(ours, methods=tuple(names), blocks=(merged,), cost=tuple(cost), notes=notes)


def _cell(row: PaperRow, column: int | None) -> Cell:
    mean = None if column is None else row.accuracy[column]
    if column is None or mean is None:
        return Cell(None, reason="not printed")
    return Cell(mean, row.spread[column])


def _table(raw: Mapping[str, object]) -> PaperTable:
    values = dict(raw)
    shift = {0: 1.0, 1: 0.0, None: 0.0}[values["rank_base"]]  # type: ignore[index]
    rows = {}
    for row in values["rows"]:  # type: ignore[attr-defined]
        spread = row.get("spread") or [None] * len(row["accuracy"])
        rank = row.get("average_rank")
        rows[row["method"]] = PaperRow(
            accuracy=tuple(None if a is None else round(a / 100, 6) for a in row["accuracy"]),
            spread=tuple(None if s is None else round(s / 100, 6) for s in spread),
            average_rank=None if rank is None else rank + shift,
        )
    columns = tuple(tuple(column) for column in values["columns"])  # type: ignore[attr-defined]
    return PaperTable(str(values["selection"]), columns, rows, tuple(values["notes"]))  # type: ignore[arg-type]
