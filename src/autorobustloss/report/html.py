"""One self-contained HTML page of a run: tables, pictures, the learned loss, configuration, provenance.

Pictures are SVG embedded as data, shown by <img>: nothing is loaded from elsewhere, and no script that a stranger's
picture may hold is run. Every text is escaped.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from autorobustloss.benchmark.render import (
    UNIT,
    best_rows,
    cell_text,
    distinct_blocks,
    explanations,
    footer,
    summary,
)
from autorobustloss.benchmark.table import Block, Table
from autorobustloss.escape import html as escape

STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #59636e; --line: #d9dee3; --tint: #f4f8fb; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.25rem 4rem; color: var(--ink); background: #fff;
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; } figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption, caption { color: var(--soft); font-size: .9rem; text-align: left; padding: .25rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; margin: 1rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
thead th { border-bottom: 2px solid var(--ink); vertical-align: bottom; white-space: pre-line; font-weight: 600; }
td.best { font-weight: 700; color: var(--accent); } tr.quoted td { color: var(--soft); }
pre { background: var(--tint); padding: .8rem 1rem; overflow-x: auto; font-size: .85rem; border-radius: 4px; }
details summary { cursor: pointer; color: var(--accent); }
@media print { details { display: block; } body { max-width: none; } }
"""

Section = tuple[str, str]
"""A heading and its HTML."""


def page(title: str, sections: Sequence[Section], lead: str = "") -> str:
    """Return a whole HTML page; `title` and `lead` are plain text, the bodies of `sections` are HTML."""
    bodies = "\n".join(f"<section>\n<h2>{escape(name)}</h2>\n{body}\n</section>" for name, body in sections)
    intro = f'<p class="soft">{escape(lead)}</p>\n' if lead else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{intro}{bodies}\n</body>\n</html>\n"
    )


def picture(svg: bytes, caption: str) -> str:
    """Return an SVG as an embedded picture with a caption that also serves screen readers."""
    data = base64.b64encode(svg).decode("ascii")
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/svg+xml;base64,{data}"><figcaption>{text}</figcaption></figure>'


def table_html(table: Table) -> str:
    """Return a table, one HTML table per selection protocol, the best cell of each column set off."""
    parts = [_block_html(table, heading, block) for heading, block in distinct_blocks(table)]
    notes = "".join(f"<li>{escape(line)}</li>" for line in explanations(table))
    return "\n".join(parts) + (f'\n<ul class="soft">{notes}</ul>' if notes else "")


def _block_html(table: Table, heading: str, block: Block) -> str:
    best = best_rows(block)
    columns, *tails = summary(table, block)
    heads = "".join(f'<th scope="col">{_broken(text)}</th>' for text in (*table.tasks, *columns))
    rows = []
    for row, method in enumerate(table.methods):
        cells = block.cells[row]
        shown = "".join(
            f"<td{_attributes(row in best[column], cell.reason)}>{escape(cell_text(cell))}</td>"
            for column, cell in enumerate(cells)
        )
        tail = "".join(f"<td>{escape(text)}</td>" for text in tails[row])
        quoted = ' class="quoted"' if any(cell.mean is not None and not cell.n for cell in cells) else ""
        rows.append(f'<tr{quoted}><th scope="row">{escape(method)}</th>{shown}{tail}</tr>')
    below = f'<p class="soft">{escape(footer(block))}</p>' if footer(block) else ""
    caption = f"{table.title} ({UNIT}); {heading}"
    return (
        f'<div class="wide"><table>\n<caption>{escape(caption)}</caption>\n'
        f'<thead><tr><th scope="col">method</th>{heads}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + f"\n</tbody></table></div>\n{below}"
    )


def mapping_html(values: Mapping[str, Any]) -> str:
    """Return names and values as a two-column table."""
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(_short(value))}</td></tr>'
        for name, value in values.items()
    )
    return f'<div class="wide"><table><tbody>{rows}</tbody></table></div>'


def json_html(values: Any, summary: str) -> str:
    """Return a JSON value folded away behind a line."""
    text = json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False)
    return f"<details><summary>{escape(summary)}</summary><pre>{_lines(text)}</pre></details>"


def _attributes(best: bool, reason: str) -> str:
    return (' class="best"' if best else "") + (f' title="{escape(reason)}"' if reason else "")


def _broken(label: str) -> str:
    return "\n".join(map(escape, label.rsplit("/", 2)))


def _lines(text: str) -> str:
    return "\n".join(map(escape, text.split("\n")))


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
