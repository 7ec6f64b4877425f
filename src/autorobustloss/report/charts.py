"""Charts of a page as numbers and texts, which the template draws as SVG: lines in panels, average ranks.

Colours and dashes are the style sheet's, by the number of a line, so that a chart follows the theme of its reader.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autorobustloss.benchmark.curves import SHOWN, Curve, Panel
from autorobustloss.benchmark.ranking import cliques
from autorobustloss.benchmark.table import Block
from autorobustloss.escape import clipped, visible

WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 12, 36
MOST_LINES = 8
"""Lines in a panel; more cannot be told apart."""
LONGEST_NAME = 19
ROW = 22
"""Height of a method in the chart of ranks."""


@dataclass(frozen=True)
class Line:
    """A polyline: its number, which decides how it looks, its points, and its band as a polygon ("" for none)."""

    number: int
    points: str
    band: str
    end: tuple[float, float]


@dataclass(frozen=True)
class Zone:
    """A strip of a panel that shows its values when it is pointed at: place, width, the x value, and what it says."""

    x: float
    width: float
    middle: float
    value: float
    text: str


@dataclass(frozen=True)
class Axes:
    """A panel of lines; ticks are (place, text), alt says what the picture shows, with its figures."""

    title: str
    xlabel: str
    alt: str
    lines: tuple[Line, ...]
    zones: tuple[Zone, ...]
    xticks: tuple[tuple[float, str], ...]
    yticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Figure:
    """Panels that share methods, whose names are in the order of their lines' numbers; what the x axis counts.

    about: what is drawn, after the title.
    """

    title: str
    about: str
    names: tuple[tuple[int, str], ...]
    panels: tuple[Axes, ...]
    counts: str


@dataclass(frozen=True)
class RankRow:
    """A method in the chart of ranks: its name, whole and as it fits, its rank, and where its point is."""

    name: str
    short: str
    rank: str
    x: float
    y: float


@dataclass(frozen=True)
class RankChart:
    """A critical-difference diagram with a row per method: where rank 1 is, ticks (place, text), bars (x, from, to)."""

    width: float
    height: float
    alt: str
    rows: tuple[RankRow, ...]
    start: float
    ticks: tuple[tuple[float, str], ...]
    bars: tuple[tuple[float, float, float], ...]
    difference: tuple[float, float]
    said: str


def figures(panels: Sequence[Panel], names: Sequence[str]) -> list[Figure]:
    """Return a figure for each task, with what there is of noisy validation, test and training fit beside each other.

    names: of the methods to show, the best first; their places decide how lines look.
    """
    numbers = {name: place for place, name in enumerate(names[:MOST_LINES])}
    grouped: dict[tuple[str, bool], list[Panel]] = {}
    for panel in panels:
        grouped.setdefault((panel.title, panel.of == "sweep"), []).append(panel)
    found = []
    for (title, swept), group in grouped.items():
        group = sorted(group, key=lambda panel: list(SHOWN).index(panel.of))
        drawn = [[c for c in panel.curves if c.method in numbers and c.x] for panel in group]
        span = spread([value for lines in drawn for c in lines for value in bounds(c)])
        axes = tuple(
            line_axes(SHOWN[panel.of], lines, numbers, span, "noise rate, %" if swept else "epoch", 100 if swept else 1)
            for panel, lines in zip(group, drawn)
            if lines
        )
        if axes:
            shown = {c.method for lines in drawn for c in lines}
            legend = tuple((number, name) for name, number in numbers.items() if name in shown)
            about = "accuracy in %, mean ± standard error over seeds"
            found.append(Figure(title, about, legend, axes, "noise rate" if swept else "epoch"))
    return found


def bounds(curve: Curve) -> list[float]:
    """Return the lower and upper ends of a curve's band, in per cent."""
    return [100 * (m + s * e) for m, e in zip(curve.mean, curve.error) for s in (-1, 1)]


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of a vertical axis for these values."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.04 * max(high - low, 1.0)
    return low - margin, high + margin


def line_axes(
    title: str,
    lines: Sequence[Curve],
    numbers: Mapping[str, int],
    span: tuple[float, float],
    xlabel: str,
    scale: float = 1,
    percent: float = 100,
) -> Axes:
    """Return a panel of curves; scale, percent: what x and y are multiplied by to be shown."""
    xs = sorted({x for c in lines for x in c.x})
    low, high = (xs[0], xs[-1]) if len(xs) > 1 else (xs[0] - 1, xs[0] + 1)

    def across(x: float) -> float:
        return round(LEFT + (x - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def down(y: float) -> float:
        return round(TOP + (span[1] - y) / (span[1] - span[0]) * (HEIGHT - TOP - BOTTOM), 1)

    def drawn(curve: Curve) -> Line:
        middle = [(across(x), down(percent * y)) for x, y in zip(curve.x, curve.mean)]
        ends = [(x, y, percent * e) for (x, y), e in zip(middle, curve.error)]
        unit = (HEIGHT - TOP - BOTTOM) / (span[1] - span[0])
        upper = [f"{x},{y - e * unit:.1f}" for x, y, e in ends]
        lower = [f"{x},{y + e * unit:.1f}" for x, y, e in reversed(ends)]
        band = " ".join(upper + lower) if any(curve.error) and len(ends) > 1 else ""
        return Line(numbers[curve.method], " ".join(f"{x},{y}" for x, y in middle), band, middle[-1])

    what = xlabel.partition(",")[0]
    said = [f"{what} {scale * x:g}{' %' if scale != 1 else ''}: {values_at(lines, x, percent)}" for x in xs]
    edges = [low, *((a + b) / 2 for a, b in itertools.pairwise(xs)), high]
    zones = tuple(
        Zone(across(a), round(max(across(b) - across(a), 1), 1), across(x), scale * x, text)
        for a, b, x, text in zip(edges, edges[1:], xs, said)
    )
    places = ticks(low * scale, high * scale, whole=scale == 1) if len(xs) > 1 else [scale * xs[0]]
    return Axes(
        title=title,
        xlabel=xlabel,
        alt=f"{title}: at {said[-1]}",
        lines=tuple(map(drawn, lines)),
        zones=zones,
        xticks=tuple((across(x / scale), f"{x:g}") for x in places),
        yticks=tuple((down(y), f"{y:g}") for y in ticks(*span)),
    )


def values_at(lines: Sequence[Curve], x: float, percent: float = 100) -> str:
    """Return what curves have at a place, the highest first: "gce 51.2 ± 1.0, ce 44.5"."""
    there = [(c.mean[i], c.error[i], c.method) for c in lines if x in c.x for i in [c.x.index(x)]]
    form = ".1f" if percent == 100 else ".3g"
    return ", ".join(
        f"{name} {percent * mean:{form}}" + (f" ± {percent * error:{form}}" if error else "")
        for mean, error, name in sorted(there, key=lambda each: -each[0])
    )


def ticks(low: float, high: float, whole: bool = False) -> list[float]:
    """Return four to six round numbers within a range.

    >>> ticks(0, 97), ticks(1, 3, whole=True)
    ([0, 20, 40, 60, 80], [1, 2, 3])
    """
    step = 10 ** math.floor(math.log10(max(high - low, 1e-9)))
    step = next(s for s in (step / 5, step / 2, step, 2 * step, 5 * step) if (high - low) / s <= 5.5)
    step = max(round(step), 1) if whole else step
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    places = [round(float((first + i) * step), 9) for i in range(count)]
    return [int(v) if v.is_integer() else v for v in places]


def rank_chart(ranked: Sequence[tuple[str, float]], block: Block) -> RankChart | None:
    """Return average ranks as a chart, with what differs significantly where that was tested.

    ranked: methods of the block with their ranks, the best first. None for fewer than two, or where all is at chance.
    """
    if len(ranked) < 2 or not block.telling:
        return None
    names, ranks = [name for name, _ in ranked], [rank for _, rank in ranked]
    difference = block.critical_difference if block.friedman else None
    groups = cliques(ranks, difference) if difference else []
    first, last, top = 185, 335, 46

    def across(rank: float) -> float:
        return round(first + (rank - 1) / (len(ranked) - 1) * (last - first), 1)

    rows = [
        RankRow(name, clipped(visible(name), LONGEST_NAME), f"{rank:.2f}", across(rank), top + ROW * place + ROW / 2)
        for place, (name, rank) in enumerate(ranked)
    ]
    said = f"critical difference {difference:.2f}" if difference else "too few tasks for a test"
    alike = "; not told apart: " + " / ".join(", ".join(names[i] for i in g) for g in groups) if groups else ""
    return RankChart(
        width=last + 20 + 7 * len(groups),
        height=top + ROW * len(rows) + 8,
        alt=", ".join(f"{name} {rank:.2f}" for name, rank in ranked) + f"; {said}{alike}",
        rows=tuple(rows),
        start=across(1),
        ticks=tuple((across(r), f"{r:g}") for r in {1: 0, **dict.fromkeys(ticks(2, len(ranked), whole=True))}),
        bars=tuple((last + 16.0 + 7 * i, rows[min(g)].y - 7, rows[max(g)].y + 7) for i, g in enumerate(groups)),
        difference=(across(1), min(across(1 + difference), last)) if difference else (0.0, 0.0),
        said=said,
    )


def progress_figure(generations: Sequence[tuple[float, float, float]]) -> Figure | None:
    """Return best, mean and worst fitness of each generation of a search as a figure; None for no generations."""
    if not generations:
        return None
    numbers = tuple(float(n + 1) for n in range(len(generations)))
    zero = (0.0,) * len(numbers)
    names = ("best", "mean", "worst")
    lines = [Curve(name, numbers, values, zero) for name, values in zip(names, zip(*generations))]
    percent = 100 if all(0 <= value <= 1 for each in generations for value in each) else 1
    span = spread([percent * value for each in generations for value in each])
    axes = line_axes("validation accuracy", lines, {n: i for i, n in enumerate(names)}, span, "generation", 1, percent)
    about = "mean accuracy in % over tasks, of the best, the mean and the worst of a generation's candidates"
    return Figure("the search", about, tuple(enumerate(names)), (axes,), "generation")
