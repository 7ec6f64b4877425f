"""Procedures by name: a method that is more than a loss in the standard loop."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from autorobustloss.errors import ConfigError
from autorobustloss.losses.literature.values import PENALTY
from autorobustloss.methods.criterion import create_criterion, penalty_of
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.models import build_model
from autorobustloss.seeding import derive_seed
from autorobustloss.training import History, LossObjective, Objective, TrainingProtocol, fit

if TYPE_CHECKING:
    from autorobustloss.data import Splits


@dataclass(frozen=True)
class Setting:
    """What a method is given: the network's name, data, protocol, seed, and which splits to score.

    noise_matrix is the true T[true, noisy] (C, C), for methods that are told it; None where nobody knows it.
    """

    model: str
    splits: Splits
    protocol: TrainingProtocol
    seed: int
    evaluate: Sequence[str]
    noise_matrix: Tensor | None = None
    on_epoch: Callable[[History], None] | None = None

    @property
    def known(self) -> frozenset[str]:
        """What is known of the labels: of "noise_rate", "noise_matrix" and "valid_noisy"."""
        facts = {
            "noise_rate": self.splits.noise_rate is not None,
            "noise_matrix": self.noise_matrix is not None,
            "valid_noisy": bool((self.splits.y_valid_noisy >= 0).any()),
        }
        return frozenset(name for name, is_known in facts.items() if is_known)

    def network(self, number: int = 0) -> nn.Module:
        """Build an untrained network; number 0 has the initial weights that every method gets under this seed."""
        seed = self.seed if number == 0 else derive_seed("network", self.seed, number)
        network = build_model(self.model, self.splits.input_shape, self.splits.num_classes, seed)
        return network.to(self.splits.x_train.device)

    def criterion(self, spec: MethodSpec) -> nn.Module:
        """Build a loss on the device of the data; ConfigError for one with a penalty, which training adds."""
        if penalty_of(spec):
            raise ConfigError(f"got loss {spec.label!r} within a method, expected it without l1; give the protocol l1")
        return create_criterion(spec, self.splits.num_classes, self.splits.x_train.device)

    def fit(self, objective: Objective, protocol: TrainingProtocol | None = None) -> tuple[nn.ModuleList, History]:
        """Train an objective under the setting's protocol, or a changed one; return its networks and the curves."""
        history = fit(
            objective, self.splits, protocol or self.protocol, self.seed, self.evaluate, on_epoch=self.on_epoch
        )
        return objective.networks, history


Procedure = Callable[[Setting], tuple[nn.ModuleList, History]]


@dataclass(frozen=True)
class Informed:
    """A procedure that needs something of `Setting.known`; otherwise: what to say where it is not."""

    run: Procedure
    needs: str
    otherwise: str

    def check(self, known: Container[str]) -> None:
        """Raise ConfigError where what it needs is not among what is known."""
        if self.needs not in known:
            raise ConfigError(self.otherwise)

    def __call__(self, setting: Setting) -> tuple[nn.ModuleList, History]:
        """Check, and run."""
        self.check(setting.known)
        return self.run(setting)


def plain_loss(spec: MethodSpec) -> Procedure:
    """Return the procedure that minimises one loss in the standard loop.

    `l1` among the hyper-parameters, which any loss may have, puts that penalty in place of the protocol's weight decay.
    """
    l1 = penalty_of(spec)
    bare = MethodSpec.of(spec.name, **{key: value for key, value in spec.options.items() if key != PENALTY})

    def run(setting: Setting) -> tuple[nn.ModuleList, History]:
        protocol = setting.protocol.but(l1=l1, weight_decay=0.0) if l1 else setting.protocol
        return setting.fit(LossObjective(setting.network(), setting.criterion(bare)), protocol)

    return run
