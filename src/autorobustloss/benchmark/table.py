"""From results to a table: accuracy with its standard error, average ranks, significance, cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from autorobustloss.benchmark.grid import Entry, Grid, counted_once, values_note
from autorobustloss.benchmark.ranking import Friedman, average_ranks, critical_difference, friedman, wilcoxon_holm
from autorobustloss.errors import ConfigError
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.noise import NoiseSpec
from autorobustloss.runs.batch import run_jobs
from autorobustloss.runs.job import Job, Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.store import Store

if TYPE_CHECKING:
    from autorobustloss.runs.executors import Executor

T = TypeVar("T")

SELECTIONS: Mapping[str, str] = {
    "last": "last epoch",
    "best-noisy-validation": "epoch with the best accuracy on noisy validation data",
    "best-test": "epoch with the best test accuracy: an upper bound, it looks at the answer",
}


@dataclass(frozen=True)
class Cell:
    """Test accuracy of one method on one task, in [0, 1]: mean, standard error of the mean, number of seeds.

    error is None for a single seed. mean is None for an absent cell, and `reason` says why. choice tells which
    variant was taken where several were tried; diverged how many of the runs ended so; incomplete that seeds are
    still to come; chance that guessing may be as accurate (see `benchmark.chance`).
    """

    mean: float | None
    error: float | None = None
    n: int = 0
    diverged: int = 0
    choice: str = ""
    reason: str = ""
    incomplete: bool = False
    chance: bool = False


@dataclass(frozen=True)
class Block:
    """The cells under one selection protocol, with ranks and tests over the tasks that every ranked method finished.

    A task on which every ranked method is at chance tells nothing about them and is left out. Where that is every task,
    ranks and tests are taken over all, and mean nothing (`telling`).

    cells: one row per method, one column per task. average_ranks: 1 is best, None for a method without any cell.
    p_values: of the Wilcoxon signed-rank test against the method of the best rank, Holm-adjusted over all pairs of
    methods; None for that method itself, and where there is too little to test.
    """

    selection: str
    cells: tuple[tuple[Cell, ...], ...]
    average_ranks: tuple[float | None, ...]
    ranked_tasks: int
    friedman: Friedman | None
    critical_difference: float | None
    p_values: tuple[float | None, ...]

    @property
    def telling(self) -> bool:
        """Whether some network of the block is above chance; else ranks and tests are of guesses."""
        return any(c.n and not c.chance for row in self.cells for c in row)


@dataclass(frozen=True)
class Table:
    """Methods (rows) against tasks (columns), once per selection protocol.

    cost: seconds per epoch relative to cross-entropy's on the same machine, all of a method's networks and stages
        counted; None where that is not known.
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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Table:
        """Read what `to_dict` wrote, through JSON or not; anything else is a ConfigError."""
        try:
            blocks = tuple(_read_block(block) for block in values["blocks"])
            methods, tasks, notes = (tuple(_each(str, name, values[name])) for name in ("methods", "tasks", "notes"))
            table = cls(str(values["title"]), methods, tasks, blocks, tuple(_numbers("cost", values["cost"])), notes)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ConfigError(f"got a table that does not read ({error}); expected what Table.to_dict writes") from None
        shape = (len(table.methods), len(table.tasks))
        for block in blocks:
            if {len(block.cells), len(block.average_ranks), len(block.p_values), len(table.cost)} != {shape[0]} or any(
                len(row) != shape[1] for row in block.cells
            ):
                raise ConfigError(f"got a table whose rows do not fit its {shape[0]} methods and {shape[1]} tasks")
        return table


def compare(
    methods: Sequence[MethodSpec],
    tasks: Sequence[Task],
    seeds: int,
    store: Store,
    executor: Executor,
    on_result: Callable[[Job, Result, bool], None] | None = None,
    title: str = "Test accuracy",
    names: Mapping[MethodSpec, str] | None = None,
    classes: Mapping[str, int] | None = None,
    chance: Mapping[Task, float] | None = None,
) -> Table:
    """Train every method on every task with `seeds` seeds (what the store has is not trained again) and compare.

    The table has the accuracy at the last epoch, at the best epoch by noisy validation, and at the best by test.
    names: what to call methods whose own label is long, such as a learned loss. classes: see `Grid`. chance: see
        `tabulate`.

    Raises WorkerError or StoreError as `evaluate` does.
    """
    grid = Grid(tuple(methods), tuple(tasks), seeds, classes=classes or {})
    results = run_jobs(grid.jobs(), store, executor, on_result)
    return tabulate(grid.entries(), {result.key: result for result in results}, title, names=names, chance=chance)


def tabulate(
    entries: Sequence[Entry],
    results: Mapping[str, Result],
    title: str = "Test accuracy",
    missing: Mapping[Task, str] | None = None,
    names: Mapping[MethodSpec, str] | None = None,
    selections: Sequence[str] = tuple(SELECTIONS),
    failures: Mapping[str, str] | None = None,
    chance: Mapping[Task, float] | None = None,
) -> Table:
    """Put results, by job key, into a table; `entries` (see `Grid.entries`) say where each belongs.

    Rules. A diverged run counts as 0 at the last epoch: it left no network (by best epoch, its networks up to there
    count). Where a cell has several variants, such as learning rates, it takes the one with the best mean accuracy on
    noisy validation data, at the last or best epoch as the block has it. Ranks are taken on the means over seeds, over
    the tasks that every ranked method has; a method without any result is not ranked, nor is one that trains as another
    does (see `counted_once`).
    missing: why a task has no results, such as an absent data set. failures: what went wrong, by job key.
    chance: the accuracy that guessing does not exceed, see `chance.chance_levels`; without it no cell is at chance.
    """
    places: dict[tuple[MethodSpec, Task], list[Entry]] = {}
    for entry in entries:
        places.setdefault((entry.method, entry.task), []).append(entry)
    methods, tasks = (tuple(dict.fromkeys(pairs)) for pairs in zip(*places)) if places else ((), ())
    reasons, labels = missing or {}, task_names(tasks)

    def cell(method: MethodSpec, task: Task, selection: str) -> Cell:
        found = places.get((method, task), ())
        why = _failure(found, failures or {}) or reasons.get(task, "not trained yet")
        return _at_chance(_cell(found, results, selection, why), (chance or {}).get(task))

    called = dict(zip(methods, method_names(methods, names)))
    twins = counted_once(entries)
    twice = [method in twins for method in methods]
    blocks = tuple(_block(s, tuple(tuple(cell(m, t, s) for t in tasks) for m in methods), twice) for s in selections)
    columns: dict[str, list[str]] = {}
    for label, task in zip(labels, tasks):
        if task in reasons:
            columns.setdefault(reasons[task], []).append(label)
    absent = tuple(f"{', '.join(named)}: {reason}" for reason, named in columns.items())
    return Table(
        title=title,
        methods=tuple(called.values()),
        tasks=tuple(labels),
        blocks=blocks,
        cost=_cost(entries, methods, results),
        notes=(
            *absent,
            *(
                f"{called[m]} trains as {called[first]} does, and is counted once in ranks"
                for m, first in twins.items()
            ),
            *filter(None, [values_note(entries, called)]),
            *_remarks(blocks, tasks),
        ),
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
    runs: dict[str, list[Result]] = {}
    for entry in entries:
        if entry.job.key in results:
            runs.setdefault(entry.variant, []).append(results[entry.job.key])
    if not runs:
        return Cell(None, reason=reason if entries else "not part of this comparison")
    several = len(runs) > 1
    by_noisy = several or selection == "best-noisy-validation"
    if by_noisy and any(r.history.epochs and not r.history.valid_noisy for found in runs.values() for r in found):
        return Cell(None, reason="no noisy validation labels are known")
    chosen = max(runs, key=lambda variant: _noisy_validation(runs[variant], selection)) if several else next(iter(runs))
    values = np.array([accuracy(result, selection) for result in runs[chosen]])
    n = len(values)
    incomplete = n < len({entry.seed for entry in entries})
    return Cell(
        mean=float(values.mean()),
        error=float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else None,
        n=n,
        diverged=sum(result.history.stopped == "diverged" for result in runs[chosen]),
        choice=chosen,
        reason=reason if incomplete else "",
        incomplete=incomplete,
    )


def _at_chance(cell: Cell, level: float | None) -> Cell:
    return replace(cell, chance=cell.mean is not None and level is not None and cell.mean <= level)


def _failure(entries: Sequence[Entry], failures: Mapping[str, str]) -> str:
    """Return why the first job of a cell that failed did, in one line that does not name the job; "" if none did."""
    for entry in entries:
        if entry.job.key in failures:
            return failures[entry.job.key].partition("\n")[0].removeprefix(f"job {entry.job.label} ")
    return ""


def _noisy_validation(runs: Sequence[Result], selection: str) -> float:
    by = "last" if selection == "last" else "best-noisy-validation"
    return float(np.mean([accuracy(result, by, "valid_noisy") for result in runs]))


def _block(selection: str, cells: tuple[tuple[Cell, ...], ...], twice: Sequence[bool]) -> Block:
    means = np.array([[np.nan if c.mean is None else c.mean for c in row] for row in cells])
    ranked = ~np.isnan(means).all(axis=1) & ~np.array(twice, dtype=bool)
    complete = ~np.isnan(means[ranked]).any(axis=0) if ranked.any() else np.zeros(means.shape[1], dtype=bool)
    chance = np.array([[c.chance for c in row] for row in cells], dtype=bool).reshape(means.shape)
    told = complete & ~chance[ranked].all(axis=0)
    complete = told if told.any() else complete
    tasks, methods = int(complete.sum()), int(ranked.sum())
    untested = (None,) * len(cells)
    block = Block(selection, cells, untested, tasks, None, None, untested)
    if not tasks or methods < 2:
        return block
    # Rounded to a thousandth of a percent: two means that print alike should not differ by a float's last bit.
    scores = np.round(means[ranked][:, complete].T, 5)
    mean_ranks = average_ranks(scores)
    best = int(mean_ranks.argmin())
    p_values = [None if i == best or tasks < 2 else p for i, p in enumerate(wilcoxon_holm(scores)[best].tolist())]

    def per_row(values: Iterable[float | None]) -> tuple[float | None, ...]:
        positions = iter(values)
        return tuple(next(positions) if is_ranked else None for is_ranked in ranked)

    return replace(
        block,
        average_ranks=per_row(mean_ranks.tolist()),
        friedman=friedman(scores) if tasks > 1 else None,
        critical_difference=critical_difference(methods, tasks),
        p_values=per_row(p_values),
    )


UNSTEADY = 1.5
"""From this ratio of the times of equal trainings on one machine their costs are not told: it was busy."""


def _cost(
    entries: Sequence[Entry], methods: Sequence[MethodSpec], results: Mapping[str, Result]
) -> tuple[float | None, ...]:
    """Return seconds per epoch over cross-entropy's: the median over runs of equal task, seed, machine and device.

    Per epoch, not per step: a method that trains twice, such as forward correction, takes twice the time. None for all
    where the machine was busy with other things: then a method's time differs between its own seeds.
    """
    speed: dict[tuple[Any, ...], dict[MethodSpec, float]] = {}
    alike: dict[tuple[Any, ...], list[float]] = {}
    for entry in entries:
        result = results.get(entry.job.key)
        if result is not None and result.history.train_loss and result.wall_time > 0:
            where = (entry.task, entry.variant, result.host, result.device)
            seconds = result.wall_time / len(result.history.train_loss)
            speed.setdefault((*where, entry.seed), {})[entry.method] = seconds
            alike.setdefault((*where, entry.method), []).append(seconds)
    spread = [max(times) / min(times) for times in alike.values() if len(times) > 1]
    reference = next((m for m in methods if m.name == "ce"), None)
    ratios: dict[MethodSpec, list[float]] = {}
    for times in speed.values() if median(spread or [1.0]) < UNSTEADY else ():
        if reference in times:
            for method, seconds in times.items():
                ratios.setdefault(method, []).append(seconds / times[reference])
    return tuple(median(ratios[m]) if m in ratios else None for m in methods)


def _remarks(blocks: Sequence[Block], tasks: Sequence[Task]) -> tuple[str, ...]:
    remarks = []
    cells = [c for block in blocks for row in block.cells for c in row]
    if any(c.diverged for c in cells):
        remarks.append("† some runs diverged; at the last epoch each counts as 0")
    if any(c.chance for c in cells):
        remarks.append("‡ at chance: guessing, or one answer for every sample, may be as accurate")
    said = [_not_ranked(block, len(tasks)) for block in blocks]
    if len(set(said)) == 1:
        remarks += filter(None, said[:1])
    else:
        remarks += [f"{SELECTIONS[b.selection].partition(':')[0]}: {line}" for b, line in zip(blocks, said) if line]
    if len({task.dataset.name for task in tasks}) < len(tasks):
        remarks.append("tasks that share a data set are not independent: the tests of significance flatter")
    return tuple(remarks)


def _not_ranked(block: Block, tasks: int) -> str:
    """Say over which tasks ranks are taken, where not over all; "" where there is nothing to say."""
    rows = [row for row in block.cells if any(c.mean is not None for c in row)]
    if rows and not block.telling:
        return "every method is at chance on every task: there is nothing to rank, and no test of significance to print"
    at_chance = any(all(c.chance for c in column) for column in zip(*rows))
    why = "without an absent cell" + (" and with a method above chance" if at_chance else "")
    return f"ranks over {block.ranked_tasks} of {tasks} tasks, those {why}" if 0 < block.ranked_tasks < tasks else ""


def _read_block(values: Mapping[str, Any]) -> Block:
    test = values["friedman"]
    if values["selection"] not in tuple(SELECTIONS):
        raise ValueError(f"selection {values['selection']!r}")
    return Block(
        selection=values["selection"],
        cells=tuple(tuple(_read(Cell, cell, _CELL) for cell in row) for row in values["cells"]),
        average_ranks=tuple(_numbers("average_ranks", values["average_ranks"])),
        ranked_tasks=_number("ranked_tasks", values["ranked_tasks"]),
        friedman=None if test is None else _read(Friedman, {**test, "f": _infinite(test["f"])}, {}),
        critical_difference=_number("critical_difference", values["critical_difference"], none=True),
        p_values=tuple(_numbers("p_values", values["p_values"])),
    )


_CELL: Mapping[str, type] = {"choice": str, "reason": str, "incomplete": bool, "chance": bool}
"""The fields of a cell that are no numbers."""


def _read(cls: Callable[..., T], values: Mapping[str, Any], kinds: Mapping[str, type]) -> T:
    """Return a cell or a test from its fields: of these kinds, and all others numbers."""
    read = {}
    for name, value in values.items():
        if name in kinds:
            (read[name],) = _each(kinds[name], name, [value])
        else:
            read[name] = _number(name, value, none=name in ("mean", "error"))
    return cls(**read)


def _infinite(value: Any) -> Any:
    return math.inf if value is None else value


def _numbers(name: str, values: Any) -> list[Any]:
    return [_number(name, value, none=True) for value in values]


def _number(name: str, value: Any, none: bool = False) -> Any:
    """Return a number, or None where that is allowed; no table holds one beyond a million million."""
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and (abs(value) < 1e12 or value == math.inf)
    if not fits and not (none and value is None):
        raise ValueError(f"got {name} = {value!r:.80}, expected a number")
    return value


def _each(kind: type, name: str, values: Iterable[Any]) -> list[Any]:
    for value in values:
        if not isinstance(value, kind):
            raise ValueError(f"got {value!r:.80} in {name}, expected {kind.__name__}")
    return list(values)


def method_names(methods: Sequence[MethodSpec], names: Mapping[MethodSpec, str] | None = None) -> list[str]:
    """Return what a table calls its methods: a given name, or the label without the long θ of a learned loss.

    >>> method_names([MethodSpec.of("gce", q=0.5), MethodSpec.of("taylor", theta=[0.0] * 12, scale="init")])
    ['gce(q=0.5)', "taylor(scale='init')"]
    """
    short = [MethodSpec(m.name, tuple((k, v) for k, v in m.hyperparameters if k != "theta")).label for m in methods]
    return _numbered([(names or {}).get(m, label) for m, label in zip(methods, short)])


def task_names(tasks: Sequence[Task]) -> list[str]:
    """Return "data set/model/noise" for each task, with the learning rate or a number where that is not unique."""
    labels = [f"{task.dataset.name}/{task.model}/{NoiseSpec.parse(task.noise).label}" for task in tasks]
    with_rate = [
        f"{label} lr={task.protocol.lr:g}" if labels.count(label) > 1 else label for label, task in zip(labels, tasks)
    ]
    return _numbered(with_rate if len(set(with_rate)) == len(with_rate) else labels)


def _numbered(labels: Sequence[str]) -> list[str]:
    counts: dict[str, int] = {}
    numbered = []
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
        numbered.append(f"{label}#{counts[label]}" if labels.count(label) > 1 else label)
    return numbered
