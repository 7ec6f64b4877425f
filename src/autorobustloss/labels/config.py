"""What is asked of whom: folds × seeds as jobs, each a network that judges the samples it has not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch

from autorobustloss.data import Dataset, DataSpec
from autorobustloss.data.splits import check_splits
from autorobustloss.errors import ConfigError
from autorobustloss.labels.pool import examined
from autorobustloss.methods import MethodSpec, create_criterion, with_published_values
from autorobustloss.models import build_model
from autorobustloss.registry import METHODS
from autorobustloss.runs import Job, Task
from autorobustloss.runs.strict import plain

VALID_SHARE = 10
"""One sample in so many is taken out of the training folds where a method wants noisy validation labels."""


@dataclass(frozen=True)
class LabelsConfig:
    """Cross-validation of labels.

    task: the data set, of which the training part is examined (see `pool.examined`), its noise, network, protocol.
    method: what the networks are trained with; folds: into how many parts the samples are cut.
    seeds: how often all of it is done, each time with other folds and initial weights; probabilities are averaged.
    seed: the first of these; it also draws the noise, where the task adds some.
    name: what the method is called where its own label is long, as that of a learned loss is.

    Raises ConfigError for numbers that cannot be meant.
    """

    task: Task
    method: MethodSpec
    folds: int = 5
    seeds: int = 1
    seed: int = 0
    name: str = ""

    def __post_init__(self) -> None:
        if not 2 <= self.folds <= 100:
            raise ConfigError(f"got {self.folds} folds, expected 2 to 100; 5 is usual")
        if not 1 <= self.seeds <= 100:
            raise ConfigError(f"got seeds={self.seeds}, expected 1 to 100")

    def jobs(self) -> list[Job]:
        """Return the trainings: seed by seed, fold by fold."""
        found = []
        for seed, fold in product(range(self.seed, self.seed + self.seeds), range(self.folds)):
            spec = replace(self.task.dataset, folds=self.folds, fold=fold)
            task = replace(self.task, dataset=spec)
            found.append(Job(task, self.method, seed, self.seed, seed, evaluate=(), predict=True))
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain JSON types, its task among `tasks` as that of other commands."""
        settings = dict(plain(self))
        return {"tasks": [settings.pop("task")], **settings}


def label_config(
    task: Task, dataset: Dataset, method: MethodSpec, train_size: int = 0, valid_size: int = 0, **how: Any
) -> tuple[LabelsConfig, Dataset]:
    """Return the configuration for a task and its data set, methods at authors' values, and what is examined of it.

    train_size: samples to examine, 0 for all. valid_size: noisy validation samples out of the training folds of each
    network; a procedure, which may want some, gets a tenth where none are asked for. how: folds, seeds, seed, name.

    Raises now what a network, its loss or its data would raise later.
    """
    config = LabelsConfig(task, with_published_values(method, dataset.num_classes, task.dataset.name), **how)
    pool = examined(dataset, task.noise, train_size, config.seed)
    if method.name in METHODS and not valid_size:
        valid_size = max(len(pool.y_train) * (config.folds - 1) // config.folds // VALID_SHARE, 1)
    build_model(task.model, pool.input_shape, pool.num_classes, seed=0)  # complains now, or not at all
    if method.name not in METHODS:
        create_criterion(config.method, pool.num_classes)(torch.zeros(1, pool.num_classes), torch.tensor([0]))
    spec = DataSpec(task.dataset.name, 0, valid_size, 0, pool.fingerprint)
    check_splits(pool, replace(spec, folds=config.folds), task.noise, allow_hopeless=True)
    return replace(config, task=replace(task, dataset=spec)), pool
