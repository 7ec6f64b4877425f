"""From the options to methods, and whether they can be trained on what there is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from autorobustloss.cli.lists import listed
from autorobustloss.data import known_labels, truth_known
from autorobustloss.errors import ARLError, ConfigError
from autorobustloss.methods import MethodSpec, create_criterion
from autorobustloss.methods.named import named_method
from autorobustloss.registry import METHODS
from autorobustloss.runs import Job
from autorobustloss.runs.tasks import TaskSet, label_sets


def read_named_methods(text: str | None, flag: str = "--methods", default: str = "") -> dict[str, MethodSpec]:
    """Return methods, joined by commas, by what a table calls them: their label, or the folder of a loss card."""
    named: dict[str, MethodSpec] = {}
    for part in listed(text, flag, default):
        name, method = named_method(part)
        for other, known in named.items():
            if other == name or known == method:
                raise ConfigError(f"got {other!r} and {name!r}, which are the same method or name; leave one out")
        named[name] = method
    return named


def check_methods(methods: Iterable[MethodSpec], known: TaskSet) -> None:
    """Raise the ConfigError of a method that needs to know more of the labels than anybody does."""
    procedures = [METHODS.create(m.name, **m.options) for m in methods if m.name in METHODS]
    for name, noise in label_sets(known.tasks):
        told = set(known_labels(known.datasets[name], noise))
        if truth_known(known.datasets[name], noise):
            told |= {"noise_rate", "noise_matrix"}
        for procedure in procedures:
            try:
                procedure.check(told)
            except ConfigError as error:
                raise ConfigError(f"data set {name!r}: {error}") from None


def check_losses(jobs: Iterable[Job], classes: Mapping[str, int]) -> None:
    """Raise the ConfigError of a loss that cannot be taken of a data set's number of classes, before others train."""
    for name, method in dict.fromkeys((job.task.dataset.name, job.method) for job in jobs):
        problem = unfit(method, classes[name])
        if problem is not None:
            raise ConfigError(f"data set {name!r}: loss {method.label!r}: {problem}") from None


def unfit(method: MethodSpec, classes: int) -> ARLError | None:
    """Return why a method's loss cannot be taken of so many classes, if it cannot."""
    if method.name not in METHODS:
        try:
            create_criterion(method, classes)(torch.zeros(1, classes), torch.tensor([0]))
        except ARLError as error:
            return error
    return None
