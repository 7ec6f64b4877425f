"""`arl labels` and the paragraph of `arl bench`, on files as a user has them."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from autorobustloss.cli.main import main
from autorobustloss.runs.store import Store

TINY = ["--models=linear", "--epochs=15", "--workers=1", "--quiet"]


def run(*arguments, capsys):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture
def wrong(tmp_path, monkeypatch):
    """Return which of the training labels of own.npz, in the current folder, are wrong: 12 of 120."""
    monkeypatch.chdir(tmp_path)
    rng, y = np.random.default_rng(0), np.arange(120) % 3
    x = rng.normal(size=(120, 4)) + 5 * np.eye(3, 4)[y]
    places = np.arange(0, 120, 10)
    noisy = y.copy()
    noisy[places] = (noisy[places] + 1) % 3
    np.savez("own.npz", x_train=x, y_train=noisy, x_test=x[:30] + 0.1, y_test=y[:30])
    return places


def test_labels_of_a_file_are_ranked_and_the_matrix_is_a_noise(wrong, capsys):
    pytest.importorskip("cleanlab")
    command = ["labels", "--dataset=own.npz", "--loss=gce", "--out=r", *TINY]
    code, out, err = run(*command, capsys=capsys)
    assert code == 0, err
    with open("r/labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    flagged = sum(row["wrong"] == "1" for row in rows)
    assert f"{flagged} of 150 labels look wrong" in out
    assert 10 <= flagged <= 12
    assert {row["sample"] for row in rows[:flagged]} <= {f"x_train[{i}]" for i in wrong}
    assert [row["wrong"] for row in rows] == ["1"] * flagged + ["0"] * (150 - flagged)
    assert all(int(row["suggested"]) == (int(row["given"]) - 1) % 3 for row in rows[:flagged])
    with Store("r/store.sqlite") as store:
        before = len(store)
    assert run(*command, capsys=capsys)[1] == out  # resumed: nothing is trained again
    with Store("r/store.sqlite") as store:
        assert len(store) == before == 5
    page = Path("r/labels.html").read_text()
    assert page.count('<th scope="row">row') + page.count('<th scope="row">x_t') == 100
    code, out, _ = run(*command, "--json", capsys=capsys)
    found = json.loads(out)
    assert found["wrong"] == flagged
    assert found["labels"][0]["sample"] == rows[0]["sample"]
    noise = "matrix:r/noise-matrix.json"
    bench = ["bench", "--dataset=own.npz", f"--noise={noise}", "--methods=ce,forward(T='r/noise-matrix.json')"]
    code, out, err = run(*bench, "--seeds=1", *TINY, capsys=capsys)
    assert code == 0, err
    assert "matrix(3x3," in out


def test_a_rehearsal_is_scored(wrong, capsys):
    pytest.importorskip("cleanlab")
    rehearsal = ["labels", "--dataset=digits", "--noise=sym:0.2", "--train-size=500", "--loss=gce", "--folds=3"]
    code, out, err = run(*rehearsal, *TINY, "--out=r", "--json", capsys=capsys)
    assert code == 0, err
    assert json.loads(out)["auc"] > 0.9
    assert len(json.loads(out)["labels"]) == 500


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--test-size=10"], "--train-size says how many"),
        (["--folds=1"], "expected 2 to 100"),
        (["--noise=given,clean"], "expected one data set, network, noise"),
        (["--loss=ce,gce"], "1 tasks and 2 losses"),
        (["--most=0"], "got --most 0"),
        (["--loss=nothing"], "unknown method 'nothing'"),
        (["--train-size=1000"], "at most its 150 samples"),
        (["--model=cnn4"], "expected images"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_trains(asked, message, wrong, capsys):
    pytest.importorskip("cleanlab")
    command = ["labels", "--dataset=own.npz", "--out=r"]
    code, _, err = run(*command, *[t for t in TINY if not t.startswith("--models") or asked != ["--model=cnn4"]], *asked, capsys=capsys)  # noqa: E501 # fmt: skip
    assert (code, message in err) == (2, True), err


def test_pictures_are_named_by_their_files(tmp_path, monkeypatch, capsys):
    pytest.importorskip("cleanlab")
    image = pytest.importorskip("PIL.Image", reason="image folders need Pillow")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for part, count in (("train", 30), ("test", 10)):
        for c, level in (("dark<b>", 60), ("light", 190)):
            place = tmp_path / "photos" / part / c
            place.mkdir(parents=True)
            for i in range(count):
                image.fromarray(rng.normal(level, 20, (6, 6)).clip(0, 255).astype(np.uint8)).save(place / f"{i}.png")
    (tmp_path / "photos/train/light/7.png").rename(tmp_path / "photos/train/dark<b>/wrong.png")
    code, _, err = run("labels", "--dataset=./photos", "--loss=gce", "--out=r", *TINY, capsys=capsys)
    assert code == 0, err
    with open("r/labels.csv", newline="") as file:
        first = next(csv.DictReader(file))
    assert first["sample"] == "train/dark<b>/wrong.png"
    assert (first["given"], first["suggested"], first["wrong"]) == ("dark<b>", "light", "1")
    page = (tmp_path / "r" / "labels.html").read_text()
    assert page.count("data:image/png;base64,") == 80
    assert "dark&lt;b&gt;" in page
    assert "<b>/wrong" not in page
    assert "http:" not in page
    assert "https:" not in page


def test_bench_answers_on_labels_as_they_come(wrong, capsys):
    pytest.importorskip("cleanlab")
    bench = ["bench", "--dataset=own.npz", "--methods=ce,gce", "--seeds=2", "--out=b", "--lr=0.3x,1x"]
    code, out, err = run(*bench, "--evaluate-every=5", *TINY, capsys=capsys)
    assert code == 0, err
    (answer,) = [" ".join(part.split()) for part in re.split(r"\n{2,}", out) if part.startswith("Which loss")]
    for said in ("(the best of 2; sgd", "of 15.", "The runner-up", "of the labels look wrong", "criterion = "):
        assert said in answer
    out = " ".join(out.split())
    assert "epoch 5" in out or "epoch 10" in out or "epoch 15" in out
    stored = json.loads(Path("b/answer.json").read_text())
    assert stored["text"] == answer
    assert stored["answers"][0]["noise"] == pytest.approx(0.08, abs=0.04)
    page = Path("b/report.html").read_text()
    assert "Which loss?" in page
    assert "noisy validation labels: at epoch 15: " in page
    assert "For own.npz, its labels as they come, " in page
    assert run("report", "b", capsys=capsys)[0] == 0
    assert "Which loss?" in Path("b/report.html").read_text()


def test_bench_says_that_cleanlab_is_missing_and_goes_on(wrong, monkeypatch, capsys):
    monkeypatch.setattr("autorobustloss.labels.judge.find_spec", lambda name: None)
    code, out, err = run("bench", "--dataset=own.npz", "--methods=ce,gce", "--seeds=1", *TINY, capsys=capsys)
    assert code == 0, err
    assert "was not estimated: it takes cleanlab, pip install 'autorobustloss[labels]'" in " ".join(out.split())
    code, _, err = run("labels", "--dataset=own.npz", *TINY, capsys=capsys)
    assert code == 1
    assert "pip install 'autorobustloss[labels]'" in err
