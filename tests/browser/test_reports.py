"""Reports as their readers meet them: each loads alone, fits a phone, sorts, tells values, changes its theme."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

from autorobustloss.benchmark.table import Table
from autorobustloss.report.conclusion import standings
from autorobustloss.report.folder import folder_page

KINDS = ("bench", "search", "labels")
WIDTHS = (360, 800, 1280)


@pytest.fixture
def table(runs):
    """Return the table of the benchmark as it is stored."""
    return Table.from_dict(json.loads((runs / "bench" / "table-published.json").read_text()))


def column(page, number):
    """Return the texts of a column of the first table that sorts."""
    return page.locator("table.sortable").first.locator(f"tbody tr > :nth-child({number})").all_inner_texts()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_loads_alone_fits_and_is_accessible(kind, theme, reports, opened, faults_of):
    with opened(reports[kind], theme=theme) as page:
        page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert faults_of(page) == []
        back = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", back)[:3])) < 200) == (theme == "dark")


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_script_all_can_be_read(kind, reports, opened):
    with opened(reports[kind], width=800, java_script_enabled=False) as page:
        assert page.locator("button:visible, input:visible").count() == 0
        assert page.locator("main h1").is_visible()
        text = page.locator("main").inner_text()
        assert "{" not in text
        assert "null" not in text
        for image in page.locator("img").all():
            assert len(image.get_attribute("alt")) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_no_cell_looks_empty_and_a_dash_says_why(kind, reports, opened):
    with opened(reports[kind]) as page:
        cells = page.locator("td, th").evaluate_all("all => all.map(each => each.textContent.trim())")
    assert len(cells) > 30
    assert all(cells)
    assert all(re.fullmatch(r"— \(.+\)", text) for text in cells if text.startswith("—"))


def test_the_conclusion_is_the_tables(reports, opened, table):
    best, second, *_ = standings(table, table.block())
    with opened(reports["bench"]) as page:
        said = page.locator(".conclusion").inner_text()
    assert best.name in said
    assert f"{best.mean:.1f} %" in said
    assert best.rank == second.rank or f"{abs(best.mean - second.mean):.1f} points" in said


def test_columns_sort_by_mouse_and_by_key(reports, opened, table):
    names = {name: 100 * cells[0].mean for name, cells in zip(table.methods, table.block().cells)}
    ranks = dict(zip(table.methods, table.block().average_ranks))
    with opened(reports["bench"]) as page:
        head = page.locator("table.sortable").first.locator("thead th")
        assert column(page, 1) == sorted(ranks, key=ranks.get)
        assert head.nth(len(table.tasks) + 1).get_attribute("aria-sort") == "ascending"
        head.nth(1).get_by_role("button").click()
        assert head.nth(1).get_attribute("aria-sort") == "descending"
        assert [names[name] for name in column(page, 1)] == sorted(names.values(), reverse=True)
        head.nth(1).get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert head.nth(1).get_attribute("aria-sort") == "ascending"
        assert [names[name] for name in column(page, 1)] == sorted(names.values())
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Space")
        assert column(page, 1) == sorted(names)
        assert head.evaluate_all("all => all.filter(each => each.hasAttribute('aria-sort')).length") == 1


def test_curves_tell_their_values_to_mouse_and_keys(reports, opened, runs):
    panels = json.loads((runs / "bench" / "curves.json").read_text())["panels"]
    first = next(panel for panel in panels if panel["of"] == "test")
    with opened(reports["bench"]) as page:
        figure = page.locator("figure.chart").first
        zones = figure.locator(".panel").nth(1).locator(".zone")
        zones.nth(1).hover()
        for curve in first["curves"]:
            assert f"{curve['method']} {100 * curve['mean'][1]:.1f}" in readout_of(figure, 1)
        slider = figure.get_by_role("slider")
        slider.focus()
        page.keyboard.press("ArrowRight")
        assert readout_of(figure, 1).startswith("epoch 3: ")
        for curve in first["curves"]:
            assert f"{curve['method']} {100 * curve['mean'][2]:.1f}" in slider.get_attribute("aria-valuetext")
        assert figure.locator(".guide.on").count() == 3


def readout_of(figure, number):
    return figure.locator(".panel").nth(number).locator(".readout").inner_text()


def test_pictures_say_their_figures(reports, opened, table):
    with opened(reports["bench"]) as page:
        alt = page.get_by_role("img").first.get_attribute("aria-label")
    for name, rank in zip(table.methods, table.block().average_ranks):
        assert f"{name} {rank:.2f}" in alt


def test_formulas_are_shown_as_formulas(reports, opened):
    with opened(reports["search"]) as page:
        formula = page.locator("math").first
        assert formula.is_visible()
        assert page.locator("math mfrac").first.bounding_box()["height"] > 15
        assert formula.evaluate("each => each.namespaceURI") == "http://www.w3.org/1998/Math/MathML"


def test_the_theme_is_switched_and_remembered(reports, opened):
    dark = "getComputedStyle(document.body).backgroundColor"
    with opened(reports["bench"]) as page:
        before = page.evaluate(dark)
        page.get_by_role("button", name="Dark theme").click()
        after = page.evaluate(dark)
        assert after != before
        page.reload()
        assert page.evaluate(dark) == after
        page.get_by_role("button", name="Light theme").click()
        assert page.evaluate(dark) == before


def test_the_first_tab_skips_to_the_content(reports, opened):
    with opened(reports["bench"]) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        assert page.get_by_role("main").count() == 1
        levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(each => Number(each.tagName[1]))")
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))


def test_on_paper_nothing_is_folded_or_dark(reports, opened):
    with opened(reports["bench"], theme="dark") as page:
        inside = page.locator("details pre")
        assert not inside.is_visible()
        page.emulate_media(media="print", color_scheme="dark")
        page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert inside.is_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert page.locator("details[open]").count() == 0


def test_runs_share_a_page(runs, opened, faults_of, tmp_path):
    (tmp_path / "all.html").write_text(folder_page(runs / "bench", runs / "search"), encoding="utf-8")
    with opened(tmp_path / "all.html", width=360) as page:
        assert page.locator("article").count() == 2
        assert page.locator(".conclusion").count() == 2
        assert faults_of(page) == []


def test_names_of_a_stranger_are_texts_and_run_nothing(runs, opened, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.json", "manifest.json", "table-published.json", "curves.json", "provenance.json"):
        text = (runs / "bench" / name).read_text()
        attack = "<img src=x onerror=document.title='taken'>"
        (folder / name).write_text(
            text.replace('"gce"', json.dumps(attack)).replace("digits/", json.dumps(attack)[1:-1])
        )
    (tmp_path / "page.html").write_text(folder_page(folder), encoding="utf-8")
    with opened(tmp_path / "page.html") as page:
        assert page.title() == "Benchmark: run"
        assert page.locator("img").count() == 0
        assert "onerror=document.title" in page.locator("main").inner_text()
