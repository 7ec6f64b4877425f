"""What a benchmark prints: tables of text, and the numbers behind them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scipy import stats

from benchmarks.timing import Spread


@dataclass(frozen=True)
class Table:
    """A table with notes below it; `data` holds the same numbers in full, for JSON."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        cells = [list(self.columns), *map(list, self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        lines = [
            "  ".join(_aligned(cell, width, i) for i, (cell, width) in enumerate(zip(row, widths))) for row in cells
        ]
        lines.insert(1, "-" * len(lines[0]))
        return "\n".join([self.title, "", *(line.rstrip() for line in lines), *("  " + note for note in self.notes)])

    def markdown(self) -> str:
        rule = ["---" if i == 0 else "---:" for i in range(len(self.columns))]
        lines = ["| " + " | ".join(row) + " |" for row in [self.columns, rule, *self.rows]]
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"### {self.title}", "", *lines, "", *notes])


def _aligned(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)


def times(spread: Spread) -> str:
    """Return a ratio: median (lowest–highest)."""
    return f"{_figures(spread.median)}× ({_figures(spread.low)}–{_figures(spread.high)})"


def share(spread: Spread) -> str:
    """Return a share in per cent: median (lowest–highest)."""
    return f"{_percent(spread.median)} % ({_percent(spread.low)}–{_percent(spread.high)})"


def percent(value: float) -> str:
    return f"{_percent(value)} %"


def verdict(target: str, met: bool, got: str) -> str:
    """Return one line on a target."""
    return f"target {target}: {'met' if met else 'MISSED'} ({got})"


def agreement(rounds: Sequence[tuple[float, float]]) -> tuple[str, str, str]:
    """Return both mean accuracies, and whether they differ by more than chance (t-test over rounds, 1 %)."""
    plain, ours = (statistics.mean(values) for values in zip(*rounds))
    gaps = [b - a for a, b in rounds]
    shown = f"{plain:.3f}", f"{ours:.3f}"
    if len(gaps) < 2:
        return *shown, ""
    gap, error = statistics.mean(gaps), statistics.stdev(gaps) / len(gaps) ** 0.5
    equal = "yes" if abs(gap) <= stats.t.ppf(0.995, len(gaps) - 1) * error else "NO"
    return *shown, f"{equal} ({gap:+.3f} ± {error:.3f})"


def _figures(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f}" if abs(value) >= 0.1 else f"{100 * value:.1f}"
