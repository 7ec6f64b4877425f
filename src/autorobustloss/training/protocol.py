"""How a network is trained: a frozen set of numbers, and the presets with their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from autorobustloss.errors import ConfigError, unknown_name

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "steps", "linear")
AUGMENTATIONS = ("none", "crop-flip")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Protocol:
    """Everything about training that is not the data, the network or the loss. Part of a job's key.

    optimizer: "sgd", "adam" or "adamw"; lr, momentum, nesterov, weight_decay as in torch.optim (momentum is Adam's β₁).
    schedule: "constant"; "cosine" to 0 over all epochs; "steps": × gamma at each milestone (epochs);
        "linear": constant up to the first milestone, then linearly to 0 at the end.
    clip_norm: largest gradient norm, 0 for none. lookahead: (k, alpha) of the Lookahead optimizer, () for none.
    average: decay of an exponential moving average of the weights, evaluated in their place; 0 for none.
    smoothing of labels and the like belong to the loss, not here.
    augment: "none", or "crop-flip" (pad 4, random crop, horizontal flip, on the batch).
    precision: "float32", or "bfloat16" (autocast of the forward pass).
    evaluate_every: epochs between evaluations; the last epoch is always evaluated.
    patience_at_chance: stop a network whose training accuracy has not left chance level after so many epochs
        (0: never). Like divergence, this ends the job with the curves up to there and `stopped` set.
    """

    optimizer: str = "sgd"
    lr: float = 0.01
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0
    batch_size: int = 128
    epochs: int = 40
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    clip_norm: float = 0.0
    lookahead: tuple[float, ...] = ()
    average: float = 0.0
    augment: str = "none"
    precision: str = "float32"
    evaluate_every: int = 1
    patience_at_chance: int = 0

    def __post_init__(self) -> None:
        _choice("optimizer", self.optimizer, OPTIMIZERS)
        _choice("schedule", self.schedule, SCHEDULES)
        _choice("augment", self.augment, AUGMENTATIONS)
        _choice("precision", self.precision, PRECISIONS)
        object.__setattr__(self, "milestones", tuple(int(m) for m in self.milestones))
        object.__setattr__(self, "lookahead", tuple(float(v) for v in self.lookahead))
        for name in ("lr", "batch_size", "epochs", "evaluate_every"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"protocol: got {name}={getattr(self, name)!r}, expected a positive number")
        for name in ("momentum", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"protocol: got {name}={getattr(self, name)!r}, expected a number in [0, 1)")
        for name in ("weight_decay", "clip_norm", "patience_at_chance"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"protocol: got {name}={getattr(self, name)!r}, expected 0 or more")
        if self.schedule in ("steps", "linear") and not self.milestones:
            raise ConfigError(
                f"protocol: schedule {self.schedule!r} needs milestones, got none; try milestones=(20, 30)"
            )
        if self.lookahead and len(self.lookahead) != 2:
            raise ConfigError(f"protocol: got lookahead={self.lookahead!r}, expected (k, alpha), e.g. (5, 0.8), or ()")

    def but(self, **changes: Any) -> Protocol:
        """Return a copy with some fields changed; an unknown field is an error with a suggestion.

        >>> Protocol().but(epochs=3).epochs
        3
        """
        known = {f.name for f in fields(self)}
        for name in changes:
            if name not in known:
                raise unknown_name("protocol field", name, known)
        return replace(self, **changes)


def _choice(name: str, got: str, allowed: tuple[str, ...]) -> None:
    if got not in allowed:
        raise ConfigError(f"protocol: got {name}={got!r}, expected one of {', '.join(allowed)}")


PRESETS: Mapping[str, Protocol] = {
    # The paper, section 4: MLPs and the 4-layer CNN train with SGD, learning rate 0.01, momentum 0.9.
    "shallow": Protocol(optimizer="sgd", lr=0.01, momentum=0.9),
    # The paper, section 4: JoCoR-Net trains with Adam, learning rate 0.001.
    "jocor-net": Protocol(optimizer="adam", lr=0.001),
}


def create_protocol(preset: str = "shallow", **changes: Any) -> Protocol:
    """Return a preset by name, with some of its fields changed."""
    if preset not in PRESETS:
        raise unknown_name("protocol", preset, PRESETS)
    return PRESETS[preset].but(**changes)
