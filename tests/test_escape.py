"""Names are data in every format: nothing that a renderer, a spreadsheet or a terminal would obey gets through."""

import csv
import io
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss import escape
from autorobustloss.benchmark.render import render
from autorobustloss.benchmark.table import Block, Cell, Table

SIGNS = "<>|&*_[](){}`~^\\#$%'\"=+-@;!\n\r\t\x00\x1b\u202e\udcff é"
NAMES = st.text(st.sampled_from(SIGNS + "abc1") | st.characters(), max_size=20)
HOSTILE = ("<img src=x onerror=alert(1)>", "a|b\nc", "=cmd|'/C calc'!A1", "\x1b[2Jx", "[a](javascript:x)", "\\end{a}")


def table(methods, tasks, title="t", notes=()):
    cells = tuple(tuple(Cell(0.5 + 0.1 * i, n=1) for _ in tasks) for i in range(len(methods)))
    ranks = tuple(float(i + 1) for i in range(len(methods)))
    block = Block("last", cells, ranks, len(tasks), None, None, (None,) * len(methods))
    return Table(title, tuple(methods), tuple(tasks), (block,), (1.0,) * len(methods), tuple(notes))


@given(NAMES)
def test_what_is_visible_is_one_printable_line(text):
    assert escape.visible(text).isprintable()
    assert escape.visible(escape.visible(text)) == escape.visible(text)


@given(NAMES)
def test_markdown_signs_are_escaped(text):
    shown = escape.markdown(text)
    bare = re.sub(r"\\[\\`*\[|~$_#+-]", "", shown)
    assert not set("<>|*`[~$\\\n") & set(bare)
    assert not re.search(r"&(?!(amp|lt|gt);)", bare)
    assert not re.match(r"[#+-]", bare) or shown.startswith("\\")


@given(NAMES)
def test_latex_has_no_command_but_those_of_the_table(text):
    shown = escape.latex(text)
    known = (
        r"\\(text(backslash|ascii(tilde|circum|grave)|less|greater|bar|quotedbl|quotesingle)\{\}|dots\{\}|[&%$#_{}])"
    )
    bare = re.sub(r"\$[^$]*\$", "", re.sub(known, "", shown))
    assert not set('\\&%$#_~^<>|"') & set(bare), shown
    assert bare.count("{") == bare.count("}") == bare.count("[") + bare.count("]")


@given(NAMES)
def test_csv_cells_are_no_formulas(text):
    out = io.StringIO()
    csv.writer(out).writerow([escape.csv_cell(text)])
    ((cell,),) = csv.reader(io.StringIO(out.getvalue()))
    assert cell.lstrip(" '\"")[:1] not in ("=", "+", "-", "@") or cell.startswith("'")
    assert "\n" not in cell


@given(st.text(max_size=300), st.integers(5, 100))
def test_clipped_keeps_both_ends(text, length):
    shown = escape.clipped(text, length)
    assert len(shown) <= max(length, 0) or shown == text
    assert shown[:1] == text[:1]
    assert shown[-1:] == text[-1:]


@pytest.mark.parametrize("name", HOSTILE)
def test_every_place_of_a_table_shows_names_as_text(name):
    odd = table([name, "mae"], [f"{name}/linear/clean", "wine/linear/clean"], title=name, notes=[name])
    odd = replace(
        odd, blocks=(replace(odd.blocks[0], cells=((Cell(None, reason=name), Cell(0.5, n=1, choice=name)),) * 2),)
    )
    shown = {form: render(odd, form) for form in ("text", "markdown", "latex", "csv")}
    for text in shown.values():
        assert all(line.isprintable() for line in text.splitlines())
    assert "<img" not in shown["markdown"]
    plain = table(["ce", "mae"], ["a/linear/clean", "wine/linear/clean"], notes=["n"])
    rows = [line for line in render(plain, "markdown").splitlines() if line.startswith("|")]
    found = [line for line in shown["markdown"].splitlines() if line.startswith("|")]
    columns = [len(re.findall(r"(?<!\\)\|", line)) for line in rows]
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in found] == columns
    assert all(
        not row[i].startswith(("=", "+", "-", "@")) for row in csv.reader(io.StringIO(shown["csv"])) for i in (1, 2)
    )
    assert "\\end{a}" not in "".join(line for line in shown["latex"].splitlines() if not line.startswith("%"))
