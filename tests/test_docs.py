"""The documentation: its Python runs, its commands parse, its links lead somewhere, its ranks are the tables'."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

from autorobustloss.cli.main import parse

ROOT = Path(__file__).parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
CONFIGS = [*ROOT.glob("searches/**/*.toml"), *ROOT.glob("docs/**/*.toml")]
RANKS = ROOT / "docs" / "evidence" / "ranks.py"
GATED = ROOT / "searches" / "gated"


def blocks(language):
    """Return the fenced blocks of a language in all pages, each with the page's name."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.M | re.S)
    return [(page.name, block) for page in PAGES for block in pattern.findall(page.read_text(encoding="utf-8"))]


def commands():
    """Return each `arl` command that a page or the head of a configuration shows, as its arguments."""
    shown = [block for _, block in blocks("bash")]
    for path in CONFIGS:
        shown += re.findall(r"^#   ((?:arl|python) .*)", path.read_text(encoding="utf-8"), re.M)
    found = []
    for line in "\n".join(shown).replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=";&|")
        words.whitespace_split = True
        sentence = []
        for word in (*words, ";"):
            if word not in (";", "&&", "|", "do"):
                sentence.append("1" if word in ("N", "$seed") else word)
                continue
            if sentence and sentence[0].endswith("arl"):
                found.append(sentence[1:])
            sentence = []
    return sorted({tuple(arguments) for arguments in found})


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_python_runs(page, code):
    exec(compile("import autorobustloss, torch\n" + code, page, "exec"), {})


def test_there_are_commands():
    assert {arguments[0] for arguments in commands()} >= {"search", "bench", "train", "losses"}


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_commands_parse(arguments, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert callable(parse(arguments))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
    for anchor in re.findall(r"\]\(#([^)]+)\)", text):
        headings = [
            re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)", text, re.M)
        ]
        assert anchor in headings


def test_ranks_are_those_of_the_tables():
    ranks = runpy.run_path(str(RANKS))
    assert ranks["summary"]() in (RANKS.parent / "README.md").read_text(encoding="utf-8")


def test_the_verdict_is_that_of_its_trainings():
    """Its table, in the page, on the site's first choice, and a part of it in README."""
    script = runpy.run_path(str(GATED / "verdict.py"))
    stored = script["stored_in"](GATED / "results" / "second-held-out.tar.xz")
    table = script["summary"]([script["read"](task, early=False) for task in stored])
    for page in ("evidence/second-verdict.md", "choose.md"):
        assert table in (ROOT / "docs" / page).read_text(encoding="utf-8")
    quoted = re.findall(r"^\| .* \| \d+ \| .*\(\d+\).*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.M)
    assert quoted
    assert set(quoted) <= set(table.splitlines())


def test_what_mends_the_verdict_is_that_of_its_trainings(monkeypatch):
    monkeypatch.syspath_prepend(GATED)
    script = runpy.run_path(str(GATED / "waiting.py"))
    found = json.loads((GATED / "results" / "waiting.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "evidence" / "second-verdict.md").read_text(encoding="utf-8")
    for table in ("table", "missed"):
        assert "\n".join(script[table](found)) in page


def test_ranks_agree_with_the_benchmark():
    """The column `rank` of the committed table, made from unrounded accuracies; a twin counts once, and has none."""
    ranks = runpy.run_path(str(RANKS))
    table = RANKS.parent / "held-out.md"
    _, found = ranks["ranked"](table, "*")
    printed = re.findall(r"^\| (\S+) \|.*\| ([\d.]+) \| \S+ \|$", table.read_text(encoding="utf-8"), re.M)
    assert len(found) == 34
    assert {name: float(rank) for name, rank in printed[:34]} == pytest.approx(found, abs=0.006)


@pytest.mark.parametrize("page", sorted(p.name for p in RANKS.parent.glob("*.md")))
def test_evidence_begins_with_whom_it_is_unfair_to(page):
    head = (RANKS.parent / page).read_text(encoding="utf-8")[:400]
    assert re.search(r"to whom (it|this table) is unfair", head, re.I)
