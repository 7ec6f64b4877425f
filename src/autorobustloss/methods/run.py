"""From a method's spec to trained networks and their curves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from autorobustloss.methods.registry import METHODS, Procedure, Setting
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.training import History, LossObjective, Protocol
from autorobustloss.training.history import SPLITS

if TYPE_CHECKING:
    from autorobustloss.data import Splits


def run_method(
    spec: MethodSpec,
    model_name: str,
    splits: Splits,
    protocol: Protocol,
    seed: int,
    evaluate: Sequence[str] = SPLITS,
    noise_matrix: Tensor | None = None,
    on_epoch: Callable[[History], None] | None = None,
) -> History:
    """Train with a method and return the curves; `train_networks` returns the networks too."""
    return train_networks(spec, model_name, splits, protocol, seed, evaluate, noise_matrix, on_epoch)[1]


def train_networks(
    spec: MethodSpec,
    model_name: str,
    splits: Splits,
    protocol: Protocol,
    seed: int,
    evaluate: Sequence[str] = SPLITS,
    noise_matrix: Tensor | None = None,
    on_epoch: Callable[[History], None] | None = None,
) -> tuple[nn.ModuleList, History]:
    """Train with a method; return the trained networks (one, or several for some procedures) and the curves."""
    setting = Setting(model_name, splits, protocol, seed, evaluate, noise_matrix, on_epoch)
    return create_procedure(spec)(setting)


def create_procedure(spec: MethodSpec) -> Procedure:
    """Return the procedure behind a spec: a registered one, or the standard loop around a loss of that name."""
    if spec.name in METHODS:
        return METHODS.create(spec.name, **spec.options)

    def plain_loss(setting: Setting) -> tuple[nn.ModuleList, History]:
        from autorobustloss.losses import create_loss

        criterion = create_loss(spec.name, **spec.options).to(setting.splits.x_train.device)
        objective = LossObjective(setting.network(), criterion)
        return objective.networks, setting.fit(objective)

    return plain_loss
