"""How a network is trained: a frozen set of numbers, and the presets with their sources."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from autorobustloss.data.names import handed
from autorobustloss.errors import ConfigError, unknown_name

Check = tuple[Callable[[Any], bool], str]


def _one_of(*names: str) -> Check:
    return lambda value: value in names, f"one of {', '.join(names)}"


def _rising(epochs: tuple[int, ...]) -> bool:
    return list(epochs) == sorted(set(epochs)) and min(epochs, default=0) >= 0


def _is_lookahead(value: tuple[float, ...]) -> bool:
    return not value or (len(value) == 2 and value[0] >= 1 and value[0].is_integer() and 0 < value[1] <= 1)


ALLOWED: Mapping[str, Check] = {
    "optimizer": _one_of("sgd", "adam", "adamw"),
    "schedule": _one_of("constant", "cosine", "steps", "linear"),
    "augment": _one_of("none", "crop", "crop-flip"),
    "precision": _one_of("float32", "bfloat16"),
    "lr": (lambda value: 0 < value <= 1e38, "a number in (0, 1e38]"),
    "batch_size": (lambda value: 0 < value <= 2**31, "a number in (0, 2147483648]"),
    "epochs": (lambda value: 0 < value <= 10**6, "a number in (0, 1000000]"),
    "evaluate_every": (lambda value: value > 0, "a number above 0"),
    "late_momentum": (lambda value: value is None or 0 <= value < 1, "a number in [0, 1)"),
    "weight_decay": (lambda value: 0 <= value <= 1e38, "a number in [0, 1e38]"),
    **dict.fromkeys(("momentum", "average"), (lambda value: 0 <= value < 1, "a number in [0, 1)")),
    **dict.fromkeys(("clip_norm", "patience_at_chance", "l1"), (lambda value: value >= 0, "a number of 0 or more")),
    "milestones": (_rising, "rising epoch numbers"),
    "lookahead": (_is_lookahead, "(k, alpha), e.g. (5, 0.8), or ()"),
}
"""What each field may be, and how to say so."""


@dataclass(frozen=True)
class TrainingProtocol:
    """Everything about training that is not the data, the network or the loss. Part of a job's key.

    optimizer: "sgd", "adam" or "adamw"; lr, momentum, nesterov, weight_decay as in torch.optim (momentum is Adam's β₁).
    schedule: "constant"; "cosine" to 0 over all epochs; "steps": × gamma at each milestone (epochs), gamma being one
        factor or one for each; "linear": constant up to the first milestone, then linearly to 0 at the end.
    late_momentum: the momentum from the first milestone on, None to keep it.
    l1: δ of a penalty δ·Σ|w| over all weights, added to the loss; its gradient δ·sign(w) is there before clipping. It
        takes the place of weight decay where authors ask for it, but sets no other field. 0 for none.
    clip_norm: largest gradient norm, 0 for none. lookahead: (k, alpha) of the Lookahead optimizer, () for none.
    average: decay of an exponential moving average of the weights, evaluated in their place; 0 for none.
        Lookahead's slow weights are evaluated in place of the fast ones, too.
    smoothing of labels and the like belong to the loss, not here.
    augment: "none", "crop" (pad 4, random crop, on the batch), or "crop-flip" (and horizontal flips: not for digits).
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
    gamma: float | tuple[float, ...] = 0.1
    late_momentum: float | None = None
    clip_norm: float = 0.0
    lookahead: tuple[float, ...] = ()
    average: float = 0.0
    augment: str = "none"
    precision: str = "float32"
    evaluate_every: int = 1
    patience_at_chance: int = 0
    l1: float = field(default=0.0, metadata={"added": True})

    def __post_init__(self) -> None:
        for name, numbers in (("milestones", int), ("lookahead", float), ("gamma", float)):
            value = getattr(self, name)
            if not isinstance(value, (int, float)):
                object.__setattr__(self, name, tuple(numbers(v) for v in value))
        for name, (allowed, expected) in ALLOWED.items():
            value = getattr(self, name)
            if not allowed(value):
                raise ConfigError(f"protocol: got {name}={value!r}, expected {expected}")
        if not self.milestones and (self.schedule in ("steps", "linear") or self.late_momentum is not None):
            what = f"schedule {self.schedule!r}" if self.late_momentum is None else "late_momentum"
            raise ConfigError(f"protocol: {what} needs milestones, got none; try milestones=(20, 30)")
        if self.milestones and isinstance(self.gamma, tuple) and len(self.gamma) != len(self.milestones):
            raise ConfigError(
                f"protocol: got {len(self.gamma)} factors gamma={self.gamma!r} for {len(self.milestones)} milestones"
            )

    def but(self, **changes: Any) -> TrainingProtocol:
        """Return a copy with some fields changed; an unknown field is an error with a suggestion.

        >>> TrainingProtocol().but(epochs=3).epochs
        3
        """
        known = {f.name for f in fields(self)}
        for name in changes:
            if name not in known:
                raise unknown_name("protocol field", name, known)
        return replace(self, **changes)


PRESETS: Mapping[str, TrainingProtocol] = {
    # The paper, section 4: MLPs and the 4-layer CNN train with SGD, learning rate 0.01, momentum 0.9.
    "shallow": TrainingProtocol(optimizer="sgd", lr=0.01, momentum=0.9),
    # Small tables and 8x8 images: cross-entropy memorises most noisy labels of some thousand samples, in some
    # hundred steps. Steeper, losses at its scale with MAE's gradients later on no longer train deeper networks.
    "digits": TrainingProtocol(optimizer="sgd", lr=0.06, momentum=0.9, batch_size=128, epochs=60, evaluate_every=10),
    # The paper, section 4: JoCoR-Net trains with Adam, learning rate 0.001.
    "jocor-net": TrainingProtocol(optimizer="adam", lr=0.001),
    # JoCoR's published code (Wei et al. 2020) on CIFAR-10: 200 epochs; from epoch 80 the learning rate falls linearly
    # and Adam's β₁ is 0.1.
    "jocor": TrainingProtocol(
        optimizer="adam", lr=0.001, epochs=200, schedule="linear", milestones=(80,), late_momentum=0.1
    ),
    # ResNet-18 and VGG-11 in the paper follow the CIFAR protocol of Zhang et al. 2019 (Lookahead around SGD). Schedule,
    # batch and augmentation are those of the code that work builds on (DeVries & Taylor's Cutout); learning rate, decay
    # and (k, α) those of a reproduction, for the paper states none of them.
    "lookahead": TrainingProtocol(
        optimizer="sgd",
        lr=0.1,
        momentum=0.9,
        weight_decay=1e-3,
        epochs=200,
        schedule="steps",
        milestones=(60, 120, 160),
        gamma=0.2,
        lookahead=(5, 0.8),
        augment="crop-flip",
    ),
    # What robust losses are compared with on CIFAR-10 since Ma et al. (ICML 2020), on the network cnn8.
    "field": TrainingProtocol(
        optimizer="sgd",
        lr=0.01,
        momentum=0.9,
        weight_decay=1e-4,
        epochs=120,
        schedule="cosine",
        clip_norm=5.0,
        augment="crop-flip",
        evaluate_every=10,
    ),
    # The paper, section 4.3, after JoCoR: ResNet-18 with Adam at 8e-4, 5e-4 and 5e-5, five epochs each. Batch size 64
    # is JoCoR's; the paper states none.
    "clothing1m": TrainingProtocol(
        optimizer="adam", lr=8e-4, batch_size=64, epochs=15, schedule="steps", milestones=(5, 10), gamma=(0.625, 0.1)
    ),
}


def suited(protocol: TrainingProtocol, dataset: str) -> TrainingProtocol:
    """Return a protocol as a data set, by name, allows it: without flips where a mirror image is no sample.

    >>> [suited(PRESETS["lookahead"], name).augment for name in ("cifar10", "usps")]
    ['crop-flip', 'crop']
    """
    return protocol.but(augment="crop") if protocol.augment == "crop-flip" and handed(dataset) else protocol


def create_protocol(preset: str = "shallow", **changes: Any) -> TrainingProtocol:
    """Return a preset by name, with some of its fields changed."""
    if preset not in PRESETS:
        raise unknown_name("protocol", preset, PRESETS)
    return PRESETS[preset].but(**changes)


def learning_rate(protocol: TrainingProtocol, epoch: int) -> float:
    """Return the learning rate of an epoch (from 1).

    With i = epoch − 1 of E epochs: cosine lr·(1 + cos(πi/E))/2; steps lr·Π gamma over the milestones ≤ i;
    linear lr·(E − i)/(E − m) from the first milestone m on.

    >>> [round(learning_rate(TrainingProtocol(lr=1.0, epochs=4, schedule="cosine"), e), 3) for e in (1, 2, 3, 4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    done, epochs = epoch - 1, protocol.epochs
    if protocol.schedule == "cosine":
        return protocol.lr * (1 + math.cos(math.pi * done / epochs)) / 2
    if protocol.schedule == "steps":
        gamma = protocol.gamma
        factors = gamma if isinstance(gamma, tuple) else (gamma,) * len(protocol.milestones)
        return protocol.lr * math.prod(g for m, g in zip(protocol.milestones, factors) if m <= done)
    if protocol.schedule == "linear" and done >= protocol.milestones[0]:
        return protocol.lr * (epochs - done) / (epochs - protocol.milestones[0])
    return protocol.lr


def momentum(protocol: TrainingProtocol, epoch: int) -> float:
    """Return the momentum (Adam's β₁) of an epoch (from 1).

    >>> protocol = TrainingProtocol(milestones=(2,), late_momentum=0.1)
    >>> [momentum(protocol, epoch) for epoch in (1, 2, 3)]
    [0.9, 0.9, 0.1]
    """
    if protocol.late_momentum is not None and epoch > protocol.milestones[0]:
        return protocol.late_momentum
    return protocol.momentum
