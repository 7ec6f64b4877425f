"""What was trained is not lost at the end: to a name, a picture, a folder that went away, or one that is read-only."""

import json
import os
import shutil
import sqlite3
import sys

import numpy as np
import pytest

from autorobustloss.cli.main import main
from autorobustloss.cli.running import default_folder
from autorobustloss.losses.cards import load_card
from autorobustloss.report import bench as drawing
from autorobustloss.report import style
from autorobustloss.report.benchmark_pictures import order_study
from autorobustloss.runs import store as storing
from autorobustloss.runs import trainer as running
from autorobustloss.runs.executors import SerialExecutor
from autorobustloss.search.card import card_name

TINY = [
    "--models=linear",
    "--epochs=1",
    "--train-size=40",
    "--valid-size=20",
    "--test-size=20",
    "--workers=1",
    "--quiet",
]
SEARCH = ["search", *TINY, "--noise=sym:0.2", "--generations=1", "--population=4", "--finalists-seeds=1"]
BENCH = ["bench", *TINY, "--noise=clean,sym:0.2", "--methods=ce,mae", "--seeds=1"]
ODD = [".", "new\nline", "$x_1$ %s {0} &<b>", "a" * 240, "_hidden", "é\u202e[red]"]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trained(monkeypatch):
    """Count trainings."""
    calls, real = [], running.run_method

    def run_method(*arguments):
        calls.append(arguments[0].label)
        return real(*arguments)

    monkeypatch.setattr(running, "run_method", run_method)
    return calls


@pytest.mark.parametrize("name", ODD)
def test_any_name_of_a_run_folder_works(name, tmp_path, capsys):
    assert main([*SEARCH, "--compare=ce,fw", "--compare-seeds=1", "--out", name]) == 0, capsys.readouterr().err
    folder = tmp_path / name
    assert load_card(folder / "loss.json").name == card_name(folder)
    assert (folder / "picture.png").is_file()
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())
    # a folder's name is also the name of a method
    assert main(["train", *TINY, "--loss", str(folder / "loss.json")]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", ["a" * 300, "file", "file/x", ""])
def test_a_folder_that_cannot_be_is_refused_before_training(name, tmp_path, trained, capsys):
    (tmp_path / "file").touch()
    code = main([*BENCH, f"--out={name}"])
    assert (code in (1, 2) and not trained) or (name == "" and code == 0)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cost_$1_$2", "$\\frac{", "x" * 200, "a^b_c%&#", "<img src=x>", "=1+1"])
def test_any_name_of_a_data_set_is_drawn_as_it_is(name, tmp_path, capsys):
    x, y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=y, x_test=x[:30], y_test=y[:30])
    assert main([*BENCH, "--dataset", f"./{name}.npz"]) == 0
    out, err = capsys.readouterr()
    assert all(line.startswith(f"arl: ./{name}.npz: ") for line in err.splitlines())  # what its labels are, no more
    assert "".join(name.split()) in "".join(out.split())  # a long one is told below the table
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(folder.name) < 100
    assert (folder / "curves.png").is_file()


def test_no_text_of_a_picture_is_a_formula():
    figure = style.new_figure(4, 3)
    axes = figure.add_subplot()
    axes.set_title(r"$\frac{$ x_1 $\undefined$")
    axes.set_xticks([0, 1], ["$a$", "$b"])
    axes.set_xlabel("b\x1b\n" + "long" * 50)
    style.add_legend(figure, axes.plot([0, 1], [0, 1]), ["_$c$_"])
    svg = style.render(figure, ".svg").decode()
    for text in (r"$\frac{$ x_1 $\undefined$", ">$a$<", "_$c$_", r"b\x1b\n"):
        assert text in svg
    assert r"$a\x1b" in style.render(order_study({"$a\x1b": [0.5], "$": [0.6]}), ".svg").decode()
    assert style.render(figure, ".png").startswith(b"\x89PNG")


@pytest.mark.parametrize("error", [KeyError("broken"), MemoryError(), OSError(28, "No space left on device")])
def test_a_picture_that_fails_is_a_warning_and_the_table_is_there(error, monkeypatch, capsys, tmp_path):
    def fail(*_):
        raise error

    monkeypatch.setattr(style, "render", fail)
    assert main([*BENCH, "--out=b"]) == 0
    out, err = capsys.readouterr()
    assert "rank" in out or "chance" in out
    assert err.startswith("arl: warning: no pictures")
    assert {"table-published.txt", "table-published.json", "provenance.json"} <= set(os.listdir("b"))
    assert main([*SEARCH, "--compare=ce", "--compare-seeds=1", "--out=s"]) == 0
    out, err = capsys.readouterr()
    assert "learned loss" in out
    assert err.startswith("arl: warning: no picture")
    assert {"loss.json", "table.txt", "table.json"} <= set(os.listdir("s"))


def test_pictures_are_drawn_where_nobody_reads_the_table(monkeypatch):
    class Gone:
        encoding = "utf-8"

        def write(self, _):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    assert main([*BENCH, "--out=b"]) == 0
    assert {"curves.png", "report.html"} <= set(os.listdir("b"))


@pytest.mark.parametrize("command", [SEARCH, BENCH])
@pytest.mark.parametrize("remove", ["folder", "store", "moved", "replaced"])
def test_a_store_that_goes_away_is_noticed_and_said(command, remove, monkeypatch, capsys, trained, tmp_path):
    real, run, store = SerialExecutor.map, tmp_path / "run", tmp_path / "run" / "store.sqlite"

    def then_remove(self, jobs, failures=None):
        for number, found in enumerate(real(self, jobs, failures)):
            yield found
            if number == 0:
                if remove in ("folder", "moved"):
                    shutil.rmtree(run) if remove == "folder" else run.rename(tmp_path / "away")
                else:
                    store.unlink()
                    if remove == "replaced":
                        store.touch()

    monkeypatch.setattr(SerialExecutor, "map", then_remove)
    assert main([*command, "--out=run"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(trained) == 2
    assert "deleted, moved or replaced" in err
    assert not any(word in err for word in ("safe", "go on", "goes on", "kept in"))


def test_a_run_folder_that_goes_away_after_the_last_training_is_said(monkeypatch, capsys):
    def gone(folder, *_):
        shutil.rmtree("run")
        folder.write("table.txt", "x")

    monkeypatch.setattr(drawing, "write_tables", gone)
    assert main([*BENCH, "--out=run"]) == 1
    err = capsys.readouterr().err
    assert "not in it any more" in err
    assert "goes on" not in err


def test_a_full_disk_keeps_what_was_stored(monkeypatch, capsys, trained):
    real = storing.Store.put

    def put(self, job, result):
        if len(trained) > 1:
            with self._errors("write to"):
                raise sqlite3.OperationalError("database or disk is full")
        return real(self, job, result)

    monkeypatch.setattr(storing.Store, "put", put)
    assert main([*BENCH, "--out=run"]) == 1
    assert "free some disk space and run again: what was stored before is safe" in capsys.readouterr().err
    monkeypatch.setattr(storing.Store, "put", real)
    assert main([*BENCH, "--out=run"]) == 0
    assert len(trained) == 2 + 3


@pytest.mark.parametrize(("command", "more"), [(SEARCH, ["--compare=ce", "--compare-seeds=1"]), (BENCH, [])])
def test_a_finished_run_in_a_read_only_folder_opens(command, more, monkeypatch, capsys, trained, tmp_path):
    assert main([*command, *more, "--out=run"]) == 0
    first, count = capsys.readouterr().out, len(trained)
    content = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    read_only(monkeypatch, tmp_path / "run")
    assert main([*command, *more, "--out=run"]) == 0
    out, err = capsys.readouterr()
    assert (out, err, len(trained)) == (first, "", count)
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == content
    more_seeds = [*BENCH, "--seeds=2", "--out=other", "--store=run/store.sqlite"]
    assert main(more_seeds) == 1
    assert len(trained) == count
    assert "can be read only" in capsys.readouterr().err
    assert main(["report", "run", "--out=page.html"]) == 0


def read_only(monkeypatch, folder):
    """Take the rights away as a read-only disk does, the superuser's too."""
    connect, access = sqlite3.connect, os.access

    def refused(path, **how):
        if "immutable" not in str(path) and str(folder) in str(storing.Path(path).resolve()):
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return connect(path, **how)

    def may(path, mode, **how):
        return access(path, mode) and not (mode == os.W_OK and storing.Path(path).resolve().is_relative_to(folder))

    monkeypatch.setattr(sqlite3, "connect", refused)
    monkeypatch.setattr(os, "access", may)


def test_names_of_default_folders_are_short_and_plain():
    tasks = [{"dataset": {"name": name}} for name in ("x" * 255, "a/b$\n*.npz", "digits")]
    name = default_folder({"tasks": tasks}, "bench").name
    assert name.isprintable()
    assert len(name) < 150
    assert "digits" in name
    assert json.dumps(name)
