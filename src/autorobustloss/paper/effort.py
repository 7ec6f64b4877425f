"""How much of the paper's effort a run spends, and how the paper's tasks look then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from autorobustloss.data import DataSpec
from autorobustloss.errors import ConfigError
from autorobustloss.registry import MODELS
from autorobustloss.runs import Task
from autorobustloss.training.protocol import TrainingProtocol, suited


@dataclass(frozen=True)
class Effort:
    """How much effort is spent; the default is all images and epochs and the full width, with three seeds.

    train_size, test_size: images, 0 for all; a quarter of train_size is validated on, a tenth of all where it is 0.
    epochs: 0 for the protocol's own; milestones move along. width: of the convolutional networks that have one.
    trials: of hyper-parameter tuning (Table 3), 0 for a sweep of the learning rate alone. generations, population: of
    the searches (Figure 3, Table 5). The paper states neither number, nor its seeds but for Table 4; ours are choices.
    precision: of the trainings, see `TrainingProtocol`.
    """

    train_size: int = 0
    test_size: int = 0
    epochs: int = 0
    seeds: int = 3
    width: float = 1.0
    trials: int = 0
    generations: int = 50
    population: int = 12
    precision: str = "float32"

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name == "precision":
                continue  # the protocol looks at it
            value, least = getattr(self, field.name), 1 if field.name in ("seeds", "generations", "population") else 0
            if not least <= value <= 10**9 or (field.name == "width" and not value):
                wanted = "a positive number" if field.name == "width" else f"{least} or more"
                raise ConfigError(f"scale: got {field.name}={value}, expected {wanted}")

    def task(self, dataset: str, model: str, noise: str, protocol: TrainingProtocol, valid: int = 0) -> Task:
        """Return a task of the paper at this effort, without flips where a mirror image is no sample.

        valid: images to validate on where all are trained on, 0 for a tenth.
        """
        protocol = suited(protocol, dataset).but(precision=self.precision)
        if self.epochs:
            protocol = shortened(protocol, self.epochs)
        if self.width != 1 and model in MODELS and "width" in MODELS.parameters(model):
            model = f"{model}(width={self.width:g})"
        data = DataSpec(dataset, self.train_size, -(-self.train_size // 4) or valid, self.test_size)
        return Task(data, noise, model, protocol)


def shortened(protocol: TrainingProtocol, epochs: int) -> TrainingProtocol:
    """Return a protocol of another length, its milestones moved along.

    >>> from autorobustloss.training.protocol import PRESETS
    >>> shortened(PRESETS["lookahead"], 20).milestones
    (6, 12, 16)
    """
    milestones: list[int] = []
    for milestone in protocol.milestones:
        moved = round(milestone * epochs / protocol.epochs)
        milestones.append(max(moved, milestones[-1] + 1 if milestones else 1))
    return protocol.but(epochs=epochs, milestones=tuple(milestones))


EFFORTS: Mapping[str, Effort] = {
    "tiny": Effort(train_size=200, test_size=200, epochs=2, seeds=1, width=0.125, generations=1, population=4),
    "small": Effort(train_size=2000, test_size=1000, epochs=10, seeds=1, width=0.25, generations=5, population=8),
    "full": Effort(),
}
"""To see that everything runs; to see which way it goes; all images and epochs."""
