"""Files that earlier versions wrote: what `docs/formats.md` promises of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from autorobustloss.cli.main import main
from autorobustloss.losses.cards.card import load_card
from autorobustloss.runs import Store, trainer
from autorobustloss.runs.run_folder import contents

VERSIONS = sorted((Path(__file__).parent / "fixtures").glob("version-*"), key=lambda folder: folder.name)


@pytest.fixture(params=VERSIONS, ids=lambda folder: folder.name)
def files(request, tmp_path) -> Path:
    """A copy of what a version wrote."""
    return shutil.copytree(request.param, tmp_path / "files")


@pytest.fixture
def no_training(monkeypatch):
    def train(method, _):
        raise AssertionError(f"{method.label} is trained although its result is in the store")

    monkeypatch.setattr(trainer, "run_method", train)


@pytest.mark.parametrize(("command", "results"), [("search", 8), ("bench", 2)])
def test_a_store_reads(files, command, results):
    with Store(files / command / "store.sqlite") as store:
        found = list(store.items())  # each job is checked against its key
        assert len(found) == len(store) == results
        assert store.put(*found[0]) == found[0][1]


@pytest.mark.parametrize("command", ["search", "bench"])
def test_the_same_command_goes_on_from_a_run_folder(files, command, no_training, capsys):
    before = {name: (files / command / name).read_text() for name in contents(files / command)}
    assert main([command, "--config", str(files / f"{command}.toml"), "--quiet", "--out", str(files / command)]) == 0
    capsys.readouterr()
    if command == "search":
        old, new = json.loads(before["loss.json"]), json.loads((files / command / "loss.json").read_text())
        assert old["theta"] == new["theta"]
    assert before.keys() <= contents(files / command).keys()


@pytest.mark.parametrize("command", ["search", "bench"])
def test_a_report_is_made_of_a_run_folder(files, command, capsys):
    assert main(["report", str(files / command), "--out", str(files / "page.html")]) == 0
    assert "digits" in (files / "page.html").read_text()


def test_a_card_reads(files):
    loss = load_card(files / "search" / "loss.json").loss()
    assert loss(torch.zeros(2, 10), torch.tensor([3, 4])).isfinite()
