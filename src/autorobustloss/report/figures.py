"""Pictures of losses and of a search: the paper's Figure 2, the fitness per generation, and both in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from typing import Protocol as Interface

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from autorobustloss.errors import ConfigError
from autorobustloss.losses.analysis import curves, triangle
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.gated.module import GatedLoss
from autorobustloss.report.style import LINES, OKABE_ITO, layout, new_figure, save, tidy

__all__ = ["GenerationRecord", "figure2", "fitness_history", "save", "search_picture"]

LABEL_1, LABEL_0 = OKABE_ITO[5], OKABE_ITO[4]
EDGE = 0.02
"""Predicted probabilities nearer than this to 0 and 1 do not set the range of a panel: cross-entropy has no end."""


class GenerationRecord(Interface):
    """One generation of a search, as the fitness history needs it: accuracies in [0, 1]."""

    @property
    def number(self) -> int:
        """Counted from 1."""

    @property
    def best(self) -> float:
        """Highest accuracy of the generation's candidates."""

    @property
    def mean(self) -> float:
        """Mean over the candidates."""

    @property
    def worst(self) -> float:
        """Lowest accuracy."""


def figure2(losses: Mapping[str, RobustLoss], *, show: str = "value", num_points: int = 201) -> Figure:
    """Draw each loss against the predicted probability of a class that is the label (1) or is not (0).

    The paper's Figure 2; of a gated loss the weight over its two probabilities, from light (0) to dark (1). A value is
    shifted so that each curve's minimum is 0, since a constant changes no training; every panel has its own vertical
    range, since the scale of a loss is a matter of the learning rate. `show` is "value" or "gradient" (with respect to
    the probability).

    Raises ConfigError for no losses or another `show`.
    """
    _check(losses, show)
    rows, columns = layout(len(losses), widest=4)
    figure = new_figure(2.5 * columns + 0.6, 2.1 * rows + 0.7)
    _draw_panels(figure, losses, show, num_points)
    return figure


def fitness_history(
    generations: Sequence[GenerationRecord], baselines: Mapping[str, float] | None = None, chance: float | None = None
) -> Figure:
    """Draw best, mean and worst fitness per generation, with baselines (such as cross-entropy) as level lines."""
    figure = new_figure(6.4, 3.8)
    _draw_history(figure.add_subplot(), generations, baselines or {}, chance)
    return figure


def search_picture(
    losses: Mapping[str, RobustLoss],
    generations: Sequence[GenerationRecord],
    baselines: Mapping[str, float] | None = None,
    *,
    learned: str | None = None,
    chance: float | None = None,
    num_points: int = 201,
) -> Figure:
    """Draw the picture of a run folder: the learned loss among its competitors, and how the search found it.

    learned: the name in `losses` that is set off with a frame and a bold title.
    """
    _check(losses, "value")
    rows, columns = layout(len(losses), widest=4)
    figure = new_figure(2.5 * columns + 0.6, 2.1 * rows + 3.9)
    parts = figure.add_gridspec(2, 1, height_ratios=(2.1 * rows + 0.7, 3.2))
    above, below = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
    _draw_panels(above, losses, "value", num_points, learned)
    above.suptitle(
        "The loss, for a class that is the label and for one that is not; of a gated loss its weights", fontsize=10
    )
    _draw_history(below.add_subplot(), generations, baselines or {}, chance)
    below.suptitle("The search", fontsize=10)
    return figure


def _check(losses: Mapping[str, RobustLoss], show: str) -> None:
    if not losses:
        raise ConfigError("got no losses to draw, expected at least one, such as {'ce': create_loss('ce')}")
    if show not in ("value", "gradient"):
        raise ConfigError(f"got show={show!r}, expected 'value' or 'gradient'")


def _draw_panels(
    figure: Figure | SubFigure,
    losses: Mapping[str, RobustLoss],
    show: str,
    num_points: int,
    learned: str | None = None,
) -> None:
    rows, columns = layout(len(losses), widest=4)
    grid = figure.subplots(rows, columns, sharex=True, squeeze=False)
    for axes in grid.flat[len(losses) :]:
        axes.set_visible(False)
    for index, (axes, (name, loss)) in enumerate(zip(grid.flat, losses.items())):
        gated = isinstance(loss, GatedLoss)
        if isinstance(loss, GatedLoss):
            _draw_triangle(axes, loss)
        else:
            _draw_loss(axes, loss, show, num_points)
        axes.set_title(name, fontsize=9, fontweight="bold" if name == learned else "normal")
        if name == learned:
            axes.set_facecolor("#F4F8FB")
        if gated or index + columns >= len(losses):
            axes.set_xlabel("probability of the label" if gated else "predicted probability", fontsize=8)
            axes.tick_params(labelbottom=True)
        if gated or index % columns == 0:
            axes.set_ylabel("of another class" if gated else "loss" if show == "value" else "slope", fontsize=8)
    lines = [axes.get_legend_handles_labels() for axes in grid.flat]
    handles, labels = max(lines, key=lambda found: len(found[0]))
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)


def _draw_triangle(axes: Axes, loss: GatedLoss) -> None:
    """Draw the weight of a gated loss as a heat map, with lines at a quarter, a half and three quarters."""
    t, weight = triangle(loss)
    shown = np.ma.masked_invalid(weight)
    axes.pcolormesh(t, t, shown, cmap="Blues", vmin=0, vmax=1.2, shading="nearest", rasterized=True)
    if np.ptp(shown.compressed()) > 0.1:
        axes.contour(t, t, shown, levels=[0.25, 0.5, 0.75], colors="#333333", linewidths=0.6)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xticks([0, 0.5, 1])
    axes.set_yticks([0, 0.5, 1])
    tidy(axes)


def _draw_loss(axes: Axes, loss: RobustLoss, show: str, num_points: int) -> None:
    table = curves(loss, num_points=num_points)
    p = np.asarray(table["probability"], dtype=np.float64)
    inner = (p >= EDGE) & (p <= 1 - EDGE)
    shown = []
    for label, colour, dashes in ((1, LABEL_1, LINES[0]), (0, LABEL_0, LINES[1])):
        y = np.asarray(table[f"{show}_{label}"], dtype=np.float64)
        if show == "value":
            y = y - np.min(y[np.isfinite(y)])
        axes.plot(p, y, color=colour, linestyle=dashes, linewidth=1.8, label=f"label {label}")
        shown.append(y[inner & np.isfinite(y)])
    values = np.concatenate(shown)
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * max(high - low, 1e-6)
    axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1])
    tidy(axes)


def _draw_history(
    axes: Axes, generations: Sequence[GenerationRecord], baselines: Mapping[str, float], chance: float | None
) -> None:
    if not generations:
        raise ConfigError("got no generations to draw, expected at least one")
    number = [g.number for g in generations]
    best, mean, worst = (np.array([getattr(g, name) for g in generations]) for name in ("best", "mean", "worst"))
    axes.fill_between(number, worst, best, color=OKABE_ITO[5], alpha=0.12, linewidth=0)
    marker: dict[str, Any] = {"marker": "o", "markersize": 3} if len(number) < 60 else {}
    axes.plot(number, best, color=OKABE_ITO[5], label="best", **marker)
    axes.plot(number, mean, color=OKABE_ITO[3], linestyle="--", label="mean", **marker)
    axes.plot(number, worst, color=OKABE_ITO[7], linestyle=":", label="worst", **marker)
    for index, (name, value) in enumerate(baselines.items()):
        dashes = LINES[(index + 1) % len(LINES)]
        axes.axhline(
            value, color=OKABE_ITO[4] if index == 0 else "#555555", linestyle=dashes, linewidth=1.2, label=name
        )
    if chance is not None:
        axes.axhline(chance, color="#BBBBBB", linewidth=1, label="chance")
    axes.set_xlabel("generation", fontsize=9)
    axes.set_ylabel("fitness (validation accuracy)", fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    tidy(axes)
