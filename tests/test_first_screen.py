"""What a newcomer meets first: README in eighty lines with its picture's figures, and a notebook that runs."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FIGURES = json.loads((ROOT / "docs" / "pictures" / "first-screen.json").read_text(encoding="utf-8"))
NOTEBOOK = ROOT / "examples" / "tour.ipynb"


def test_readme_is_short():
    assert len(README.splitlines()) <= 80


@pytest.mark.parametrize("scene", FIGURES)
def test_readme_quotes_the_figures_of_its_picture(scene):
    """Each loss's accuracy at the end is in the picture's description, for those who cannot see it."""
    described = re.search(r'<img [^>]*alt="([^"]*)"', README).group(1)
    for figures in FIGURES[scene].values():
        assert f"{figures['last']:.1f} %" in described


@pytest.mark.parametrize("scene", FIGURES)
def test_readme_says_what_stopping_early_would_give(scene):
    stopped = {name: f"{figures['stopped']:.1f} %" for name, figures in FIGURES[scene].items()}
    assert stopped["ce"] in README
    assert stopped["arl"] in README


def test_the_site_begins_with_the_same_picture():
    picture = re.search(r"<picture>.*?\.\*\n", README, re.S).group()
    assert picture.replace('"docs/', '"') in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def test_the_notebook_has_ten_cells_and_its_pictures():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert len(cells) == 10
    shown = [output for cell in cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in shown) >= 4
    assert not [output for output in shown if output["output_type"] == "error"]


@pytest.mark.slow
def test_the_notebook_runs():
    nbformat = pytest.importorskip("nbformat")
    client = pytest.importorskip("nbclient").NotebookClient
    notebook = nbformat.read(NOTEBOOK, 4)
    kept = [cell.get("outputs", []) for cell in notebook.cells]
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    client(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    for before, cell in zip(kept, notebook.cells):
        kinds = [sorted(output.get("data", {})) for output in cell.get("outputs", [])]
        assert kinds == [sorted(output.get("data", {})) for output in before], cell.source
