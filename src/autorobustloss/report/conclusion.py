"""What a run shows, in a sentence and how sure it is, computed from its tables; honest where nothing is shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np

from autorobustloss.benchmark.notes import FLATTERS
from autorobustloss.benchmark.table import Block, Table
from autorobustloss.errors import ConfigError

LEARNED = "learned"
"""What a search calls its loss in the comparison at its end."""


@dataclass(frozen=True)
class Conclusion:
    """A sentence for the top of a page, and how sure it is and what else holds, in a few more."""

    sentence: str
    more: str = ""


@dataclass(frozen=True)
class Standing:
    """A ranked method: its name, its average rank, and its mean accuracy, in per cent, over the ranked tasks."""

    name: str
    rank: float
    mean: float


def standings(table: Table, block: Block) -> list[Standing]:
    """Return the ranked methods, the best first.

    The mean accuracy is over the tasks that every ranked method has, less those on which all are at chance, as ranks.
    """
    own = [any(c.n for c in row) for row in block.cells]  # not quoted from elsewhere, where a rank is among others
    ranked = [i for i, rank in enumerate(block.average_ranks) if rank is not None and own[i]]
    columns = list(zip(*(block.cells[i] for i in ranked)))
    whole = [column for column in columns if all(c.mean is not None for c in column)]
    told = [column for column in whole if not all(c.chance for c in column)] or whole
    found = [
        Standing(
            table.methods[i],
            float(block.average_ranks[i] or 0),
            100 * float(np.mean([float(column[place].mean or 0) for column in told])) if told else math.nan,
        )
        for place, i in enumerate(ranked)
    ]
    return sorted(found, key=lambda each: (each.rank, -each.mean))


def of_tables(tables: Sequence[Table]) -> Conclusion:
    """Return what a benchmark shows: which method is best in its first table, by how much, how sure that is."""
    table, block = tables[0], tables[0].blocks[0]
    found = standings(table, block)
    if not block.telling:
        done = any(c.mean is not None for row in block.cells for c in row)
        return Conclusion("No method is above chance on any task: nothing can be said." if done else NOTHING)
    if len(found) < 2:
        return alone(table, block)
    best, *others = found
    level = [each.name for each in others if each.rank == best.rank]
    if level:
        sentence = f"{listed([best.name, *level])} share the best average rank, {best.rank:.2f}, {_among(found, block)}"
        sentence += f": {best.name} has {best.mean:.1f} % test accuracy, {others[0].name} {others[0].mean:.1f} %."
    else:
        sentence = (
            f"{best.name} is best {_among(found, block)}: average rank {best.rank:.2f}, {best.mean:.1f} % test "
            f"accuracy, {points(best.mean - others[0].mean)} {others[0].name}, the next by rank."
        )
    more = [significance(block, found), _flattery(table, block), _by_mean(found), *_other_views(tables, best.name)]
    return Conclusion(sentence, " ".join(filter(None, more)))


NOTHING = "Nothing is trained yet."


def alone(table: Table, block: Block) -> Conclusion:
    """Return what a table without ranks, as of a single method, shows."""
    rows = [(name, [c for c in row if c.mean is not None]) for name, row in zip(table.methods, block.cells)]
    there = [(name, cells) for name, cells in rows if cells]
    if len(there) != 1:
        return Conclusion("The methods have no task in common, so they cannot be ranked." if there else NOTHING)
    ((name, cells),) = there
    mean = 100 * float(np.mean([float(c.mean or 0) for c in cells]))
    tasks = "1 task" if len(cells) == 1 else f"{len(cells)} tasks"
    return Conclusion(f"{name} reaches {mean:.1f} % test accuracy on {tasks}; it is the only method with results.")


def of_search(table: Table | None, fitness: float | None) -> Conclusion:
    """Return what a search shows: what its loss reaches beside the best known one.

    table: the comparison at its end, None for none; fitness: validation accuracy of the learned loss, in [0, 1].
    """
    reached = "" if fitness is None else f"{100 * fitness:.1f} % validation accuracy on fresh noise"
    found = standings(table, table.blocks[0]) if table is not None else []
    own = next((each for each in found if each.name == LEARNED), None)
    known = [each for each in found if each.name != LEARNED]
    if table is None or own is None or not known:
        sentence = f"The learned loss reaches {reached}" if reached else "A loss was learned"
        return Conclusion(f"{sentence}; how it fares beside known losses was not tried.")
    block, best = table.blocks[0], known[0]
    if not block.telling:
        return Conclusion("Neither the learned loss nor a known one is above chance on any task: nothing can be said.")
    gap, place = own.mean - best.mean, "the best known loss here" if len(known) > 1 else "the one known loss tried"
    sentence = (
        f"The learned loss reaches {own.mean:.1f} % test accuracy {_where(block)}, {points(gap)} {best.name}, {place}"
    )
    better = own.rank < best.rank
    if (gap > 0) != better and own.rank != best.rank:
        sentence += (
            f", though by average rank it is {'ahead' if better else 'behind'} ({own.rank:.2f}, {best.rank:.2f})"
        )
    more = [f"By average rank it is the {place_of(own, found)} of {len(found)}.", significance(block, found, own)]
    return Conclusion(f"{sentence}.", " ".join(filter(None, [*more, _flattery(table, block)])))


def significance(block: Block, found: Sequence[Standing], of: Standing | None = None) -> str:
    """Return what the tests say of the best method, or of another, against the others."""
    if block.friedman is None or block.critical_difference is None:
        return "On a single task there is no test of significance." if block.ranked_tasks == 1 else ""
    own = of or found[0]
    others = [each for each in found if each is not own]
    alike = [each.name for each in others if abs(each.rank - own.rank) < block.critical_difference]
    name, said = ("the learned loss", "The learned loss") if own.name == LEARNED else (own.name, own.name)
    test = f"Nemenyi's test, 5 %, {block.ranked_tasks} tasks"
    if not alike:
        return f"{said} differs significantly from {'the other' if len(others) == 1 else 'all others'} ({test})."
    if len(alike) == len(others):
        return f"The differences are not significant: {name} cannot be told from any other ({test})."
    told = len(others) - len(alike)
    return f"{said} differs significantly from {told} of the other {len(others)}, not from {listed(alike)} ({test})."


def of_answers(content: Mapping[str, Any]) -> Conclusion:
    """Return the answer for data whose labels are taken as they come; ConfigError for what is none.

    content: what `report.bench.write_answers` wrote; of several data sets the first has the sentence.
    """
    try:
        found = msgspec.convert(content.get("answers"), list[Answered])
        best, *others = found[0].candidates
        seeds = len(best.valid_noisy)
        if not all(each.valid_noisy for each in found[0].candidates):
            raise ValueError("no accuracies in it")
    except (msgspec.MsgspecError, ValueError, IndexError) as error:
        raise ConfigError(f"got an answer that does not read ({error}), expected what this library writes") from None
    sentence = (
        f"For {found[0].dataset}, its labels as they come, {best.method} is best: it agrees with {best.mean:.1f} % of "
        f"the noisy validation labels ({_seeds(seeds)})"
    )
    if others:
        sentence += f", {points(best.mean - others[0].mean)} {others[0].method}, the next"
    alike = found[0].alike
    more = "One seed tells no method from another." if seeds == 1 else "It is surely ahead of all others."
    if seeds > 1 and alike:
        more = f"With {seeds} seeds it cannot be told from {listed(alike)}."
    return Conclusion(f"{sentence}.", more if others else "")


Accuracy = Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True)
class Tried:
    """A candidate of an answer, as `Answer.to_dict` writes it."""

    method: str
    valid_noisy: dict[str, Accuracy]

    @property
    def mean(self) -> float:
        """The mean over seeds, in per cent."""
        return 100 * float(np.mean(list(self.valid_noisy.values())))


@dataclass(frozen=True)
class Answered:
    """An answer, as `Answer.to_dict` writes it."""

    dataset: str
    candidates: list[Tried]
    alike: list[str]


def points(gap: float) -> str:
    """Return a lead or a gap in words.

    >>> points(1.25), points(-0.5), points(0.01)
    ('1.2 points ahead of', '0.5 points behind', 'level with')
    """
    size = f"{abs(gap):.1f}"
    return "level with" if size == "0.0" else f"{size} points {'ahead of' if gap > 0 else 'behind'}"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Return names as a list in words.

    >>> listed(["a", "b", "c"]), listed(list("abcdefgh"), most=3)
    ('a, b and c', 'a, b, c and 5 more')
    """
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def place_of(own: Standing, found: Sequence[Standing]) -> str:
    """Return the place of a method by rank: "1st", "2nd", …"""
    place = 1 + sum(each.rank < own.rank for each in found)
    ending = "th" if 10 < place % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    return f"{place}{ending}"


def _where(block: Block) -> str:
    seeds = max((c.n for row in block.cells for c in row), default=0)
    tasks = "on 1 task" if block.ranked_tasks == 1 else f"on average over {block.ranked_tasks} tasks"
    return f"{tasks} ({_seeds(seeds)})"


def _among(found: Sequence[Standing], block: Block) -> str:
    seeds = max((c.n for row in block.cells for c in row), default=0)
    tasks = "1 task" if block.ranked_tasks == 1 else f"{block.ranked_tasks} tasks"
    return f"of {len(found)} methods on {tasks} ({_seeds(seeds)})"


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"


def _flattery(table: Table, block: Block) -> str:
    """Return what a note below the table says against its tests."""
    tested = block.friedman is not None
    return (
        "Tasks that share a data set are not independent: the test flatters."
        if tested and FLATTERS in table.notes
        else ""
    )


def _by_mean(found: Sequence[Standing]) -> str:
    top = max(found, key=lambda each: each.mean)
    if top.mean <= found[0].mean + 0.05:
        return ""
    return f"The highest mean accuracy is that of {top.name}, {top.mean:.1f} %."


def _other_views(tables: Sequence[Table], best: str) -> list[str]:
    said = []
    for table in tables[1:]:
        if found := standings(table, table.blocks[0]):
            view = table.title.partition(", ")[2] or table.title
            first = found[0].name
            said.append(f"Also best, {view}." if first == best else f"Best, {view}: {first} ({found[0].rank:.2f}).")
    return said
