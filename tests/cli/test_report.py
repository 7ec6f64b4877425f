"""`arl report`: several folders on a page, labels from their folder, a run that goes on, the command that made it."""

from __future__ import annotations

import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from autorobustloss.cli import report
from autorobustloss.cli.main import main, parse
from autorobustloss.runs.store import Store

METHODS = "--methods ce,gce(q=0.5) --seeds 2 --epochs 2 --workers 1"
BENCH = f"bench --dataset iris --models linear --noise clean,sym:0.2 {METHODS}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "bench"
    assert main([*BENCH.split(), "--quiet", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def unfinished(run, tmp_path):
    """Return a folder as it is in the middle of a run: five of its eight jobs are done."""
    folder = tmp_path / "going"
    folder.mkdir()
    shutil.copy(run / "config.json", folder)
    with Store(run / "store.sqlite") as whole, Store(folder / "store.sqlite") as part:
        for job, result in list(whole.items())[:5]:
            part.put(job, result)
    return folder


def test_the_command_is_kept_and_means_the_same(run):
    words = shlex.split((run / "command.txt").read_text())
    assert words[0] == "arl"
    given = parse([*BENCH.split(), "--out", str(run)])
    assert parse(words[1:]).keywords == given.keywords
    page = (run / "report.html").read_text()
    assert "arl bench --dataset iris" in page
    assert "--methods &#39;ce,gce(q=0.5)&#39;" in page


def test_several_runs_need_a_place_for_their_page(run, tmp_path, capsys):
    assert main(["report", str(run), str(run)]) == 2
    assert "--out FILE" in capsys.readouterr().err
    assert main(["report", str(run), str(run), "--out", str(tmp_path / "both.html")]) == 0
    page = (tmp_path / "both.html").read_text()
    assert page.count("<article") == 2
    assert "<h1>2 runs</h1>" in page


def test_the_page_of_labels_comes_from_the_folder_alone(tmp_path, capsys):
    pytest.importorskip("cleanlab")
    command = "labels --dataset iris --model linear --noise sym:0.2 --folds 2 --epochs 20 --workers 1 --quiet"
    assert main([*command.split(), "--out", str(tmp_path / "r")]) == 0
    assert main(["report", str(tmp_path / "r")]) == 0
    page = (tmp_path / "r" / "report.html").read_text()
    assert page == (tmp_path / "r" / "labels.html").read_text()
    wrong = sum(row.split(",")[3] == "1" for row in (tmp_path / "r" / "labels.csv").read_text().splitlines()[1:])
    assert f'<p class="conclusion">{wrong} of 120 labels look wrong' in page


def test_a_run_that_goes_on_says_how_far_it_is(unfinished, capsys):
    assert main(["report", str(unfinished)]) == 0
    page = (unfinished / "report.html").read_text()
    assert "Not finished: 5 of 8 trainings are done." in page
    assert "gce(q=0.5)" in page
    assert 'http-equiv="refresh"' not in page


def test_watching_ends_with_the_run(unfinished, run, monkeypatch, capsys):
    seen = []

    def sleep(seconds):
        seen.append((unfinished / "report.html").read_text())
        assert len(seen) < 10
        if len(seen) == 2:
            for file in run.iterdir():
                shutil.copy(file, unfinished)

    monkeypatch.setattr(report.time, "sleep", sleep)
    assert main(["report", str(unfinished), "--watch"]) == 0
    assert "Not finished: 5 of 8" in seen[0]
    assert '<meta http-equiv="refresh" content="5">' in seen[0]
    assert seen[0] == seen[1]
    assert "Not finished" not in seen[2]
    last = (unfinished / "report.html").read_text()
    assert 'http-equiv="refresh"' not in last
    assert "Test accuracy, each method as published" in last
    assert "follows the run" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_watching_and_leaves_a_whole_page(unfinished):
    process = subprocess.Popen(
        [sys.executable, "-m", "autorobustloss", "report", str(unfinished), "--watch"],
        stderr=subprocess.PIPE,
        text=True,
    )
    page, deadline = unfinished / "report.html", time.monotonic() + 60
    while not page.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert page.read_text().endswith("</html>")


def test_a_config_that_changes_under_the_eyes_is_named(unfinished, capsys):
    (unfinished / "config.json").write_text("[1]")
    assert main(["report", str(unfinished), "--watch"]) == 1
    assert "config.json" in capsys.readouterr().err
