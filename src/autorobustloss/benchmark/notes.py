"""The lines below a table: what its numbers cannot say themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from autorobustloss.benchmark.grid import Entry
from autorobustloss.benchmark.table import SELECTIONS, Block
from autorobustloss.losses.cards import Card, GatedCard
from autorobustloss.methods import MethodSpec, values_used
from autorobustloss.methods.duplicates import firsts_alike
from autorobustloss.runs import Task

LEARNED = {kind.FAMILY for kind in (Card, GatedCard)}
"""The families of learned losses, as a job names them."""

FLATTERS = "tasks that share a data set are not independent: the tests of significance flatter"
"""Said where tasks share a data set."""


def notes_below(
    entries: Sequence[Entry],
    blocks: Sequence[Block],
    alike: Mapping[MethodSpec, MethodSpec],
    methods: Mapping[MethodSpec, str],
    tasks: Mapping[Task, str],
    missing: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the lines below a table; methods, tasks: what it calls them. missing: why a data set is absent."""
    absent = defaultdict(list)
    for task, label in tasks.items():
        if task.dataset.name in missing:
            absent[missing[task.dataset.name]].append(label)
    notes = [f"{', '.join(labels)}: {why}" for why, labels in absent.items()]
    for method, first in alike.items():
        notes.append(f"{methods[method]} trains as {methods[first]} does, and is counted once in ranks")
    notes.append(values_note(entries, methods))
    cells = [c for block in blocks for row in block.cells for c in row]
    if any(c.diverged for c in cells):
        notes.append("† some runs diverged; at the last epoch each counts as 0")
    if any(c.chance for c in cells):
        notes.append("‡ at chance: guessing, or one answer for every sample, may be as accurate")
    said = [(SELECTIONS[block.selection].partition(":")[0], _not_ranked(block, len(tasks))) for block in blocks]
    if len({line for _, line in said}) == 1:
        notes.append(said[0][1])
    else:
        notes += [f"{selection}: {line}" for selection, line in said if line]
    if len({task.dataset.name for task in tasks}) < len(tasks):
        notes.append(FLATTERS)
    return tuple(filter(None, notes))


def twins(entries: Iterable[Entry]) -> dict[MethodSpec, MethodSpec]:
    """Return the methods of a table that train as an earlier one does everywhere, and that one."""
    entries = list(entries)
    alike = firsts_alike(entry.job.method for entry in entries)
    trained: dict[MethodSpec, set[tuple[Task, int, str, MethodSpec]]] = {}
    for entry in entries:
        trained.setdefault(entry.method, set()).add((entry.task, entry.seed, entry.variant, alike[entry.job.method]))
    firsts: dict[frozenset[object], MethodSpec] = {}
    found = {method: firsts.setdefault(frozenset(jobs), method) for method, jobs in trained.items()}
    return {method: first for method, first in found.items() if first != method}


def values_note(entries: Iterable[Entry], names: Mapping[MethodSpec, str]) -> str:
    """Return which hyper-parameters the methods of a table have, and where they differ on which data; "" for none.

    Of learned losses, whose numbers are many, and of cells with values of their own nothing is said.
    """
    used: dict[MethodSpec, dict[str, set[str]]] = {}
    for entry in entries:
        if entry.job.method.name not in LEARNED:
            shown = {k: v for k, v in values_used(entry.job.method).items() if k != "match_scale"}  # titles tell
            text = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in shown.items())
            used.setdefault(entry.method, {}).setdefault(entry.task.dataset.name, set()).add(text)
    parts = []
    for method, by_dataset in used.items():
        where: dict[str, list[str]] = {}
        for dataset, texts in by_dataset.items():
            if len(texts) == 1 and (text := next(iter(texts))):
                where.setdefault(text, []).append(dataset)
        told = [f"{text} ({', '.join(datasets)})" if len(where) > 1 else text for text, datasets in where.items()]
        if told:
            parts.append(f"{names[method]} {', '.join(told)}")
    return f"values: {'; '.join(parts)}" if parts else ""


def _not_ranked(block: Block, tasks: int) -> str:
    """Say over which tasks ranks are taken, where not over all; "" where there is nothing to say."""
    rows = [row for row in block.cells if any(c.mean is not None for c in row)]
    if rows and not block.telling:
        return "every method is at chance on every task: there is nothing to rank, and no test of significance to print"
    at_chance = any(all(c.chance for c in column) for column in zip(*rows))
    why = "without an absent cell" + (" and with a method above chance" if at_chance else "")
    return f"ranks over {block.ranked_tasks} of {tasks} tasks, those {why}" if 0 < block.ranked_tasks < tasks else ""
