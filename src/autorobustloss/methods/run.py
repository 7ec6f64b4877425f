"""From a method's spec to trained networks and their curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from autorobustloss.errors import unknown_name
from autorobustloss.losses import list_losses
from autorobustloss.methods.registry import Procedure, Setting, plain_loss
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import LOSSES, METHODS
from autorobustloss.training import History, TrainingProtocol
from autorobustloss.training.history import SPLITS

if TYPE_CHECKING:
    from autorobustloss.data import Splits


def run_method(
    spec: MethodSpec,
    model_name: str,
    splits: Splits,
    protocol: TrainingProtocol,
    seed: int,
    evaluate: Sequence[str] = SPLITS,
    noise_matrix: Tensor | None = None,
) -> History:
    """Train a network with a method and return its curves: a pure function of its arguments.

    spec: a procedure of `METHODS`, or any loss, at its published scale or with `match_scale=True` (see `matched`).
    model_name: a network, hyper-parameters included where wanted: "vgg11(width=0.25)".
    noise_matrix: the true T[true, noisy], for methods that are told it.
    Raises UnknownNameError for a name that is neither a procedure nor a loss, ConfigError for hyper-parameters that
    do not fit.

    >>> from autorobustloss.data import DataSpec, load_dataset, make_splits
    >>> splits = make_splits(load_dataset("digits"), DataSpec("digits", train_size=500), "sym:0.2")
    >>> history = run_method(MethodSpec.of("gce", q=0.7), "mlp2", splits, TrainingProtocol(lr=0.1, epochs=3), seed=0)
    >>> history.last("test") > 0.5
    True
    """
    return train_networks(spec, model_name, splits, protocol, seed, evaluate, noise_matrix)[1]


def train_networks(
    spec: MethodSpec,
    model_name: str,
    splits: Splits,
    protocol: TrainingProtocol,
    seed: int,
    evaluate: Sequence[str] = SPLITS,
    noise_matrix: Tensor | None = None,
    on_epoch: Callable[[History], None] | None = None,
) -> tuple[nn.ModuleList, History]:
    """Do what `run_method` does, and return the trained networks too: one, or several for some procedures.

    on_epoch: see `autorobustloss.training.fit`; procedures of several stages call it in the last one only.
    """
    setting = Setting(model_name, splits, protocol, seed, evaluate, noise_matrix, on_epoch)
    return create_procedure(spec)(setting)


def create_procedure(spec: MethodSpec) -> Procedure:
    """Return the procedure behind a spec: a registered one, or the standard loop around a loss of that name."""
    if spec.name in METHODS:
        return METHODS.create(spec.name, **spec.options)
    if spec.name not in LOSSES:
        raise unknown_name("method", spec.name, list_methods())
    return plain_loss(spec)


def list_methods() -> list[str]:
    """Return the names of all methods: procedures and losses."""
    return sorted([*METHODS.names(), *list_losses()])
