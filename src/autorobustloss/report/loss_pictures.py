"""Pictures of losses, as the paper's Figure 2, and of the search that found one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from autorobustloss.errors import ConfigError
from autorobustloss.losses.analysis import curves, triangle
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.gated.module import GatedLoss
from autorobustloss.report.style import LINES, OKABE_ITO, add_legend, layout, new_figure, panels, tidy
from autorobustloss.search.search import Generation

WIDEST = 4
"""Panels in a row."""
LABELS = {1: {"color": OKABE_ITO[5], "linestyle": LINES[0]}, 0: {"color": OKABE_ITO[4], "linestyle": LINES[1]}}
EDGE = 0.02
"""Predicted probabilities nearer than this to 0 and 1 do not set the range of a panel: cross-entropy has no end."""


def losses_picture(losses: Mapping[str, RobustLoss]) -> Figure:
    """Draw each loss against the predicted probability of a class that is the label (1) or is not (0).

    The paper's Figure 2; of a gated loss the weight over its two probabilities, from light (0) to dark (1). A value is
    shifted so that each curve's minimum is 0, since a constant changes no training; every panel has its own vertical
    range, since the scale of a loss is a matter of the learning rate. Raises ConfigError for no losses.
    """
    figure = new_figure(*_size(losses))
    _draw_losses(figure, losses)
    return figure


def search_picture(losses: Mapping[str, RobustLoss], generations: Sequence[Generation], learned: str = "") -> Figure:
    """Draw the picture of a run folder: the learned loss among its competitors, and how the search found it.

    learned: the name in `losses` that is set off. Below are best, mean and worst fitness per generation.
    """
    width, height = _size(losses)
    figure = new_figure(width, height + 3.2)
    parts = figure.add_gridspec(2, 1, height_ratios=(height, 3.2))
    above, below = figure.add_subfigure(parts[0]), figure.add_subfigure(parts[1])
    _draw_losses(above, losses, learned=learned)
    above.suptitle(
        "The loss, for a class that is the label and for one that is not; of a gated loss its weights", fontsize=10
    )
    _draw_fitness(below.add_subplot(), generations)
    below.suptitle("The search", fontsize=10)
    return figure


def _draw_fitness(axes: Axes, generations: Sequence[Generation]) -> None:
    number = [g.number for g in generations]
    worst, best = [g.worst for g in generations], [g.best for g in generations]
    axes.fill_between(number, worst, best, color=OKABE_ITO[5], alpha=0.12, linewidth=0)
    marker: dict[str, Any] = {"marker": "o", "markersize": 3} if len(number) < 60 else {}
    for name, colour, dashes in (("best", 5, "-"), ("mean", 3, "--"), ("worst", 7, ":")):
        fitness = [getattr(g, name) for g in generations]
        axes.plot(number, fitness, color=OKABE_ITO[colour], linestyle=dashes, label=name, **marker)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    tidy(axes, "generation", "fitness (validation accuracy)")


def _size(losses: Mapping[str, RobustLoss]) -> tuple[float, float]:
    """Return width and height in inches of what `_draw_losses` draws; ConfigError for no losses."""
    if not losses:
        raise ConfigError("got no losses to draw, expected at least one, such as {'ce': create_loss('ce')}")
    rows, columns = layout(len(losses), WIDEST)
    return 2.5 * columns + 0.6, 2.1 * rows + 0.7


def _draw_losses(figure: Figure | SubFigure, losses: Mapping[str, RobustLoss], learned: str = "") -> None:
    """Draw one panel per loss; the one named `learned` is set off with a tint and a bold title."""
    _, columns = layout(len(losses), WIDEST)
    grid = panels(figure, len(losses), WIDEST, sharex=True)
    for index, (axes, (name, loss)) in enumerate(zip(grid, losses.items())):
        if isinstance(loss, GatedLoss):
            _draw_triangle(axes, loss)
            tidy(axes, "probability of the label", "of another class", name)
        else:
            _draw_curves(axes, loss)
            lowest = index + columns >= len(losses)
            tidy(axes, "predicted probability" if lowest else "", "" if index % columns else "loss", name)
        axes.tick_params(labelbottom=bool(axes.get_xlabel()))
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.5, 1])
        if name == learned:
            axes.title.set_fontweight("bold")
            axes.set_facecolor("#F4F8FB")
    handles, names = max((axes.get_legend_handles_labels() for axes in grid), key=lambda found: len(found[0]))
    if handles:
        add_legend(figure, handles, names, ncols=2, fontsize=8)


def _draw_triangle(axes: Axes, loss: GatedLoss) -> None:
    """Draw the weight of a gated loss as a heat map, with lines at a quarter, a half and three quarters."""
    t, weight = triangle(loss)
    shown = np.ma.masked_invalid(weight)
    axes.pcolormesh(t, t, shown, cmap="Blues", vmin=0, vmax=1.2, shading="nearest", rasterized=True)
    if np.ptp(shown.compressed()) > 0.1:
        axes.contour(t, t, shown, levels=[0.25, 0.5, 0.75], colors="#333333", linewidths=0.6)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1])


def _draw_curves(axes: Axes, loss: RobustLoss) -> None:
    table = curves(loss, num_points=201)
    p = np.asarray(table["probability"], dtype=np.float64)
    inner = (p >= EDGE) & (p <= 1 - EDGE)
    shown = []
    for label, style in LABELS.items():
        y = np.asarray(table[f"value_{label}"], dtype=np.float64)
        y = y - np.min(y[np.isfinite(y)])
        axes.plot(p, y, **style, linewidth=1.8, label=f"label {label}")
        shown.append(y[inner & np.isfinite(y)])
    values = np.concatenate(shown)
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * max(high - low, 1e-6)
    axes.set_ylim(low - margin, high + margin)
