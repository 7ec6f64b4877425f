"""A real browser: Chromium, driven by playwright, and pages that it opens; without either these tests are skipped."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from autorobustloss.cli.main import main

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("no-first-run", "disable-background-networking", "disable-component-update", "disable-sync", "disable-quic")
FLAGS = [f"--{flag}" for flag in ("no-sandbox", "disable-gpu", *QUIET)]
TRAINING = "--dataset digits --train-size 200 --epochs 4 --evaluate-every 1 --workers 1 --quiet"
RUNS = {
    "bench": f"bench {TRAINING} --models linear --noise clean,sym:0.2,sym:0.4,pair:0.3 --methods ce,mae,gce --seeds 2",
    "search": f"search {TRAINING} --models linear --noise sym:0.4 --generations 2 --population 4 --finalists-seeds 1 "
    "--compare ce,gce --compare-seeds 2",
    "labels": f"labels {TRAINING} --model linear --noise sym:0.2 --folds 3 --most 20 --epochs 15",
}


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """Return the browser; skip the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install '.[browser]'")
    if not CHROMIUM:
        pytest.skip("needs Chromium: apt-get install chromium, or its path in $CHROMIUM")
    os.environ["HOME"], before = str(tmp_path_factory.mktemp("home")), os.environ.get("HOME", "")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)  # a new profile, which it removes
        yield browser
        browser.close()
    os.environ["HOME"] = before


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Return the run folders of a tiny benchmark, search and examination of labels, each with its page."""
    pytest.importorskip("cleanlab")
    home = tmp_path_factory.mktemp("runs")
    for name, command in RUNS.items():
        assert main([*command.split(), "--out", str(home / name)]) == 0
    assert main(["report", str(home / "search")]) == 0
    return home


@pytest.fixture(scope="session")
def reports(runs):
    """Return the page of each run."""
    return {name: runs / name / ("labels.html" if name == "labels" else "report.html") for name in RUNS}


@pytest.fixture
def opened(chromium):
    """Return a context manager that opens a file in a window.

    Nothing may fail there or be said on the console, nor anything be loaded but the file and what lies in `own`.
    """

    @contextlib.contextmanager
    def window(file, width=1280, theme="light", own=None, **how):
        faults, context = (
            [],
            chromium.new_context(
                viewport={"width": width, "height": 900}, color_scheme=theme, reduced_motion="reduce", **how
            ),
        )
        page, address = context.new_page(), Path(file).resolve().as_uri()
        own = Path(own).resolve().as_uri() if own else address
        page.on("console", lambda said: faults.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
        page.on("request", lambda request: None if fine(request.url, own) else faults.append(f"asked: {request.url}"))
        try:
            page.goto(address)
            yield page
        finally:
            context.close()
        assert faults == []

    return window


def fine(url, own):
    """Return whether an address is of the page's own files, or no address at all."""
    return url.startswith((own, "data:", "blob:"))


@pytest.fixture(scope="session")
def faults_of():
    """Return a function of a page: the serious and critical faults that axe-core finds in it, as texts."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs pip install '.[browser]'").Axe()

    def found(page):
        told = axe.run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
        return [
            f"{fault['id']} ({fault['impact']}): {node['html'][:200]}: {node['failureSummary'][:300]}"
            for fault in told
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"][:3]
        ]

    return found
