"""Pictures of a benchmark: learning curves, noise sweeps, order study, critical differences, features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from autorobustloss.benchmark.curves import Panels
from autorobustloss.benchmark.ranking import cliques
from autorobustloss.errors import ConfigError
from autorobustloss.report.style import OKABE_ITO, add_legend, label, layout, line_style, new_figure, panels, tidy

ACCURACY = "test accuracy (%)"


def learning_curves(curves: Panels, ylabel: str = ACCURACY) -> Figure:
    """Draw accuracy per epoch, one panel per task, mean ± standard error over seeds (the paper's Figure 3)."""
    figure = _accuracies(curves, "epoch", ylabel=ylabel)
    for axes in figure.get_axes():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def noise_sweep(curves: Panels) -> Figure:
    """Draw accuracy against the noise rate, in [0, 1], one panel per setting (the paper's Figure 4)."""
    return _accuracies(curves, "label noise (%)", scale=100)


def order_study(values: Mapping[str, Sequence[float]]) -> Figure:
    """Draw one bar per loss, such as cross-entropy and learned losses of orders 2 to 5 (the paper's Figure 3, left).

    values: name -> accuracies in [0, 1], one per seed or task; a bar is their mean, its whisker the standard error.
    """
    if not values:
        raise ConfigError("got nothing to draw, expected at least one loss")
    figure = new_figure(1.1 + 0.75 * len(values), 3.0)
    axes = figure.add_subplot()
    for place, (mean, error) in enumerate(zip(*_mean_and_error(values.values()))):
        colour = OKABE_ITO[7] if place == 0 else OKABE_ITO[5]
        axes.bar(place, mean, yerr=error if error > 0 else None, color=colour, width=0.7, capsize=3)
        axes.text(place, 0, f"{mean:.1f}", ha="center", va="bottom", color="white", fontsize=8)
    axes.set_xticks(range(len(values)), list(map(label, values)), fontsize=8)
    tidy(axes, ylabel=ACCURACY)
    axes.grid(False, axis="x")
    return figure


def critical_difference_diagram(names: Sequence[str], mean_ranks: Sequence[float], difference: float) -> Figure:
    """Draw average ranks on a line; a bar joins methods that do not differ significantly (Demšar 2006, Figure 1).

    difference: the critical difference, see `benchmark.ranking`.
    """
    groups = cliques(mean_ranks, difference)
    half = -(-len(names) // 2)
    bars = 0.16 * len(groups)
    figure = new_figure(7.2, 1.3 + bars + 0.24 * half)
    axes = figure.add_subplot()
    low, high = 1, len(names)
    width = high - low
    axes.set_xlim(low - 0.34 * width, high + 0.34 * width)
    axes.set_ylim(-(bars + 0.24 * half + 0.3), 0.75)
    axes.axis("off")
    axes.plot([low, high], [0, 0], color="black", linewidth=1)
    for tick in range(low, high + 1, 1 if high <= 15 else 2):  # more than fifteen numbers run into each other
        axes.plot([tick, tick], [0, 0.07], color="black", linewidth=1)
        axes.text(tick, 0.12, str(tick), ha="center", va="bottom", fontsize=8)
    axes.plot([low, low + min(difference, width)], [0.48, 0.48], color=OKABE_ITO[4], linewidth=2)
    beyond = "" if difference <= width else ", wider than the axis"
    axes.text(low, 0.54, f"critical difference {difference:.2f}{beyond}", fontsize=8, color=OKABE_ITO[4])
    for place, index in enumerate(np.argsort(mean_ranks, kind="stable")):
        name, rank = names[index], float(mean_ranks[index])
        if place < half:
            depth, end, side, text = place, low - 0.04 * width, "right", f" {name}  {rank:.2f} "
        else:
            depth, end, side, text = high - 1 - place, high + 0.04 * width, "left", f" {rank:.2f}  {name} "
        y = -(bars + 0.28 + 0.24 * depth)
        axes.plot([rank, rank, end], [0, y, y], color="#444444", linewidth=0.8)
        axes.text(end, y, text, ha=side, va="center", fontsize=8)
    for depth, group in enumerate(groups):
        y, ends = -(0.12 + 0.16 * depth), [float(mean_ranks[i]) for i in group]
        axes.plot([min(ends) - 0.03, max(ends) + 0.03], [y, y], color=OKABE_ITO[5], linewidth=3, solid_capstyle="butt")
    return figure


def feature_map(methods: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """Draw t-SNE of penultimate features, coloured by true class, one panel per method (the paper's Figure 5).

    methods: name -> (features (N, F), clean labels (N,)). The perplexity is 30, or a third of N where N is smaller.
    """
    figure = new_figure(3.1 * len(methods) + 0.5, 3.4)
    grid = panels(figure, len(methods), widest=len(methods))
    for axes, (method, (features, labels)) in zip(grid, methods.items()):
        points, classes = tsne(features), np.asarray(labels)
        for c in np.unique(classes):
            style = line_style(int(c))
            x, y = points[classes == c].T
            axes.scatter(x, y, s=9, color=style["color"], marker=style["marker"], linewidths=0, label=str(c))
        axes.set_title(method, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    handles, names = grid[0].get_legend_handles_labels()
    if len(handles) <= 14:
        add_legend(figure, handles, names, ncols=len(handles), fontsize=7)
    return figure


def tsne(features: ArrayLike) -> np.ndarray:
    """Return the t-SNE embedding of (N, F) features in the plane, (N, 2)."""
    from sklearn.manifold import TSNE  # which takes a second to import

    table = np.asarray(features, dtype=np.float64)
    if table.ndim != 2 or len(table) < 4:
        raise ConfigError(f"got features of shape {table.shape}, expected (N, F) with N of at least 4")
    perplexity = min(30.0, (len(table) - 1) / 3)
    return np.asarray(TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(table))


def _accuracies(curves: Panels, xlabel: str, scale: int = 1, ylabel: str = ACCURACY) -> Figure:
    """Draw the methods of each panel as lines with bands; scale: of the numbers on the x axis."""
    names = list(dict.fromkeys(method for methods in curves.values() for method in methods))
    styles = {name: line_style(index) for index, name in enumerate(names)}
    rows, columns = layout(len(curves), widest=3)
    figure = new_figure(3.4 * columns + 0.4, 2.8 * rows + 0.7)
    grid = panels(figure, len(curves), widest=3)
    for index, (axes, (title, methods)) in enumerate(zip(grid, curves.items())):
        for method, values in methods.items():
            places, style = scale * np.array(list(values)), styles[method]
            mean, error = _mean_and_error(values.values())
            axes.plot(places, mean, **style, linewidth=1.4, markersize=3.5, markevery=max(1, len(mean) // 8))
            if (several := np.isfinite(error)).any():
                band = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
                axes.fill_between(places, mean - error, mean + error, where=several, **band)
        tidy(axes, xlabel, "" if index % columns else ylabel, title)
    handles = [Line2D([], [], **style, markersize=4) for style in styles.values()]
    add_legend(figure, handles, names, ncols=min(6, len(names)), fontsize=8)
    return figure


def _mean_and_error(values: Iterable[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of each group, in percent, and its standard error, NaN for a single value."""
    groups = [100 * np.array(group) for group in values]
    errors = [group.std(ddof=1) / np.sqrt(len(group)) if len(group) > 1 else np.nan for group in groups]
    return np.array([group.mean() for group in groups]), np.array(errors)
