"""Labels that are taken from the data set, none drawn: clean, as they come, or human."""

from __future__ import annotations

from dataclasses import dataclass, field

from autorobustloss.errors import ConfigError
from autorobustloss.noise.base import NOISES, NoiseSpec, Rows

HUMAN_LABELS = {"cifar10": ("aggre", "random1", "random2", "random3", "worse"), "cifar100": ("noisy",)}
"""Label sets of CIFAR-10N and CIFAR-100N (Wei et al. 2022), by data set."""


@NOISES.register("clean", "none")
class Clean(NoiseSpec):
    """No corruption."""

    kind = "clean"

    def rows(self, num_classes: int, dataset: str) -> Rows:
        """Return the unit matrix."""
        return [[float(i == j) for j in range(num_classes)] for i in range(num_classes)]


@NOISES.register("given")
class Given(NoiseSpec):
    """The labels as they come, noisy or not."""

    kind = labels = "given"
    by_class = False


@NOISES.register("human")
@dataclass(frozen=True)
class Human(NoiseSpec):
    """Human labels of CIFAR-10N or CIFAR-100N, by name."""

    labels: str = field()
    kind = "human"
    by_class = False

    def __post_init__(self) -> None:
        known = [name for names in HUMAN_LABELS.values() for name in names]
        if self.labels not in known:
            raise ConfigError(f"noise human:{self.labels:.80}: expected one of {', '.join(known)}, as in human:worse")

    @property
    def words(self) -> str:
        """Whose labels they are."""
        return f"human labels {self.labels!r}"
