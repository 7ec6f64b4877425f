"""A search in one call: from data of any form to a loss, in memory or in a run folder."""

import subprocess
import sys

import pytest
import torch

import autorobustloss as arl
from autorobustloss.cli.main import main
from autorobustloss.data import load_dataset
from autorobustloss.errors import ConfigError, RunFolderError
from autorobustloss.losses.cards import load_card
from autorobustloss.methods import card_method
from autorobustloss.runs.tasks import make_tasks
from autorobustloss.search import GatedSpace
from autorobustloss.search.api import search

FEW = {"models": "linear", "epochs": 1, "train_size": 100, "valid_size": 50, "test_size": 50}
SHORT = {"generations": 1, "population": 4, "finalists_seeds": 1}


@pytest.mark.parametrize("before", ["", "import autorobustloss.search", "from autorobustloss.search.api import search"])
def test_the_attribute_is_the_function_whatever_was_imported(before):
    lines = (before, "import autorobustloss", "from autorobustloss.search import run_search")
    code = "\n".join([*lines, "print(autorobustloss.search.__module__)"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "autorobustloss.search.api\n"


def test_what_is_found_is_ready_to_train_with():
    outcome = arl.search(arl.make_tasks("digits", **FEW), **SHORT)
    assert outcome == search(make_tasks("digits", **FEW), **SHORT)
    assert outcome.loss(torch.zeros(4, 10), torch.tensor([1, 2, 3, 4])).isfinite()


def test_a_run_folder_is_gone_on_with_and_shown(tmp_path):
    tasks = make_tasks("digits", noise=["clean", "sym:0.4"], **FEW)
    one = search(tasks, out=tmp_path / "run", space="gated", seed=3, **SHORT)
    assert search(tasks, out=tmp_path / "run", space=GatedSpace(), seed=3, **SHORT) == one
    assert card_method(load_card(tmp_path / "run" / "loss.json")) == one.winner.method
    assert main(["report", str(tmp_path / "run")]) == 0
    with pytest.raises(RunFolderError, match="another configuration"):
        search(tasks, out=tmp_path / "run", space="gated", seed=4, **SHORT)


def test_labels_that_nobody_knows_score_nothing():
    digits = load_dataset("digits")
    own = (digits.x_train, digits.y_train, digits.x_test, digits.y_test)
    with pytest.raises(ConfigError, match="no clean validation labels"):
        search(make_tasks(own, **FEW), **SHORT)
    assert search(make_tasks(own, **FEW), fitness_on="noisy", **SHORT).winner.accuracy > 0


def test_fields_of_the_configuration_are_checked():
    with pytest.raises(ConfigError, match="generations=0"):
        search(make_tasks("digits", **FEW), generations=0)
    with pytest.raises(TypeError, match="generation"):
        search("digits", generation=3)
