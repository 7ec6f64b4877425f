"""Whatever is printed fits its width, and nothing of it is lost."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autorobustloss.columns import cells, cut, listing, shortened, table, wrapped

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=150)
WIDTHS = st.sampled_from([40, 80, 100])


@settings(max_examples=40)
@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=5), st.integers(1, 30), WIDTHS)
def test_a_table_fits_and_has_every_cell(names, tasks, width):
    heads = [["task", "loss", *(f"head{t}" for t in range(tasks))]]
    rows = [[*pair, *(f"{row}.{t} ± 1.00" for t in range(tasks))] for row, pair in enumerate(names)]
    text = table(heads, rows, width, left=2)
    assert max(map(cells, text.split("\n"))) <= width
    for row in rows:
        for cell in row[2:]:
            assert len(re.findall(rf"(?<![\d.]){re.escape(cell)}", text)) == 1


@given(st.lists(NAMES, max_size=8), st.integers(4, 60))
def test_cut_names_stay_different(names, most):
    found = shortened(names, most)
    assert len(set(found.values())) == len(found) == len(set(names))
    assert all(cells(short) <= most for short in found.values())
    assert all(found[name] == name for name in names if cells(name) <= most)


@given(st.lists(NAMES, max_size=40).map(" ".join), st.integers(20, 100))
def test_wrapped_text_fits_and_is_whole(text, width):
    lines = wrapped(text, width).split("\n")
    assert all(cells(line) <= width for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


@pytest.mark.parametrize("width", [80, 100])
def test_a_name_that_was_cut_is_told_in_full(width):
    names = [f"taylor(theta=[{', '.join(str(n + k) for n in range(60))}])" for k in range(2)]
    text = table([["method", "accuracy"]], [[name, "50.0"] for name in names], width)
    told = "".join(text.split("\n\n")[1].split())
    assert all("".join(name.split()) in told for name in names)


def test_a_listing_fits():
    text = listing([("f" * 90, "says " * 30), ("数字" * 30, "数字" * 90)], 80)
    assert max(map(cells, text.split("\n"))) <= 80
    assert text.count("says") == 30
    assert text.count("字") == 120


def test_the_middle_is_cut():
    assert cut("abcdefghij", 5) == "ab…ij"
    assert cells(cut("数字数字数字", 5)) <= 5
