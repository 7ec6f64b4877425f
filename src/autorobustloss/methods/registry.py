"""Procedures by name: a method that is more than a loss in the standard loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from autorobustloss.models import build_model
from autorobustloss.registry import Registry
from autorobustloss.seeding import derive_seed
from autorobustloss.training import History, Objective, Protocol, fit

if TYPE_CHECKING:
    from autorobustloss.data import Splits


@dataclass(frozen=True)
class Setting:
    """Everything a method is given: network, data, protocol, seed, and what to score.

    noise_matrix is the true T[true, noisy] where the caller knows it (for methods that are told it), else None.
    """

    model: str
    splits: Splits
    protocol: Protocol
    seed: int
    evaluate: Sequence[str]
    noise_matrix: Tensor | None = None
    on_epoch: Callable[[History], None] | None = None

    def network(self, which: int = 0) -> nn.Module:
        """Build an untrained network; number 0 has the initial weights that every method with this seed gets."""
        seed = self.seed if which == 0 else derive_seed("network", self.seed, which)
        network = build_model(self.model, self.splits.input_shape, self.splits.num_classes, seed)
        return network.to(self.splits.x_train.device)

    def fit(self, objective: Objective, protocol: Protocol | None = None) -> History:
        """Train an objective under the setting's protocol, or a changed one."""
        return fit(objective, self.splits, protocol or self.protocol, self.seed, self.evaluate, self.on_epoch)


Procedure = Callable[[Setting], tuple[nn.ModuleList, History]]

METHODS: Registry[Procedure] = Registry("method")
