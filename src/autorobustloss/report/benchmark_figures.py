"""Pictures of a benchmark: learning curves, noise sweeps, critical differences, features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from autorobustloss.errors import ConfigError, MissingDependencyError
from autorobustloss.report.style import OKABE_ITO, add_legend, label, layout, line_style, new_figure, tidy


def learning_curves(
    panels: Mapping[str, Mapping[str, tuple[Sequence[int], ArrayLike]]], ylabel: str = "test accuracy (%)"
) -> Figure:
    """Draw accuracy per epoch, one panel per task, mean ± standard error over seeds (the paper's Figure 3).

    panels: task -> method -> (epochs, accuracies of shape (seeds, epochs) in [0, 1]; NaN where a run had ended).
    """
    figure, grid, order = _panels(panels)
    for axes, (task, methods) in zip(grid, panels.items()):
        for method, (epochs, values) in methods.items():
            _band(axes, epochs, 100 * np.atleast_2d(np.asarray(values, dtype=np.float64)), order[method], method)
        axes.set_title(task, fontsize=9)
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(figure, grid, order, ylabel)
    return figure


def noise_sweep(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], ArrayLike]]], ylabel: str = "test accuracy (%)"
) -> Figure:
    """Draw accuracy against the noise rate, one panel per setting (the paper's Figure 4).

    panels: setting -> method -> (noise rates in [0, 1], accuracies of shape (seeds, rates) in [0, 1]).
    """
    figure, grid, order = _panels(panels)
    for axes, (setting, methods) in zip(grid, panels.items()):
        for method, (rates, values) in methods.items():
            percent = 100 * np.asarray(rates, dtype=np.float64)
            _band(axes, percent, 100 * np.atleast_2d(np.asarray(values, dtype=np.float64)), order[method], method)
        axes.set_title(setting, fontsize=9)
        axes.set_xlabel("label noise (%)", fontsize=8)
    _finish(figure, grid, order, ylabel)
    return figure


def order_study(values: Mapping[str, ArrayLike], ylabel: str = "test accuracy (%)") -> Figure:
    """Draw one bar per loss, such as cross-entropy and learned losses of orders 2 to 5 (the paper's Figure 3, left).

    values: name -> accuracies in [0, 1], one per seed or task; a bar is their mean, its whisker the standard error.
    """
    if not values:
        raise ConfigError("got nothing to draw, expected at least one loss")
    figure = new_figure(1.1 + 0.75 * len(values), 3.0)
    axes = figure.add_subplot()
    for place, each in enumerate(values.values()):
        percent = 100 * np.atleast_1d(np.asarray(each, dtype=np.float64))
        error = percent.std(ddof=1) / np.sqrt(len(percent)) if len(percent) > 1 else 0.0
        colour = OKABE_ITO[7] if place == 0 else OKABE_ITO[5]
        axes.bar(place, percent.mean(), yerr=error or None, color=colour, width=0.7, capsize=3)
        axes.text(place, 0, f"{percent.mean():.1f}", ha="center", va="bottom", color="white", fontsize=8)
    axes.set_xticks(range(len(values)), list(map(label, values)), fontsize=8)
    axes.set_ylabel(ylabel, fontsize=8)
    tidy(axes)
    axes.grid(False, axis="x")
    return figure


def critical_difference_diagram(
    names: Sequence[str], mean_ranks: Sequence[float], difference: float, groups: Sequence[Sequence[int]]
) -> Figure:
    """Draw average ranks on a line; a bar joins methods that do not differ significantly (Demšar 2006, Figure 1).

    groups: the bars, as indices into `names` (see `benchmark.ranking.cliques`); difference: the critical difference.
    """
    if len(names) != len(mean_ranks) or len(names) < 2:
        raise ConfigError(f"got {len(names)} names and {len(mean_ranks)} ranks, expected two or more of each, as many")
    order = np.argsort(mean_ranks, kind="stable")
    half = -(-len(names) // 2)
    bars = 0.16 * len(groups)
    figure = new_figure(7.2, 1.3 + bars + 0.24 * half)
    axes = figure.add_subplot()
    low, high = 1, len(names)
    axes.set_xlim(low - 0.34 * (high - low), high + 0.34 * (high - low))
    axes.set_ylim(-(bars + 0.24 * half + 0.3), 0.75)
    axes.axis("off")
    axes.plot([low, high], [0, 0], color="black", linewidth=1)
    for tick in range(low, high + 1, 1 if high <= 15 else 2):  # more than fifteen numbers run into each other
        axes.plot([tick, tick], [0, 0.07], color="black", linewidth=1)
        axes.text(tick, 0.12, str(tick), ha="center", va="bottom", fontsize=8)
    axes.plot([low, low + min(difference, high - low)], [0.48, 0.48], color=OKABE_ITO[4], linewidth=2)
    beyond = "" if difference <= high - low else ", wider than the axis"
    axes.text(low, 0.54, f"critical difference {difference:.2f}{beyond}", fontsize=8, color=OKABE_ITO[4])
    for place, index in enumerate(order):
        best_side = place < half
        depth = place if best_side else len(names) - 1 - place
        y = -(bars + 0.28 + 0.24 * depth)
        rank = float(mean_ranks[index])
        end = low - 0.04 * (high - low) if best_side else high + 0.04 * (high - low)
        axes.plot([rank, rank, end], [0, y, y], color="#444444", linewidth=0.8)
        text = f"{names[index]}  {rank:.2f}" if best_side else f"{rank:.2f}  {names[index]}"
        axes.text(end, y, f" {text} ", ha="right" if best_side else "left", va="center", fontsize=8)
    for depth, group in enumerate(groups):
        y, ends = -(0.12 + 0.16 * depth), [float(mean_ranks[i]) for i in group]
        axes.plot([min(ends) - 0.03, max(ends) + 0.03], [y, y], color=OKABE_ITO[5], linewidth=3, solid_capstyle="butt")
    return figure


def feature_map(panels: Mapping[str, tuple[ArrayLike, ArrayLike]], seed: int = 0) -> Figure:
    """Draw t-SNE of penultimate features, coloured by true class, one panel per method (the paper's Figure 5).

    panels: method -> (features (N, F), clean labels (N,)). The perplexity is 30, or a third of N where N is smaller.
    """
    figure = new_figure(3.1 * len(panels) + 0.5, 3.4)
    grid = figure.subplots(1, max(1, len(panels)), squeeze=False)[0]
    for axes, (method, (features, labels)) in zip(grid, panels.items()):
        points, classes = tsne(features, seed), np.asarray(labels)
        for c in np.unique(classes):
            chosen = points[classes == c]
            style = line_style(int(c))
            axes.scatter(*chosen.T, s=9, color=style["color"], marker=style["marker"], linewidths=0, label=str(c))
        axes.set_title(method, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    handles, labels = grid[0].get_legend_handles_labels()
    if 0 < len(handles) <= 14:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize=7, frameon=False)
    return figure


def tsne(features: ArrayLike, seed: int = 0) -> np.ndarray:
    """Return the t-SNE embedding of (N, F) features in the plane, (N, 2)."""
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingDependencyError("t-SNE needs scikit-learn; install it with: pip install scikit-learn") from error
    table = np.asarray(features, dtype=np.float64)
    if table.ndim != 2 or len(table) < 4:
        raise ConfigError(f"got features of shape {table.shape}, expected (N, F) with N of at least 4")
    perplexity = min(30.0, (len(table) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(table))


def _panels(panels: Mapping[str, Mapping[str, object]]) -> tuple[Figure, list[Axes], dict[str, int]]:
    if not panels or not all(panels.values()):
        raise ConfigError("got nothing to draw, expected at least one panel with at least one method")
    rows, columns = layout(len(panels), widest=3)
    figure = new_figure(3.4 * columns + 0.4, 2.8 * rows + 0.7)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    names = list(dict.fromkeys(method for methods in panels.values() for method in methods))
    return figure, grid, {name: index for index, name in enumerate(names)}


def _band(axes: Axes, x: ArrayLike, values: np.ndarray, index: int, name: str) -> None:
    count = np.isfinite(values).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, np.nansum(values, axis=0) / count, np.nan)
        spread = np.sqrt(np.nansum((values - mean) ** 2, axis=0) / (count - 1) / count)
    places = np.asarray(x, dtype=np.float64)
    axes.plot(places, mean, **line_style(index), linewidth=1.4, markersize=3.5, markevery=max(1, len(mean) // 8))
    enough = count > 1
    if enough.any():
        colour = line_style(index)["color"]
        axes.fill_between(places, mean - spread, mean + spread, where=enough, color=colour, alpha=0.15, linewidth=0)


def _finish(figure: Figure, grid: Sequence[Axes], order: Mapping[str, int], ylabel: str) -> None:
    from matplotlib.lines import Line2D

    for axes in grid:
        tidy(axes)
        place = axes.get_subplotspec()
        if place is not None and place.is_first_col():
            axes.set_ylabel(ylabel, fontsize=8)
    handles = [Line2D([], [], **line_style(i), markersize=4) for i in order.values()]
    add_legend(figure, handles, list(order), ncols=min(6, len(order)), fontsize=8)
