"""From data of any form to tasks."""

import numpy as np
import pytest

from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.errors import ConfigError, DataError
from autorobustloss.runs import Task
from autorobustloss.runs.tasks import make_tasks
from autorobustloss.training import create_protocol

DIGITS = load_dataset("digits")
ARRAYS = {
    "x_train": DIGITS.x_train.numpy(),
    "y_train": DIGITS.y_train.numpy(),
    "x_test": DIGITS.x_test.numpy(),
    "y_test": DIGITS.y_test.numpy(),
}


def test_data_are_named_loaded_or_in_hand(tmp_path):
    np.savez(tmp_path / "own.npz", **ARRAYS)
    spec = DataSpec("iris", valid_size=10)
    given = ["wine", str(tmp_path / "own.npz"), DIGITS, ARRAYS, tuple(ARRAYS.values()), Task(spec, "clean", "mlp2")]
    made = make_tasks(given)
    names = [task.dataset.name for task in made.tasks]
    assert names == ["wine", str(tmp_path / "own.npz"), "digits", "arrays-3", "arrays-4", "iris"]
    assert [task.noise for task in made.tasks] == ["sym:0.8", "given", "sym:0.8", "given", "given", "clean"]
    assert all(t.dataset.fingerprint == made.datasets[t.dataset.name].fingerprint for t in made.tasks)
    assert make_tasks("own", data_dir=tmp_path).tasks[0].noise == "given"
    assert make_tasks([made, made]).tasks == made.tasks == make_tasks(made).tasks


def test_every_combination_is_a_task():
    made = make_tasks(["digits", "wine"], noise=["clean", "sym:0.4"], models=["linear", "mlp2"])
    assert len(made.tasks) == 8
    assert made.classes == {"digits": 10, "wine": 3}
    assert made.tasks[0].protocol == create_protocol("digits")
    (task,) = make_tasks("digits", protocol="lookahead", epochs=9, milestones=(3, 5, 7), train_size=300).tasks
    assert (task.protocol.epochs, task.protocol.lr, task.protocol.augment) == (9, 0.1, "crop")
    assert (task.dataset.train_size, task.dataset.valid_size) == (300, len(DIGITS.x_train) // 5)


def test_slips_are_named():
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        make_tasks("digits", epoch=3)
    with pytest.raises(ConfigError, match="noise"):
        make_tasks("digits", noise="symm:0.4")
    with pytest.raises(DataError, match="did you mean 'digits'"):
        make_tasks("digit")
