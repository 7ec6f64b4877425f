"""A benchmark in one call."""

import json

import pytest

from autorobustloss.benchmark.bench import bench
from autorobustloss.benchmark.table import Table
from autorobustloss.cli.main import main
from autorobustloss.errors import UnknownNameError
from autorobustloss.losses import create_loss
from autorobustloss.losses.cards import LossCard
from autorobustloss.methods import MethodSpec, card_method
from autorobustloss.runs.tasks import make_tasks

TASKS = make_tasks("digits", models="linear", epochs=1, train_size=100, valid_size=50, test_size=50)


def test_a_benchmark_in_memory_prints_its_tables(tmp_path):
    card = tmp_path / "mine" / "loss.json"
    card.parent.mkdir()
    found = LossCard.from_loss(create_loss("taylor", theta=[0, 0, 0, 0, -1.0], scale="init"), name="found")
    card.write_text(found.to_json())
    outcome = bench(
        ["ce", "gce( q=0.5 )", MethodSpec.of("sce"), "arl", card], TASKS, seeds=1, views=("published", "matched")
    )
    table = outcome.tables["published"]
    assert table.methods == ("ce", "gce(q=0.5)", "sce", "arl", "mine")
    assert outcome.config.methods[4] == card_method(found)
    assert str(outcome).startswith("Test accuracy, each method as published")
    assert bench({"mine": card}, TASKS, seeds=1).tables["published"].methods == ("mine",)


def test_a_run_folder_is_gone_on_with_and_shown(tmp_path):
    one = bench(["ce", "mae"], TASKS, seeds=1, out=tmp_path / "run")
    assert bench(["ce", "mae"], TASKS, seeds=1, out=tmp_path / "run") == one
    assert (
        Table.from_dict(json.loads((tmp_path / "run" / "table-published.json").read_text())) == one.tables["published"]
    )
    assert main(["report", str(tmp_path / "run")]) == 0


def test_methods_that_are_none_are_named():
    with pytest.raises(UnknownNameError, match="did you mean 'gce'"):
        bench(["gcee"], TASKS)
