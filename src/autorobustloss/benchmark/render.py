"""A table as text, Markdown, LaTeX, CSV or JSON. Accuracies are printed in percent, stored in [0, 1].

Names come from whoever made the data, the folder or the card: each format shows them as text (see `escape`).
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from autorobustloss.benchmark.ranking import Friedman
from autorobustloss.benchmark.table import SELECTIONS, Block, Cell, Table
from autorobustloss.errors import unknown_name
from autorobustloss.escape import csv_cell, latex, markdown, visible

CSV_COLUMNS = (
    *("selection", "method", "task", "mean", "standard_error", "n", "diverged", "choice", "reason"),
    *("average_rank", "p_value", "cost", "at_chance"),
)
UNIT = "%, mean ± standard error over seeds"


def render(table: Table, form: str = "text") -> str:
    """Return a table as "text", "markdown", "latex", "csv" or "json", ending in a newline."""
    if form not in RENDERERS:
        raise unknown_name("table format", form, RENDERERS)
    return RENDERERS[form](table)


def to_text(table: Table) -> str:
    """Return aligned plain text: one block of rows per selection protocol, column heads of several lines."""
    parts = [visible(f"{table.title} ({UNIT})")]
    heads = [visible(label).rsplit("/", 2) for label in table.tasks]
    depth = max((len(h) for h in heads), default=1)
    for heading, block in distinct_blocks(table):
        lines = [["" if line < depth - 1 else "method"] for line in range(depth)]
        for head in heads:
            padded = [""] * (depth - len(head)) + head
            for line, part in zip(lines, padded):
                line.append(part)
        head, *tails = summary(table, block)
        for line in lines:
            line.extend(head if line is lines[-1] else [""] * len(head))
        rows = lines + [
            [visible(method), *(visible(cell_text(c)) for c in cells), *tail]
            for method, cells, tail in zip(table.methods, block.cells, tails)
        ]
        parts.append(f"{heading}:\n{_aligned(rows)}\n{footer(block)}".rstrip())
    explained = "\n".join(map(visible, explanations(table)))
    return "\n\n".join([*parts, explained] if explained else parts) + "\n"


def to_markdown(table: Table) -> str:
    """Return a Markdown table per selection protocol, the best cell of each column in bold."""
    parts = [f"**{markdown(table.title)}** ({UNIT})"]
    for heading, block in distinct_blocks(table):
        best = best_rows(block)
        columns, *tails = summary(table, block)
        head = ["method", *map(markdown, table.tasks), *columns]
        lines = [f"| {' | '.join(head)} |", f"|{' --- |' + ' ---: |' * (len(head) - 1)}"]
        for row, method in enumerate(table.methods):
            shown = [markdown(cell_text(c)) for c in block.cells[row]]
            cells = [f"**{text}**" if row in best[column] else text for column, text in enumerate(shown)]
            lines.append(f"| {' | '.join([markdown(method), *cells, *map(markdown, tails[row])])} |")
        parts.append(f"*{heading}*\n\n" + "\n".join(lines))
        if footer(block):
            parts.append(markdown(footer(block)))
    parts.extend(map(markdown, explanations(table)))
    return "\n\n".join(parts) + "\n"


def to_latex(table: Table) -> str:
    """Return a LaTeX tabular (packages booktabs, and graphicx for the slanted heads) per selection protocol."""
    parts = []
    for heading, block in distinct_blocks(table):
        best = best_rows(block)
        columns, *tails = summary(table, block)
        heads = " & ".join(rf"\rotatebox{{60}}{{{latex(label)}}}" for label in (*table.tasks, *columns))
        lines = [
            rf"\begin{{tabular}}{{l{'r' * (len(table.tasks) + len(columns))}}}",
            r"\toprule",
            rf"method & {heads} \\",
            r"\midrule",
        ]
        for row, method in enumerate(table.methods):
            cells = []
            for column, cell in enumerate(block.cells[row]):
                text = latex(cell_text(cell))
                cells.append(rf"\textbf{{{text}}}" if row in best[column] else text)
            lines.append(" & ".join([latex(method), *cells, *map(latex, tails[row])]) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        comment = visible(f"% {table.title} ({UNIT}); {heading}")
        notes = "".join(f"\n% {visible(line)}" for line in [footer(block), *explanations(table)] if line)
        parts.append(comment + "\n" + "\n".join(lines) + notes)
    return "\n\n".join(parts) + "\n"


def to_csv(table: Table) -> str:
    """Return one line per selection protocol, method and task; accuracies in [0, 1], empty where absent."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for block in table.blocks:
        for row, method in enumerate(table.methods):
            for task, c in zip(table.tasks, block.cells[row]):
                own = [c.mean, c.error, c.n, c.diverged, csv_cell(c.choice), csv_cell(c.reason)]
                ranked = [block.average_ranks[row], block.p_values[row]] if block.telling else [None, None]
                whole = [*ranked, table.cost[row], int(c.chance)]
                writer.writerow([block.selection, csv_cell(method), csv_cell(task), *own, *whole])
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
    headings: list[list[str]] = []
    distinct: list[Block] = []
    for block in table.blocks:
        alike = [i for i, known in enumerate(distinct) if replace(known, selection=block.selection) == block]
        if alike:
            headings[alike[0]].append(SELECTIONS[block.selection].partition(":")[0])
        else:
            distinct.append(block)
            headings.append([SELECTIONS[block.selection]])
    return [("; the same at the ".join(named), block) for named, block in zip(headings, distinct)]


def distinct_tables(tables: Iterable[Table]) -> list[Table]:
    """Return the tables, those of equal content once, with a note that names the others."""
    distinct: list[Table] = []
    for table in tables:
        for i, known in enumerate(distinct):
            if (table.methods, table.tasks, table.blocks) == (known.methods, known.tasks, known.blocks):
                distinct[i] = replace(known, notes=(*known.notes, f"the same table: {table.title}"))
                break
        else:
            distinct.append(table)
    return distinct


def footer(block: Block) -> str:
    """Return the significance of a block in one line, "" where there is too little to test, or nothing to tell."""
    if block.friedman is None or block.critical_difference is None or not block.telling:
        return ""
    test = block.friedman
    f = f"F = {test.f:.2f}," if math.isfinite(test.f) else "all tasks rank the methods alike, of which exactly"
    return (
        f"Friedman: χ² = {test.chi2:.2f}, {_p_is(test.p_chi2)}; {f} {_p_is(test.p_f)}; "
        f"Nemenyi (α = 0.05): ranks {block.critical_difference:.2f} apart differ; "
        f"{test.methods} methods, {test.tasks} tasks"
    )


def summary(table: Table, block: Block) -> list[list[str]]:
    """Return what follows the cells of a block: heads, then a line per method.

    The rank only where some network is above chance, p only where some is below 1, the cost where it is known.
    """
    columns = [["rank", *map(rank_text, block.average_ranks)]] if block.telling else []
    if _told_apart(block):
        columns.append(["p", *map(p_text, block.p_values)])
    if any(c is not None for c in table.cost):
        columns.append(["cost", *map(cost_text, table.cost)])
    return [list(line) for line in zip(*columns)] or [[] for _ in range(len(table.methods) + 1)]


def cell_text(cell: Cell) -> str:
    """Return a cell in percent, "–" for an absent one."""
    if cell.mean is None:
        return "–"
    text = f"{100 * cell.mean:.2f}" + ("" if cell.error is None else f" ± {100 * cell.error:.2f}")
    choice = f" ({cell.choice})" if cell.choice else ""
    marks = ("†" if cell.diverged else "") + ("‡" if cell.chance else "") + ("*" if cell.incomplete else "")
    return text + marks + choice


def rank_text(value: float | None) -> str:
    """Return an average rank."""
    return "–" if value is None else f"{value:.2f}"


def p_text(value: float | None) -> str:
    """Return a p-value."""
    return "–" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


def cost_text(value: float | None) -> str:
    """Return a cost relative to cross-entropy, no finer than times on a machine repeat."""
    return "–" if value is None else f"{value:.1f}×"


def _p_is(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def best_rows(block: Block) -> list[set[int]]:
    """Return for each column the rows whose printed mean is the highest."""
    columns = []
    for column in range(len(block.cells[0]) if block.cells else 0):
        means = [(row[column].mean, row[column].n) for row in block.cells]  # n = 0: quoted, not ours
        printed = [None if m is None or not n else round(100 * m, 2) for m, n in means]
        top = max((p for p in printed if p is not None), default=None)
        columns.append({row for row, p in enumerate(printed) if p is not None and p == top})
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
    tested = next((block.friedman for block in table.blocks if block.friedman is not None and block.telling), None)
    if tested is not None:
        what = "p" if any(map(_told_apart, table.blocks)) else "p = 1 throughout"
        lines.append(f"{what}: Wilcoxon test against the best rank, Holm-adjusted over all pairs{_at_least(tested)}")
    cells = [c for block in table.blocks for row in block.cells for c in row if c.reason]
    reasons = dict.fromkeys(("–:" if c.mean is None else "* some seeds are missing:", c.reason) for c in cells)
    return lines + [f"{mark} {text}" for mark, text in reasons if not any(text in note for note in table.notes)]


def _told_apart(block: Block) -> bool:
    return block.telling and any(p is not None and p < 1 for p in block.p_values)


def _at_least(test: Friedman) -> str:
    """Say how small p can be, where that is not below 0.05: N tasks have 2^N patterns of signs, for many pairs."""
    smallest = test.methods * (test.methods - 1) * 2.0**-test.tasks
    return f"; with {test.tasks} tasks it is at least {min(1.0, smallest):.2g}" if smallest > 0.05 else ""


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Pad columns to equal width, the first to the left and the rest to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths))).rstrip()
        for row in rows
    )
