"""From results to a table: what each cell is, and the ranks and tests of each block."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autorobustloss.benchmark.grid import Entry
from autorobustloss.benchmark.notes import notes_below, twins
from autorobustloss.benchmark.ranking import average_ranks, critical_difference, friedman, wilcoxon_holm
from autorobustloss.benchmark.table import SELECTIONS, Block, Cell, Table
from autorobustloss.errors import ConfigError
from autorobustloss.methods import MethodSpec
from autorobustloss.runs import Result, Task

UNSTEADY = 1.5
"""From this ratio of the times of equal trainings on one machine their costs are not told: it was busy."""


def tabulate(
    entries: Sequence[Entry],
    results: Mapping[str, Result],
    title: str = "Test accuracy",
    missing: Mapping[str, str] = {},
    names: Mapping[MethodSpec, str] = {},
    failures: Mapping[str, str] = {},
    chance: Mapping[Task, float] = {},
    notes: Sequence[str] = (),
) -> Table:
    """Put results, by job key, into a table; `entries` (see `BenchConfig.entries`) say where each belongs.

    Rules. A diverged run counts as 0 at the last epoch: it left no network (by best epoch, its networks up to there
    count). Where a cell has several variants, such as learning rates, it takes the one with the best mean accuracy on
    noisy validation data, at the last or best epoch as the block has it. Ranks are taken on the means over seeds, over
    the tasks that every ranked method has; a method without any result is not ranked, nor is one that trains as another
    does (see `notes.twins`).
    missing: why a data set, by name, is absent. names: what to call methods whose own label is long, such as a learned
    loss. failures: what went wrong, by job key. chance: the accuracy that guessing does not exceed, see
    `chance.chance_levels`; without it no cell is at chance. notes: the first lines below the table.
    """
    methods = list(dict.fromkeys(entry.method for entry in entries))
    tasks = list(dict.fromkeys(entry.task for entry in entries))
    places: dict[tuple[MethodSpec, Task], list[Entry]] = {(m, t): [] for m in methods for t in tasks}
    for entry in entries:
        places[entry.method, entry.task].append(entry)
    alike = twins(entries)

    def cell(method: MethodSpec, task: Task, selection: str) -> Cell:
        found = places[method, task]
        why = missing.get(task.dataset.name, "not trained yet")
        if failed := [entry.job for entry in found if entry.job.key in failures]:
            first = failed[0]  # in one line that does not name the job
            why = failures[first.key].partition("\n")[0].removeprefix(f"job {first.label} ")
        return _cell(found, results, selection, why, chance.get(task, -1.0))

    twice = np.array([method in alike for method in methods], dtype=bool)
    blocks = [_block(s, tuple(tuple(cell(m, t, s) for t in tasks) for m in methods), twice) for s in SELECTIONS]
    called = dict(zip(methods, method_names(methods, names)))
    labels = dict(zip(tasks, task_names(tasks)))
    return Table(
        title=title,
        methods=tuple(called.values()),
        tasks=tuple(labels.values()),
        blocks=tuple(blocks),
        cost=_cost(entries, methods, results),
        notes=(*notes, *notes_below(entries, blocks, alike, called, labels, missing)),
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


def _cell(entries: Sequence[Entry], results: Mapping[str, Result], selection: str, reason: str, chance: float) -> Cell:
    runs: dict[str, list[Result]] = {}
    for entry in entries:
        if entry.job.key in results:
            runs.setdefault(entry.variant, []).append(results[entry.job.key])
    if not runs:
        return Cell(None, reason=reason if entries else "not part of this comparison")
    by_noisy = len(runs) > 1 or selection == "best-noisy-validation"
    if by_noisy and any(r.history.epochs and not r.history.valid_noisy for found in runs.values() for r in found):
        return Cell(None, reason="no noisy validation labels are known")
    choice = next(iter(runs))
    if len(runs) > 1:
        by = "last" if selection == "last" else "best-noisy-validation"
        choice = max(runs, key=lambda variant: np.mean([accuracy(r, by, "valid_noisy") for r in runs[variant]]))
    values = [accuracy(result, selection) for result in runs[choice]]
    mean, n = float(np.mean(values)), len(values)
    several = selection == "best-noisy-validation" and any(len(r.history.epochs) > 1 for r in runs[choice])
    incomplete = n < len({entry.seed for entry in entries})
    return Cell(
        mean=mean,
        error=float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else None,
        n=n,
        diverged=sum(result.history.stopped == "diverged" for result in runs[choice]),
        choice=choice,
        reason=reason if incomplete else "",
        incomplete=incomplete,
        chance=mean <= chance,
        epoch=median(r.history.best_epoch("valid_noisy") for r in runs[choice]) if several else None,
    )


def _block(selection: str, cells: tuple[tuple[Cell, ...], ...], twice: NDArray[np.bool_]) -> Block:
    means = np.array([[np.nan if c.mean is None else c.mean for c in row] for row in cells])
    chance = np.array([[c.chance for c in row] for row in cells], dtype=bool).reshape(means.shape)
    ranked = ~np.isnan(means).all(axis=1) & ~twice
    whole = ~np.isnan(means[ranked]).any(axis=0) & ranked.any()
    told = whole & ~chance[ranked].all(axis=0)
    used = told if told.any() else whole
    tasks, methods = int(used.sum()), int(ranked.sum())
    test = distance = None
    mean_ranks, p_values = np.full((2, len(cells)), None)
    if tasks and methods > 1:
        # Rounded to a thousandth of a percent: two means that print alike should not differ by a float's last bit.
        scores = np.round(means[ranked][:, used].T, 5)
        distance = critical_difference(methods, tasks)
        mean_ranks[ranked] = average_ranks(scores)
        if tasks > 1:
            test = friedman(scores)
            best = int(average_ranks(scores).argmin())
            p_values[ranked] = wilcoxon_holm(scores)[best]
            p_values[np.flatnonzero(ranked)[best]] = None
    return Block(selection, cells, tuple(mean_ranks.tolist()), tasks, test, distance, tuple(p_values.tolist()))


def _cost(
    entries: Sequence[Entry], methods: Sequence[MethodSpec], results: Mapping[str, Result]
) -> tuple[float | None, ...]:
    """Return seconds per epoch over cross-entropy's: the median over runs of equal task, seed, machine and device.

    Per epoch, not per step: a method that trains twice, such as forward correction, takes twice the time. None for all
    where the machine was busy with other things: then a method's time differs between its own seeds.
    """
    times: dict[tuple[Any, ...], dict[MethodSpec, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for entry in entries:
        result = results.get(entry.job.key)
        if result is not None and result.history.train_loss and result.wall_time > 0:
            place = times[entry.task, entry.variant, result.host, result.device]
            place[entry.method][entry.seed] = result.wall_time / len(result.history.train_loss)
    ratios: dict[MethodSpec, list[float]] = defaultdict(list)
    spreads: list[float] = []
    for place in times.values():
        reference = next((by_seed for method, by_seed in place.items() if method.name == "ce"), {})
        for method, by_seed in place.items():
            spreads += [max(by_seed.values()) / min(by_seed.values())] if len(by_seed) > 1 else []
            ratios[method] += [seconds / reference[seed] for seed, seconds in by_seed.items() if seed in reference]
    steady = median(spreads or [1.0]) < UNSTEADY
    return tuple(median(ratios[m]) if steady and ratios[m] else None for m in methods)


def method_names(methods: Sequence[MethodSpec], names: Mapping[MethodSpec, str] = {}) -> list[str]:
    """Return what a table calls its methods: a given name, or the label without the long θ of a learned loss.

    >>> method_names([MethodSpec.of("gce", q=0.5), MethodSpec.of("taylor", theta=[0.0] * 12, scale="init")])
    ['gce(q=0.5)', "taylor(scale='init')"]
    """
    short = [MethodSpec(m.name, tuple((k, v) for k, v in m.hyperparameters if k != "theta")).label for m in methods]
    return _numbered([names.get(m, label) for m, label in zip(methods, short)])


def task_names(tasks: Sequence[Task]) -> list[str]:
    """Return "data set/model/noise" for each task, with the learning rate or a number where that is not unique."""
    labels = [task.label for task in tasks]
    with_rate = [
        f"{label} lr={task.protocol.lr:g}" if labels.count(label) > 1 else label for label, task in zip(labels, tasks)
    ]
    return _numbered(with_rate if len(set(with_rate)) == len(with_rate) else labels)


def _numbered(labels: Sequence[str]) -> list[str]:
    return [
        f"{label}#{labels[: i + 1].count(label)}" if labels.count(label) > 1 else label
        for i, label in enumerate(labels)
    ]
