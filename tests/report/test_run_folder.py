"""What a benchmark writes, from real trainings on the bundled digits to the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.benchmark.bench import load_datasets, pin, run_bench
from autorobustloss.benchmark.curves import curve_panels, scored, sweep_panels
from autorobustloss.benchmark.grid import BenchConfig
from autorobustloss.benchmark.table import Table
from autorobustloss.data import DataSpec
from autorobustloss.errors import RunFolderError
from autorobustloss.escape import visible
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.paper.effort import EFFORTS
from autorobustloss.paper.experiments import experiments, run_experiment
from autorobustloss.paper.features import penultimate
from autorobustloss.report.bench import draw_bench, draw_experiment, write_experiment_table, write_tables
from autorobustloss.report.conclusion import Conclusion
from autorobustloss.report.folder import folder_page
from autorobustloss.report.page import Report, page
from autorobustloss.runs.executors import SerialExecutor
from autorobustloss.runs.job import Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.run_folder import RunFolder
from autorobustloss.training.history import History
from autorobustloss.training.protocol import TrainingProtocol

METHODS = tuple(MethodSpec.of(name) for name in ("ce", "mae", "gce"))
VOID = {"meta", "img", "br", "link", "input"}


class Checker(HTMLParser):
    """Raises for tags that do not close, and collects text, addresses and cells."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.text, self.tags = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def checked(html):
    checker = Checker()
    checker.feed(html)
    assert checker.open == []
    return checker


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    datasets, _ = load_datasets(["digits"])
    protocol = TrainingProtocol(lr=0.1, epochs=3, batch_size=32)
    data = DataSpec("digits", train_size=300, test_size=200)
    tasks = pin([Task(data, noise, "linear", protocol) for noise in ("clean", "sym:0.2", "sym:0.4")], datasets)
    config = BenchConfig(METHODS, tasks, seeds=2, views=("published", "tuned"), learning_rates=(0.3, 1.0))
    folder = RunFolder(tmp_path_factory.mktemp("run"), {"command": "bench", **config.to_dict()})
    outcome = run_bench(config, folder.store, SerialExecutor(datasets))
    write_tables(folder, outcome)
    draw_bench(folder, outcome)
    return folder.path, outcome


def test_the_folder_holds_tables_pictures_and_the_page(run):
    path, outcome = run
    stems = {"table-published", "table-tuned"}
    assert {f"{stem}.{suffix}" for stem in stems for suffix in ("txt", "md", "tex", "csv", "json")} <= names(path)
    assert {f"{stem}.{kind}" for stem in ("curves", "sweep", "ranks") for kind in ("png", "svg")} <= names(path)
    assert {"report.html", "provenance.json", "config.json"} <= names(path)
    for view in ("published", "tuned"):
        assert Table.from_dict(json.loads((path / f"table-{view}.json").read_text())) == outcome.tables[view]


def names(path):
    return {file.name for file in path.iterdir()}


def test_cross_entropy_learns_the_digits_best_where_they_are_clean(run):
    _, outcome = run
    cells = outcome.tables["published"].block("last").cells[0]
    assert cells[0].mean > 0.7
    assert cells[0].mean > cells[2].mean
    assert all(cell.n == 2 for cell in cells)


def test_the_page_stands_alone_and_shows_the_numbers(run):
    path, outcome = run
    html = (path / "report.html").read_text(encoding="utf-8")
    checker = checked(html)
    assert all(re.fullmatch(r"#\w+|data:image/svg\+xml;base64,.*", address) for address in checker.addresses)
    assert not re.search(r"@import|url\(|https?:", html)
    assert checker.tags.count("script") == 1
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    for tag in ("style", "script"):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", html, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;".replace("+", "&#43;") in policy.replace("+", "&#43;")
    text = " ".join(checker.text)
    for table in outcome.tables.values():
        for cell in (c for block in table.blocks for row in block.cells for c in row):
            assert f"{100 * cell.mean:.2f}" in text
    assert "Friedman" in text
    assert "trainings" in text
    assert "train_size" in text


def test_the_page_follows_from_the_folder_alone(run):
    path, _ = run
    assert folder_page(path) == (path / "report.html").read_text(encoding="utf-8")


def test_pictures_show_what_was_trained(run):
    _, outcome = run
    found = scored(outcome.config.entries("tuned"), outcome.results, {})
    assert {entry.variant for entry, *_ in found} == {"lr×1"}
    curves = curve_panels(found)["digits/linear/sym:0.4"]["gce"]
    assert {epoch: len(values) for epoch, values in curves.items()} == {1: 2, 2: 2, 3: 2}
    swept = sweep_panels(found)["digits/linear/sym"]["gce"]
    assert list(swept) == [0.0, 0.2, 0.4]
    assert swept[0.4] == pytest.approx(curves[3])


def test_a_run_that_ended_early_leaves_a_gap_not_a_zero():
    grid = BenchConfig((METHODS[0],), (Task(DataSpec("digits"), "clean", "linear"),), seeds=2)
    results = {}
    for job, length in zip(grid.jobs(), (3, 1)):
        history = History(list(range(1, length + 1)), test=[0.5] * length, valid_noisy=[0.5] * length)
        results[job.key] = Result(job.key, history, 0.0, 1.0, "cpu", "here", {})
    curves = curve_panels(scored(grid.entries(), results, {}))
    assert curves == {"digits/linear/clean": {"ce": {1: [0.5, 0.5], 2: [0.5], 3: [0.5]}}}


def test_strange_names_do_not_become_markup(run):
    _, outcome = run
    table = outcome.tables["published"]
    odd = Table("<b>title</b>", ("<script>x</script>", "a&b", '"q"'), table.tasks, table.blocks, table.cost)
    values = (None, {"<u>": "<u>", "<b>": ["<u>"]})
    picture = ('"><u>', '"><b>', "")
    sections = (("h<2>", "table", (odd,)), ("", "formula", values), ("", "picture", picture))
    html = page([Report("<i>", Conclusion("<u>", "<b>"), sections)])
    assert checked(html).tags.count("script") == 1
    assert all(f"<{tag}>" not in html for tag in ("i", "u", "b", "2"))


@given(st.text(st.sampled_from("<>&'\"{}%#/ \n\t\x00\x1b\u202e\udcff") | st.characters(), max_size=20))
def test_any_text_is_shown_on_a_page_and_is_no_markup(text):
    sections = [("picture", text, text, ""), ("values", {text: text}, text), ("commands", [text], True, text)]
    html = page([Report(text, None, tuple((text, kind, shown) for kind, *shown in sections))])
    assert all(line.isprintable() for line in html.split("\n"))
    checker = checked(html)
    assert checker.tags == checked(page([Report("", None, tuple(("", k, shown) for k, *shown in sections))])).tags
    assert checker.text.count(visible(text)) >= (7 if text.strip() else 0)


def test_an_experiment_of_the_paper_is_written_too(tmp_path):
    datasets, _ = load_datasets(["digits"])
    (experiment,) = experiments("fig5", EFFORTS["small"], {})
    small = Task(
        DataSpec("digits", train_size=200, test_size=100), "sym:0.4", "mlp2", TrainingProtocol(lr=0.1, epochs=2)
    )
    grid = BenchConfig(tuple(experiment.rows.values()), (small,), seeds=1)
    experiment = type(experiment)(**{**vars(experiment), "entries": grid.entries()}).pinned(datasets)
    folder = RunFolder(tmp_path, {"command": "bench", "paper": experiment.name})
    table, results = run_experiment(experiment, folder.store, SerialExecutor(datasets))
    jobs = {name: e.job for name, m in experiment.rows.items() for e in experiment.entries if e.method == m}
    features = penultimate(jobs, datasets["digits"], samples=60)
    assert {name: f.shape for name, (f, _) in features.items()} == {"ce": (60, 256), "bootstrap": (60, 256)}
    assert not np.array_equal(features["ce"][0], features["bootstrap"][0])
    assert np.array_equal(features["ce"][1], features["bootstrap"][1])
    write_experiment_table(folder, experiment, table, results)
    page_file = draw_experiment(folder, experiment, table, results, features)
    assert {"table-fig5.txt", "fig5-features.svg", "fig5-curves.png"} <= names(folder.path)
    assert "t-SNE" in page_file.read_text(encoding="utf-8")


def test_folders_without_a_run_or_with_broken_files_are_named(tmp_path):
    with pytest.raises(RunFolderError, match=r"config\.json is no file"):
        folder_page(tmp_path)
    (tmp_path / "config.json").write_text('{"command": "search"}')
    assert "Not finished: 0 trainings are done." in folder_page(tmp_path)
    (tmp_path / "loss.json").write_text('{"name": "learned", "theta": [0.5]}')
    assert "The learned loss" in folder_page(tmp_path)
    (tmp_path / "table.json").write_text('{"title": "t"}')
    with pytest.raises(RunFolderError, match=r"table\.json"):
        folder_page(tmp_path)
    (tmp_path / "table.json").write_text("not json")
    with pytest.raises(RunFolderError, match="cannot be read"):
        folder_page(tmp_path)
