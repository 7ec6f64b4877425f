"""A table as text, Markdown, LaTeX, CSV or JSON. Accuracies are printed in percent, stored in [0, 1].

Names come from whoever made the data, the folder or the card: each format shows them as text (see `escape`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from autorobustloss import columns
from autorobustloss.benchmark.table import SELECTIONS, Block, Cell, Table
from autorobustloss.errors import unknown_name
from autorobustloss.escape import csv_cell, latex, markdown, visible

CSV_COLUMNS = (
    *("selection", "method", "task", "mean", "standard_error", "n", "diverged", "choice", "reason"),
    *("average_rank", "p_value", "cost", "at_chance", "epoch"),
)
UNIT = "%, mean ± standard error over seeds"


def render(table: Table, form: str = "text", width: int = columns.WIDTH) -> str:
    """Return a table as "text", "markdown", "latex", "csv" or "json", ending in a newline; width: of text only."""
    if form not in RENDERERS:
        raise unknown_name("table format", form, RENDERERS)
    return to_text(table, width) if form == "text" else RENDERERS[form](table)


def sheets(table: Table, escape: Callable[[str], str], best: str = "{}") -> list[tuple[str, list[list[str]], str]]:
    """Return the blocks of a table as texts: what heads each, rows, of which the first has heads, what is below.

    The rows are escaped. best: what the best cell of a column is put into.
    """
    found = []
    for heading, block in distinct_blocks(table):
        heads, *tails = summary(table, block)
        top = best_rows(block)
        rows = [["method", *map(escape, [*table.tasks, *heads])]]
        for row, (method, cells, tail) in enumerate(zip(table.methods, block.cells, tails)):
            shown = [escape(cell_text(cell)) for cell in cells]
            marked = [best.format(text) if row in top[column] else text for column, text in enumerate(shown)]
            rows.append([escape(method), *marked, *map(escape, tail)])
        found.append((heading, rows, footer(block)))
    return found


def to_text(table: Table, width: int = columns.WIDTH) -> str:
    """Return aligned plain text: one block of rows per selection protocol, column heads of several lines.

    What is wider than `width` becomes several blocks, one below the other (see `columns.table`).
    """
    parts = [columns.wrapped(visible(f"{table.title} ({UNIT})"), width)]
    for heading, (top, *rows), below in sheets(table, visible):
        heads = [head.rsplit("/", 2) for head in top]
        depth = max(map(len, heads))
        lines = zip(*([""] * (depth - len(head)) + head for head in heads))
        above, under = (columns.wrapped(text, width) for text in (f"{heading}:", below))
        shown = columns.table(list(lines), rows, width, together=len(top) - 1 - len(table.tasks))
        parts.append(f"{above}\n{shown}\n{under}".rstrip())
    explained = columns.wrapped("\n".join(map(visible, explanations(table))), width)
    return "\n\n".join([*parts, explained] if explained else parts) + "\n"


def to_markdown(table: Table) -> str:
    """Return a Markdown table per selection protocol, the best cell of each column in bold."""
    parts = [f"**{markdown(table.title)}** ({UNIT})"]
    for heading, (heads, *rows), below in sheets(table, markdown, "**{}**"):
        rule = ["---", *["---:"] * (len(heads) - 1)]
        lines = [f"| {' | '.join(row)} |" for row in (heads, rule, *rows)]
        parts += [f"*{heading}*\n\n" + "\n".join(lines), markdown(below)]
    return "\n\n".join(filter(None, [*parts, *map(markdown, explanations(table))])) + "\n"


def to_latex(table: Table) -> str:
    """Return a LaTeX tabular (packages booktabs, and graphicx for the slanted heads) per selection protocol."""
    parts = []
    for heading, ((method, *heads), *rows), below in sheets(table, latex, r"\textbf{{{}}}"):
        slanted = [method, *(rf"\rotatebox{{60}}{{{head}}}" for head in heads)]
        lines = [
            visible(f"% {table.title} ({UNIT}); {heading}"),
            rf"\begin{{tabular}}{{l{'r' * len(heads)}}}",
            r"\toprule",
            " & ".join(slanted) + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {visible(line)}" for line in [below, *explanations(table)] if line),
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def to_csv(table: Table) -> str:
    """Return one line per selection protocol, method and task; accuracies in [0, 1], empty where absent."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for block in table.blocks:
        for row, method in enumerate(table.methods):
            for task, c in zip(table.tasks, block.cells[row]):
                ranked = [block.average_ranks[row], block.p_values[row]] if block.telling else [None, None]
                numbers = [*ranked, table.cost[row], int(c.chance), c.epoch]
                values = [block.selection, method, task, c.mean, c.error, c.n, c.diverged, c.choice, c.reason, *numbers]
                writer.writerow([csv_cell(value) if isinstance(value, str) else value for value in values])
    return out.getvalue()


def to_json(table: Table) -> str:
    """Return the whole table as JSON."""
    return json.dumps(table.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


RENDERERS: Mapping[str, Callable[[Table], str]] = {
    "text": to_text,
    "markdown": to_markdown,
    "latex": to_latex,
    "csv": to_csv,
    "json": to_json,
}


def distinct_blocks(table: Table) -> list[tuple[str, Block]]:
    """Return the blocks with what heads each; those of equal content, as after a single epoch, are one."""
    found: dict[Block, tuple[list[str], Block]] = {}
    for block in table.blocks:
        named, content = SELECTIONS[block.selection], replace(block, selection="")
        same, shown = found.setdefault(content, ([], content))
        same.append(named.partition(":")[0] if same else named)
        told = any(cell.epoch is not None for row in content.cells for cell in row)
        found[content] = same, content if told else shown
    return [("; the same at the ".join(named), block) for named, block in found.values()]


def distinct_tables(tables: Iterable[Table]) -> list[Table]:
    """Return the tables, those of equal content once, with a note that names the others."""
    distinct: dict[object, Table] = {}
    for table in tables:
        content = (table.methods, table.tasks, table.blocks)
        known = distinct.setdefault(content, table)
        if known is not table:
            distinct[content] = replace(known, notes=(*known.notes, f"the same table: {table.title}"))
    return list(distinct.values())


def footer(block: Block) -> str:
    """Return the significance of a block in one line, "" where there is too little to test, or nothing to tell."""
    if block.friedman is None or block.critical_difference is None or not block.telling:
        return ""
    test = block.friedman
    f = "all tasks rank the methods alike, of which exactly" if test.f is None else f"F = {test.f:.2f},"
    return (
        f"Friedman: χ² = {test.chi2:.2f}, {_p_is(test.p_chi2)}; {f} {_p_is(test.p_f)}; "
        f"Nemenyi (α = 0.05): ranks {block.critical_difference:.2f} apart differ; "
        f"{test.methods} methods, {test.tasks} tasks"
    )


def summary(table: Table, block: Block) -> list[list[str]]:
    """Return what follows the cells of a block: heads, then a line per method.

    The rank only where some network is above chance, p only where some is below 1, the cost where it is known; that
    is relative to cross-entropy, and no finer than times on a machine repeat.
    """
    columns = []
    if block.telling:
        columns.append(["rank", *("–" if r is None else f"{r:.2f}" for r in block.average_ranks)])
    if _told_apart(block):
        columns.append(["p", *(_p(p) for p in block.p_values)])
    if any(c is not None for c in table.cost):
        columns.append(["cost", *("–" if c is None else f"{c:.1f}×" for c in table.cost)])
    return [list(line) for line in zip(*columns)] or [[] for _ in range(len(table.methods) + 1)]


def cell_text(cell: Cell) -> str:
    """Return a cell in percent, "–" for an absent one."""
    if cell.mean is None:
        return "–"
    text = f"{100 * cell.mean:.2f}" + ("" if cell.error is None else f" ± {100 * cell.error:.2f}")
    epoch = "" if cell.epoch is None else f"epoch {cell.epoch:g}"
    choice = f" ({', '.join(filter(None, [cell.choice, epoch]))})" if cell.choice or epoch else ""
    marks = ("†" if cell.diverged else "") + ("‡" if cell.chance else "") + ("*" if cell.incomplete else "")
    return text + marks + choice


def best_rows(block: Block) -> list[set[int]]:
    """Return for each column the rows whose printed mean is the highest; what is quoted (n = 0) is none of ours."""
    columns = []
    for column in zip(*block.cells):
        printed = {row: round(100 * c.mean, 2) for row, c in enumerate(column) if c.mean is not None and c.n}
        columns.append({row for row, mean in printed.items() if mean == max(printed.values())})
    return columns


def explanations(table: Table) -> list[str]:
    """Return the lines below a table: notes, what cost means, why cells are absent."""
    lines = list(table.notes)
    if any(c is not None for c in table.cost):
        lines.append(
            "cost: seconds per epoch over those of ce on the same machine, while other trainings ran: a rough figure"
        )
    elif any(c.n for block in table.blocks for row in block.cells for c in row):
        lines.append("no cost: it needs ce, and times that agree from seed to seed, on one machine")
    if tested := [block.friedman for block in table.blocks if block.friedman is not None and block.telling]:
        what = "p" if any(map(_told_apart, table.blocks)) else "p = 1 throughout"
        # N tasks have 2^N patterns of signs, for many pairs: where p cannot be below 0.05, that is said.
        smallest = tested[0].methods * (tested[0].methods - 1) * 2.0 ** -tested[0].tasks
        limit = f"; with {tested[0].tasks} tasks it is at least {min(1.0, smallest):.2g}" if smallest > 0.05 else ""
        lines.append(f"{what}: Wilcoxon test against the best rank, Holm-adjusted over all pairs{limit}")
    cells = [c for block in table.blocks for row in block.cells for c in row if c.reason]
    reasons = dict.fromkeys(("–:" if c.mean is None else "* some seeds are missing:", c.reason) for c in cells)
    return lines + [f"{mark} {text}" for mark, text in reasons if not any(text in note for note in table.notes)]


def _told_apart(block: Block) -> bool:
    return block.telling and any(p is not None and p < 1 for p in block.p_values)


def _p(value: float | None) -> str:
    return "–" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def _p_is(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"
