"""Errors end with a next step, and what they propose exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from autorobustloss import errors
from autorobustloss.cli.main import main, parse
from autorobustloss.cli.steps import LISTS, LONGEST, STEPS, next_step
from autorobustloss.cli.terminal import Terminated
from autorobustloss.errors import ARLError, MissingDependencyError, RunFolderError, WorkerError

TINY = ["--models=linear", "--epochs=1", "--train-size=100", "--valid-size=50", "--workers=1", "--quiet"]
EXTRAS = set(re.findall(r"^(\w+) = \[", Path("pyproject.toml").read_text(), re.MULTILINE))

BAD = [
    "serach",
    "losses",
    "losses lsit",
    "losses show",
    "losses show gec",
    "losses show nowhere.json",
    "losses show gce(r=1)",
    "losses show ce --classes 1",
    "losses export gce --format julia",
    "losses export gce --format card",
    "losses plot ce --out x.xyz",
    "list",
    "list loses",
    "completion tcsh",
    "completion",
    "schema trian",
    "report nowhere",
    "report",
    "train digits",
    "train --loss gec",
    "train --loss=gec",
    "train --loss",
    "train --loss nowhere.json",
    "train --curves=x",
    "train --epochs many",
    "train --epochs 0",
    "train --epoch 3",
    "train --dataset digit",
    "train --dataset ./nowhere.csv",
    "train --noise sim:0.4",
    "train --noise sym:2",
    "train --models cnn44",
    "train --protocol shalow",
    "train --device gpu",
    "train --config nowhere.toml",
    "train --executor slurm",
    "train --gpus-per-worker 1",
    "train --store .",
    "train --train-size 100000",
    "bench --methods jocro",
    "bench --methods ce,ce",
    "bench --format txt",
    "bench table9",
    "bench table1 --scale big",
    "bench --only */x/*",
    "search --space cannonical",
    "search --generation-count 3",
    "search --population 2",
    "search --start moe --space paper",
    "search --workers 0",
    "search --exact --cohort on",
    "labels --test-size 3",
    "labels --most 0",
    "labels --loss ce,gce",
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def proposed(err: str) -> list[str]:
    """Return the words of the last line, which has to be a next step that `arl` takes."""
    last = err.splitlines()[-1]
    assert last.startswith("  try: "), err
    said = last.removeprefix("  try: ").partition("  (")[0]
    if said.startswith("pip install"):
        assert set(re.findall(r"\[(\w+)\]", said)) <= EXTRAS
        return []
    first, *words = shlex.split(said)
    assert first == "arl"
    assert callable(parse(words))  # commands, options, and the kinds of their values exist
    return words


@pytest.mark.parametrize("command", BAD)
def test_the_last_line_of_an_error_is_a_command_that_exists(command, capsys):
    assert main(command.split()) in (1, 2)
    out, err = capsys.readouterr()
    assert out == ""
    words = proposed(err)
    assert words != command.split()


@pytest.mark.parametrize(
    ("command", "better"),
    [
        ("losses show gec", "losses show gce"),
        ("train --loss=gec,ce", "train --loss=gce,ce"),
        ("train --noise clean,sim:0.4", "train --noise clean,sym:0.4"),
        ("search --generation-count 3", "search --generations 3"),
        ("serach --seed 1", "search --seed 1"),
    ],
)
def test_a_slip_of_the_pen_is_corrected_in_place(command, better, capsys):
    assert main(command.split()) == 2
    assert proposed(capsys.readouterr().err) == better.split()


def test_where_it_is_not_clear_what_to_correct_what_there_is_is_listed(capsys):
    assert main(["losses", "show", "gec,gec"]) == 2
    assert proposed(capsys.readouterr().err) == ["list", "losses"]
    for kind in LISTS.values():
        assert main(["list", kind]) == 0


def every(kind: type[ARLError]) -> list[type[ARLError]]:
    return [kind, *(deeper for sub in kind.__subclasses__() for deeper in every(sub))]


@pytest.mark.parametrize("kind", [k for k in every(ARLError) if k.__module__ == errors.__name__])
@pytest.mark.parametrize("words", [["train"], ["search"], ["bench"], ["labels"], ["losses", "show", "ce"], []])
def test_every_error_has_a_next_step(kind, words):
    assert kind in STEPS
    said = "no optuna; pip install 'autorobustloss[tune]'" if kind is MissingDependencyError else "oops"
    proposed(f"oops\n  try: {next_step(kind(said), words, stopped=False)}")


def test_a_missing_package_is_installed_by_the_line_that_is_shown(monkeypatch, capsys):
    monkeypatch.setattr("autorobustloss.labels.judge.find_spec", lambda name: None)
    assert main(["labels"]) == 1
    assert capsys.readouterr().err.endswith("  try: pip install 'autorobustloss[labels]'\n")


def test_a_folder_of_another_run_is_left_alone_and_another_proposed(capsys):
    bench = ["bench", "--methods=ce", "--noise=clean", *TINY]
    assert main([*bench, "--seeds=1", "--out=r"]) == 0
    capsys.readouterr()
    assert main([*bench, "--seeds=2", "--out=r"]) == 1
    words = proposed(capsys.readouterr().err)
    assert main(words) == 0
    assert Path("runs/new/table-published.json").exists()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Terminated])
def test_who_interrupts_is_told_how_to_go_on(stop):
    for command in ("search", "bench", "labels"):
        step = next_step(stop(), [command, "--dataset=my data.csv"], stopped=True)
        assert step == f"arl {command} '--dataset=my data.csv'  (it goes on: what is finished is kept)"
    assert "--store train.sqlite" in next_step(stop(), ["train"], stopped=True)
    assert "it goes on" in next_step(stop(), ["train", "--store=s.sqlite"], stopped=True)
    assert next_step(stop(), ["losses", "list"], stopped=True) == ""


def test_a_very_long_command_is_not_repeated():
    assert next_step(WorkerError("x"), ["bench", "--methods", "ce" * LONGEST], False).startswith("the same command")
    assert next_step(RunFolderError("x"), ["bench"], False) == "arl bench --out runs/new"
