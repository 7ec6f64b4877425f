"""Which labels are wrong, in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autorobustloss.errors import ConfigError
from autorobustloss.labels.config import label_config
from autorobustloss.labels.errors import LabelErrors
from autorobustloss.labels.gallery import gallery
from autorobustloss.labels.judge import judge_labels, require_cleanlab
from autorobustloss.methods import MethodSpec
from autorobustloss.methods.named import named_method
from autorobustloss.runs.run_folder import SUSPECTS
from autorobustloss.runs.tasks import make_tasks, running


def find_label_errors(
    data: Any,
    loss: str | Path | MethodSpec = "arl",
    *,
    noise: str = "given",
    model: str = "mlp2",
    folds: int = 5,
    seeds: int = 1,
    seed: int = 0,
    out: str | Path | None = None,
    workers: int | None = 1,
    device: str = "cpu",
    exact: bool = False,
    executor: str = "local",
    **training: Any,
) -> LabelErrors:
    """Return which labels of a data set look wrong: cross-validated networks judge them, cleanlab counts and ranks.

    data: what `make_tasks` takes, one data set: a name or path, arrays (x, y), a `Dataset`. All its parts are examined
        (of arrays (x, y), `wrong`, `quality` and `suggested` are in their order); under `noise` that adds noise, or
        takes other labels, its training part, and how much is found is scored.
    loss: what the networks are trained with, a loss or any method. model: the network.
    folds, seeds, seed: see `LabelsConfig`. training: what else `make_tasks` takes, such as train_size=2000 (samples to
        examine), protocol, epochs, lr, data_dir.
    out: a run folder, from which the same call goes on. workers, device, exact, executor: see `running`.

    Raises MissingDependencyError without cleanlab (`pip install 'autorobustloss[labels]'`), DataError, ConfigError.

    >>> import autorobustloss as arl
    >>> found = arl.find_label_errors("digits", noise="sym:0.2", model="linear", folds=3, train_size=300, epochs=20)
    >>> found.wrong.shape, found.noise_matrix.shape, found.scores["auc"] > 0.8
    ((300,), (10, 10), True)
    """
    require_cleanlab()
    if training.pop("test_size", 0):
        raise ConfigError("got a test_size, expected none: every sample is tested once; train_size says how many")
    size, valid = training.pop("train_size", 0), training.pop("valid_size", 0)
    known = make_tasks(data, noise=noise, models=model, **training)
    if len(known.tasks) != 1:
        raise ConfigError(f"got {len(known.tasks)} tasks, expected one data set, network and noise")
    ((name, dataset),) = known.datasets.items()
    called, method = named_method(loss)
    how: dict[str, Any] = {"folds": folds, "seeds": seeds, "seed": seed, "name": called}
    config, pool = label_config(known.tasks[0], dataset, method, size, valid, **how)
    settings = {"command": "labels", **config.to_dict()}
    with running({name: pool}, settings, out, workers, device, exact, executor) as (store, chosen, folder):
        found = judge_labels(config, pool, store, chosen)
        if folder is not None:
            folder.write("labels.csv", found.to_csv())
            folder.write("noise-matrix.json", found.matrix_json())
            folder.write(SUSPECTS, gallery(found, pool).to_json())
    return found
