"""A loss as a picture: how hard it pulls at the label, and its weight beside cross-entropy, drawn as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from autorobustloss.losses.analysis import along_line
from autorobustloss.losses.base import RobustLoss
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.noise import transition_matrix
from autorobustloss.training import History, Objective, TrainingProtocol

Array = NDArray[np.float64]
CLASSES, EPOCHS = 10, 40
PROBABILITIES = np.linspace(0.005, 0.995, 100)
STYLES = ("first", "second")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 330, 235, 46, 316, 30, 195


def of_loss(loss: RobustLoss) -> dict[str, Array]:
    """Return how hard a loss pulls at the label, −∂ℓ/∂z of its logit, by the label's probability; ten classes."""
    return {"this loss": -along_line(loss, PROBABILITIES, CLASSES, labelled=True).gradient}


class AsGiven(nn.Module):
    """A network whose logits are its input, times a weight of one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Return the input."""
        return x * self.weight


@dataclass(frozen=True)
class Looking(Setting):
    """A setting in which nothing is trained: it keeps what a method would minimise."""

    def network(self, number: int = 0) -> nn.Module:
        """Return a network of no parameters to speak of."""
        return AsGiven()

    def fit(self, objective: Objective, protocol: TrainingProtocol | None = None) -> Trained:
        """Keep the objective."""
        cast(list[Objective], self.on_epoch).append(objective)
        return objective.networks, History([], [], [])


def of_method(procedure: Procedure, by_class: bool = False, averaged: bool = False) -> dict[str, Array]:
    """Return the same of a procedure, asked for the gradient of its objective at each prediction.

    A batch has each class at each probability once. The objective sees it in every epoch, so that a schedule goes on
    and a memory fills. Classes are as frequent as 1 : 2 : … : 512; 40 % of the labels are wrong, symmetrically.
    by_class: the rarest class and the most frequent one, in place of the first and the last epoch. averaged: over all
    epochs, for an objective that is drawn by chance.
    """
    points = len(PROBABILITIES)
    p = np.full((points, CLASSES, CLASSES), ((1 - PROBABILITIES) / (CLASSES - 1))[:, None, None])
    for label in range(CLASSES):
        p[:, label, label] = PROBABILITIES
    logits = torch.from_numpy(np.log(p).reshape(-1, CLASSES))
    logits = (logits - logits.mean(dim=1, keepdim=True)).requires_grad_()
    labels = torch.arange(CLASSES).repeat(points)
    objective = objective_of(procedure)
    objective.index = torch.arange(len(labels))
    pulls = []
    for epoch in range(1, EPOCHS + 1):
        value, _ = objective.loss(logits, labels, epoch)
        if 1 < epoch < EPOCHS and not averaged:
            continue
        (gradient,) = torch.autograd.grad(value, logits)
        pull = -gradient.gather(1, labels[:, None])[:, 0] * len(labels) / len(objective.networks)
        pulls.append(pull.reshape(points, CLASSES).numpy())
    if averaged:
        return {"this method": np.mean(pulls, axis=(0, 2))}
    if by_class:
        return {"rarest class": pulls[0][:, 0], "most frequent class": pulls[0][:, -1]}
    first, last = pulls[0].mean(1), pulls[-1].mean(1)
    if np.allclose(first, last, rtol=1e-6):
        return {"this method": first}
    return {"first epoch": first, f"epoch {EPOCHS}": last}


def objective_of(procedure: Procedure) -> Objective:
    """Return what a procedure minimises."""
    found: list[Objective] = []
    frequencies = torch.arange(CLASSES).repeat_interleave(torch.tensor([2**k for k in range(CLASSES)]))
    index_size = len(PROBABILITIES) * CLASSES
    labels = frequencies.repeat(1 + index_size // len(frequencies))
    splits: Any = SimpleNamespace(
        y_train=labels, x_train=torch.zeros(len(labels), 1), num_classes=CLASSES, noise_rate=0.4,
        y_valid_noisy=labels[:1],
    )  # fmt: skip
    matrix = torch.as_tensor(transition_matrix("sym:0.4", CLASSES))
    setting = Looking("", splits, TrainingProtocol(lr=0.1, epochs=EPOCHS), 0, noise_matrix=matrix)
    procedure.run(replace(setting, on_epoch=cast(Any, found)))
    return found[-1].double() if isinstance(found[-1], nn.Module) else found[-1]


def picture(curves: Mapping[str, Array], name: str) -> str:
    """Return two panels and a legend as HTML: the pull, and the pull over that of cross-entropy."""
    reference = {"cross-entropy": 1 - PROBABILITIES}
    pulls = {**curves, **reference}
    weights = {key: value / reference["cross-entropy"] for key, value in pulls.items()}
    keys = "".join(f'<span class="{kind_of(key, number)}">{key}</span>' for number, key in enumerate(pulls))
    return (
        f'<div class="loss-picture">{panel(pulls, "pull at the label", f"{name}: {describe(curves)}")}'
        f"{panel(weights, 'weight: pull over that of cross-entropy', f'{name}: the same over that of cross-entropy')}"
        f'<p class="legend">{keys}</p></div>'
    )


def kind_of(key: str, number: int) -> str:
    """Return the class of a curve, which is its colour and its dashes."""
    return "reference" if key == "cross-entropy" else STYLES[number]


def describe(curves: Mapping[str, Array]) -> str:
    """Return in words what the picture shows."""
    said = []
    for key, pull in curves.items():
        at = {p: pull[np.abs(PROBABILITIES - p).argmin()] for p in (0.1, 0.5, 0.9)}
        said.append(f"{key} pulls by " + ", ".join(f"{value:.2g} at probability {p}" for p, value in at.items()))
    return "; ".join(said) + "; cross-entropy by 0.9, 0.5, 0.1"


def panel(curves: Mapping[str, Array], title: str, about: str) -> str:
    """Return a panel as SVG: frame, ticks, curves. Its range is that of nearly all points, and at least 0 to 1."""
    values = np.concatenate(list(curves.values()))
    values = values[np.isfinite(values)]
    low, high = min(0.0, float(np.quantile(values, 0.02))), max(1.0, float(np.quantile(values, 0.98)))
    step = nice_step(high - low)
    low, high = np.floor(low / step) * step, np.ceil(high / step) * step

    def y_of(value: Array) -> Array:
        return BOTTOM - (value - low) / (high - low) * (BOTTOM - TOP)

    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(about)}">',
        f'<text class="title" x="{LEFT}" y="{TOP - 14}">{title}</text>',
        f'<text class="below" x="{(LEFT + RIGHT) / 2}" y="{BOTTOM + 34}">probability of the label</text>',
    ]
    for tick in np.arange(low, high + step / 2, step):
        y = float(y_of(np.float64(tick)))
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{RIGHT}"/>')
        parts.append(
            f'<text class="left" x="{LEFT - 6}" y="{y + 4:.1f}">{f"{tick + 0.0:.4g}".replace("-", "−")}</text>'
        )
    for tick in (0, 0.5, 1):
        parts.append(f'<text class="below" x="{LEFT + tick * (RIGHT - LEFT):.0f}" y="{BOTTOM + 17}">{tick:g}</text>')
    for number, (key, value) in reversed(list(enumerate(curves.items()))):
        inside = (value >= low) & (value <= high)
        points = " ".join(
            f"{LEFT + p * (RIGHT - LEFT):.1f},{y:.1f}" for p, y in zip(PROBABILITIES[inside], y_of(value[inside]))
        )
        parts.append(f'<polyline class="{kind_of(key, number)}" points="{points}"/>')
    return "".join([*parts, "</svg>"])


def nice_step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten, so that some four steps make the span.

    >>> nice_step(1.0), nice_step(7.0)
    (0.2, 2.0)
    """
    power = 10.0 ** np.floor(np.log10(span / 4))
    return float(next(m * power for m in (1, 2, 5, 10) if span / (m * power) <= 5.001))
