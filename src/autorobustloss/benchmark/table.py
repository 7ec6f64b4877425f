"""From results to a table: accuracy with its standard error, average ranks, significance, cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from autorobustloss.benchmark.grid import Entry, Grid
from autorobustloss.benchmark.ranking import Friedman, average_ranks, critical_difference, friedman
from autorobustloss.errors import ConfigError
from autorobustloss.jobs.evaluate import evaluate
from autorobustloss.jobs.job import Job, Task
from autorobustloss.jobs.result import Result
from autorobustloss.jobs.store import Store
from autorobustloss.methods.spec import MethodSpec

if TYPE_CHECKING:
    from autorobustloss.jobs.executors import Executor

SELECTIONS: Mapping[str, str] = {
    "last": "last epoch",
    "best-noisy-validation": "epoch with the best accuracy on noisy validation data",
    "best-test": "epoch with the best test accuracy: an upper bound, it looks at the answer",
}


@dataclass(frozen=True)
class Cell:
    """Test accuracy of one method on one task, in [0, 1]: mean, standard error of the mean, number of seeds.

    error is None for a single seed. mean is None for an absent cell, and `reason` says why. choice tells which
    learning rate was taken where several were tried; diverged how many of the runs counted as 0.
    """

    mean: float | None
    error: float | None = None
    n: int = 0
    diverged: int = 0
    choice: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Block:
    """The cells under one selection protocol, with ranks and tests over the tasks that every ranked method finished.

    cells: one row per method, one column per task. average_ranks: 1 is best, None for a method without any cell.
    """

    selection: str
    cells: tuple[tuple[Cell, ...], ...]
    average_ranks: tuple[float | None, ...]
    ranked_tasks: int
    friedman: Friedman | None
    critical_difference: float | None


@dataclass(frozen=True)
class Table:
    """Methods (rows) against tasks (columns), once per selection protocol.

    cost: seconds per training step relative to cross-entropy's on the same machine, None where that is not known.
    """

    title: str
    methods: tuple[str, ...]
    tasks: tuple[str, ...]
    blocks: tuple[Block, ...]
    cost: tuple[float | None, ...]
    notes: tuple[str, ...] = ()

    def block(self, selection: str = "last") -> Block:
        """Return the block of a selection protocol."""
        for block in self.blocks:
            if block.selection == selection:
                return block
        raise ConfigError(f"got selection {selection!r}, expected one of {', '.join(b.selection for b in self.blocks)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain JSON types; an infinite F, which JSON cannot say, is None."""
        plain = asdict(self)
        for block in plain["blocks"]:
            if block["friedman"] and math.isinf(block["friedman"]["f"]):
                block["friedman"]["f"] = None
        return plain


def compare(
    methods: Sequence[MethodSpec],
    tasks: Sequence[Task],
    seeds: int,
    store: Store,
    executor: Executor,
    on_result: Callable[[Job, Result, bool], None] | None = None,
    title: str = "Test accuracy",
    names: Mapping[MethodSpec, str] | None = None,
) -> Table:
    """Train every method on every task with `seeds` seeds (what the store has is not trained again) and compare.

    The table has the accuracy at the last epoch, at the best epoch by noisy validation, and at the best by test.
    names: what to call methods whose own label is long, such as a learned loss.

    Raises WorkerError or StoreError as `evaluate` does.
    """
    grid = Grid(tuple(methods), tuple(tasks), seeds)
    results = evaluate(grid.jobs(), store, executor, on_result)
    return tabulate(grid, {result.key: result for result in results}, title, names=names)


def tabulate(
    grid: Grid,
    results: Mapping[str, Result],
    title: str = "Test accuracy",
    missing: Mapping[Task, str] | None = None,
    names: Mapping[MethodSpec, str] | None = None,
    selections: Sequence[str] = tuple(SELECTIONS),
) -> Table:
    """Put results, by job key, into the table of a grid.

    Rules. A diverged run counts as 0 at the last epoch: it left no network (by best epoch, its networks up to there
    count). Where the grid has several learning rates, each cell takes the one with the best mean accuracy on noisy
    validation data, at the last or best epoch as the block has it. Ranks are taken on the means over seeds, over the
    tasks that every ranked method has; a method without any result is not ranked.
    missing: why a task has no results, such as an absent data set.
    """
    places: dict[tuple[MethodSpec, Task], list[Entry]] = {}
    for entry in grid.entries():
        places.setdefault((entry.method, entry.task), []).append(entry)
    reasons = missing or {}

    def cell(method: MethodSpec, task: Task, selection: str) -> Cell:
        return _cell(places[method, task], results, selection, reasons.get(task, "not trained yet"))

    blocks = tuple(_block(s, tuple(tuple(cell(m, t, s) for t in grid.tasks) for m in grid.methods)) for s in selections)
    absent = tuple(f"{task.label}: {reason}" for task, reason in reasons.items() if task in grid.tasks)
    return Table(
        title=title,
        methods=tuple((names or {}).get(m, m.label) for m in grid.methods),
        tasks=tuple(_distinct([task.label for task in grid.tasks])),
        blocks=blocks,
        cost=_cost(grid, results),
        notes=absent + _remarks(blocks, grid),
    )


def accuracy(result: Result, selection: str, split: str = "test") -> float:
    """Return the accuracy on a split under a selection protocol, in [0, 1]; 0 for a run that left no network."""
    if selection not in SELECTIONS:
        raise ConfigError(f"got selection {selection!r}, expected one of {', '.join(SELECTIONS)}")
    history = result.history
    if selection == "last":
        value = history.last(split)
    else:
        value = history.best(split, by="valid_noisy" if selection == "best-noisy-validation" else split)
    return value if math.isfinite(value) else 0.0


def _cell(entries: Sequence[Entry], results: Mapping[str, Result], selection: str, reason: str) -> Cell:
    runs: dict[float, list[Result]] = {}
    for entry in entries:
        if entry.job.key in results:
            runs.setdefault(entry.learning_rate, []).append(results[entry.job.key])
    if not runs:
        return Cell(None, reason=reason)
    several = len({entry.learning_rate for entry in entries}) > 1
    chosen = max(runs, key=lambda rate: _noisy_validation(runs[rate], selection)) if several else next(iter(runs))
    values = np.array([accuracy(result, selection) for result in runs[chosen]])
    n = len(values)
    return Cell(
        mean=float(values.mean()),
        error=float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else None,
        n=n,
        diverged=sum(result.history.stopped == "diverged" for result in runs[chosen]),
        choice=f"lr×{chosen:g}" if several else "",
    )


def _noisy_validation(runs: Sequence[Result], selection: str) -> float:
    by = "last" if selection == "last" else "best-noisy-validation"
    return float(np.mean([accuracy(result, by, "valid_noisy") for result in runs]))


def _block(selection: str, cells: tuple[tuple[Cell, ...], ...]) -> Block:
    means = np.array([[np.nan if c.mean is None else c.mean for c in row] for row in cells])
    ranked = ~np.isnan(means).all(axis=1)
    complete = ~np.isnan(means[ranked]).any(axis=0) if ranked.any() else np.zeros(means.shape[1], dtype=bool)
    tasks, methods = int(complete.sum()), int(ranked.sum())
    block = Block(selection, cells, (None,) * len(cells), tasks, None, None)
    if not tasks or methods < 2:
        return block
    # Rounded to a thousandth of a percent: two means that print alike should not differ by a float's last bit.
    scores = np.round(means[ranked][:, complete].T, 5)
    positions = iter(average_ranks(scores).tolist())
    return replace(
        block,
        average_ranks=tuple(next(positions) if is_ranked else None for is_ranked in ranked),
        friedman=friedman(scores) if tasks > 1 else None,
        critical_difference=critical_difference(methods, tasks),
    )


def _cost(grid: Grid, results: Mapping[str, Result]) -> tuple[float | None, ...]:
    """Return seconds per step over cross-entropy's: the median over runs of equal task, seed, machine and device."""
    speed: dict[tuple[Any, ...], dict[MethodSpec, float]] = {}
    for entry in grid.entries():
        result = results.get(entry.job.key)
        if result is not None and result.history.steps:
            place = (entry.task, entry.learning_rate, entry.seed, result.host, result.device)
            speed.setdefault(place, {})[entry.method] = result.wall_time / result.history.steps
    reference = next((m for m in grid.methods if m.name == "ce"), None)
    ratios: dict[MethodSpec, list[float]] = {}
    for times in speed.values():
        if reference in times:
            for method, seconds in times.items():
                ratios.setdefault(method, []).append(seconds / times[reference])
    return tuple(median(ratios[m]) if m in ratios else None for m in grid.methods)


def _remarks(blocks: Sequence[Block], grid: Grid) -> tuple[str, ...]:
    remarks = []
    cells = [c for block in blocks for row in block.cells for c in row]
    if any(c.diverged for c in cells):
        remarks.append("† some runs diverged; at the last epoch each counts as 0")
    if any(c.mean is not None and c.n < grid.seeds for c in cells):
        remarks.append(f"* fewer than {grid.seeds} seeds so far")
    if blocks and 0 < blocks[0].ranked_tasks < len(grid.tasks):
        remarks.append(f"ranks over {blocks[0].ranked_tasks} of {len(grid.tasks)} tasks, those without an absent cell")
    return tuple(remarks)


def _distinct(labels: Sequence[str]) -> list[str]:
    """Number the labels that occur more than once, such as those of tasks that differ in the protocol alone."""
    seen: dict[str, int] = {}
    result = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        result.append(f"{label}#{seen[label]}" if labels.count(label) > 1 else label)
    return result
