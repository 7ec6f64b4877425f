"""Make the pictures of docs/report.md: the report of the committed benchmark, as a browser shows it.

    python docs/screenshots.py

It unpacks docs/benchmark/store.sqlite.xz, makes a run folder of what each method got as published, and needs
`pip install 'autorobustloss[browser]'` and Chromium (or its path in $CHROMIUM).
"""

from __future__ import annotations

import lzma
import os
import shutil
import tempfile
from pathlib import Path

import msgspec
from playwright.sync_api import sync_playwright

from autorobustloss.benchmark import BenchConfig, BenchOutcome, tabulate
from autorobustloss.benchmark.grid import VIEWS
from autorobustloss.methods import MethodSpec
from autorobustloss.report.bench import draw_bench, write_tables
from autorobustloss.runs import Store
from autorobustloss.runs.run_folder import RunFolder

DOCS = Path(__file__).parent
SIZES = {"desktop": (1280, 1600, 1), "phone": (360, 800, 1.5)}
"""Width, height, and pixels of the picture for each of the page's."""


def run_folder(home: Path) -> Path:
    """Return a run folder with the tables, pictures and page of the committed benchmark, each method as published."""
    home.joinpath("store.sqlite").write_bytes(lzma.decompress((DOCS / "benchmark" / "store.sqlite.xz").read_bytes()))
    with Store(home / "store.sqlite") as store:
        results = {result.key: result for _, result in store.items()}
        tasks = dict.fromkeys(job.task for job, _ in store.items() if job.method == MethodSpec("ce"))
    settings = msgspec.toml.decode((DOCS / "benchmark" / "benchmark.toml").read_bytes())
    usual = {(task.dataset.name, task.model, task.noise): task for task in reversed(tasks)}  # the first rate is the own
    config = BenchConfig(
        tuple(map(MethodSpec.parse, settings["methods"])),
        tuple(task for task in tasks if task in usual.values()),
        settings["seeds"],
        classes=dict.fromkeys(settings["dataset"], 10),
    )
    title = f"Test accuracy, {VIEWS['published']}"
    outcome = BenchOutcome(config, {"published": tabulate(config.entries(), results, title)}, results, {})
    with RunFolder(home / "images", {"command": "bench", **config.to_dict()}) as folder:
        write_tables(folder, outcome)
        draw_bench(folder, outcome)
    return folder.path


def main() -> None:
    """Write docs/pictures/report-SIZE-THEME.png."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    target = DOCS / "pictures"
    target.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, sync_playwright() as driver:
        page_of = run_folder(Path(home)) / "report.html"
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        for size, (width, height, scale) in SIZES.items():
            for theme in ("light", "dark"):
                viewport = {"width": width, "height": height}
                context = browser.new_context(viewport=viewport, color_scheme=theme, device_scale_factor=scale)
                page = context.new_page()
                page.goto(page_of.as_uri())
                page.screenshot(path=target / f"report-{size}-{theme}.png")
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
