"""What a method that is more than a loss in the standard loop is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

from autorobustloss.data.splits import Splits
from autorobustloss.errors import ConfigError
from autorobustloss.methods.criterion import create_criterion, penalty_of
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.models import build_model
from autorobustloss.seeding import derive_seed
from autorobustloss.training import History, Objective, TrainingProtocol, fit
from autorobustloss.training.history import SPLITS

Trained: TypeAlias = tuple[nn.ModuleList, History]


@dataclass(frozen=True)
class Setting:
    """What a method is given: the network's name, data, protocol, seed, and which splits to score.

    model: a network, hyper-parameters included where wanted: "vgg11(width=0.25)".
    noise_matrix: the true T[true, noisy] (C, C), for methods that are told it; None where nobody knows it.
    on_epoch: see `autorobustloss.training.fit`; procedures of several stages call it in the last one only.
    """

    model: str
    splits: Splits
    protocol: TrainingProtocol
    seed: int
    evaluate: Sequence[str] = SPLITS
    noise_matrix: Tensor | None = None
    on_epoch: Callable[[History], None] | None = None

    @property
    def known(self) -> set[str]:
        """What is known of the labels: of "noise_rate", "noise_matrix" and "valid_noisy"."""
        facts = {
            "noise_rate": self.splits.noise_rate is not None,
            "noise_matrix": self.noise_matrix is not None,
            "valid_noisy": bool((self.splits.y_valid_noisy >= 0).any()),
        }
        return {name for name, is_known in facts.items() if is_known}

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

    def fit(self, objective: Objective, protocol: TrainingProtocol | None = None) -> Trained:
        """Train an objective under the setting's protocol, or a changed one; return its networks and the curves."""
        protocol = protocol or self.protocol
        return objective.networks, fit(objective, self.splits, protocol, self.seed, self.evaluate, self.on_epoch)


@dataclass(frozen=True)
class Procedure:
    """A way to train networks; a factory of `METHODS` makes one of hyper-parameters.

    needs: what of `Setting.known` it cannot do without, "" for nothing; otherwise: what to say where it is not known.
    """

    run: Callable[[Setting], Trained]
    needs: str = ""
    otherwise: str = ""

    def check(self, known: Container[str]) -> None:
        """Raise ConfigError where what it needs is not among what is known."""
        if self.needs and self.needs not in known:
            raise ConfigError(self.otherwise)
