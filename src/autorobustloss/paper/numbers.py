"""The numbers that the paper prints, and a table of ours with them in between."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from typing import Any

from autorobustloss.benchmark.table import Cell, Table

NOT_PRINTED = Cell(None, reason="not printed")


@dataclass(frozen=True)
class PaperTable:
    """A printed table. columns: (model, data set) or (model, data set, noise).

    rows: by our name of the method its cells, accuracies and spreads in [0, 1]. ranks: average ranks, counted from 1.
    """

    selection: str
    columns: tuple[tuple[str, ...], ...]
    rows: Mapping[str, tuple[Cell, ...]]
    ranks: Mapping[str, float | None]
    notes: tuple[str, ...]


@lru_cache(maxsize=1)
def paper_tables() -> Mapping[str, PaperTable]:
    """Return the paper's tables by name; ranks that it prints from 0 are raised by one.

    >>> paper_tables()["table1"].rows["ce"][0].mean
    0.1838
    """
    text = (resources.files("autorobustloss.paper") / "numbers.json").read_text(encoding="utf-8")
    return {name: _table(raw) for name, raw in json.loads(text)["tables"].items()}


def beside(ours: Table, paper: PaperTable) -> Table:
    """Return our table under the paper's selection protocol, each row followed by the paper's.

    Our rows have the paper's names, and our first columns are the paper's, which prints no others. Rows of the paper
    that we have not run come last.
    """
    block = ours.block(paper.selection)
    own = zip(ours.methods, block.cells, block.average_ranks, block.p_values, ours.cost)
    rows: dict[str, list[Any]] = {method: [row] for method, row in zip(ours.methods, own)}
    for method, printed in paper.rows.items():
        name = method if method.endswith("paper)") else f"{method} (paper)"
        whole = (*printed, *[NOT_PRINTED] * (len(ours.tasks) - len(printed)))
        rows.setdefault(method, []).append((name, whole, paper.ranks[method], None, None))
    columns: list[tuple[Any, ...]] = list(zip(*(row for pair in rows.values() for row in pair)))
    names, cells, ranks, p_values, cost = columns
    merged = replace(block, cells=cells, average_ranks=ranks, p_values=p_values)
    notes = (*ours.notes, *paper.notes, "(paper): as printed, which does not say what its ± is")
    return replace(ours, methods=names, blocks=(merged,), cost=cost, notes=notes)


def _table(raw: Mapping[str, Any]) -> PaperTable:
    above = 1.0 if raw["rank_base"] == 0 else 0.0
    ranks = {row["method"]: row.get("average_rank") for row in raw["rows"]}
    return PaperTable(
        selection=raw["selection"],
        columns=tuple(tuple(column) for column in raw["columns"]),
        rows={row["method"]: _cells(row) for row in raw["rows"]},
        ranks={method: None if rank is None else rank + above for method, rank in ranks.items()},
        notes=tuple(raw["notes"]),
    )


def _cells(row: Mapping[str, Any]) -> tuple[Cell, ...]:
    spreads = row.get("spread") or [None] * len(row["accuracy"])
    return tuple(
        NOT_PRINTED if mean is None else Cell(round(mean / 100, 6), None if spread is None else round(spread / 100, 6))
        for mean, spread in zip(row["accuracy"], spreads)
    )
