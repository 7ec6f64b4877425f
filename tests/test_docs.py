"""What the documentation shows: its Python runs, and its commands are ones that `arl` takes."""

import re
import shlex
from pathlib import Path

import pytest

from autorobustloss.cli.config_file import expand
from autorobustloss.cli.main import build_parser

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SETTINGS = [*sorted((ROOT / "searches").glob("*.toml")), *sorted((ROOT / "docs").rglob("*.toml"))]
COMMAND = re.compile(
    r"^(?:# +)?(?:\$ +)?(?:\S*/)?arl ((?:search|train|bench|losses|report) (?:.*\\\n)*.*)$", re.MULTILINE
)


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def commands():
    texts = [(page, block) for page in PAGES for block in blocks(page, "bash")]
    texts += [(file, file.read_text(encoding="utf-8")) for file in SETTINGS]
    return [
        pytest.param(line.replace("\\\n", " "), id=f"{path.relative_to(ROOT)}-{number}")
        for path, text in texts
        for number, line in enumerate(COMMAND.findall(text))
    ]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_runs(page):
    names = {}
    exec("import autorobustloss", names)
    for block in blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)


@pytest.mark.parametrize("line", commands())
def test_commands_are_understood(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = ["1" if word == "N" else word for word in shlex.split(line, comments=True)]
    build_parser().parse_args(expand(words))
