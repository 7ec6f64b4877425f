"""A comparison as data: accuracies with their standard errors, average ranks, significance, cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import msgspec

from autorobustloss.benchmark.ranking import Friedman, Number
from autorobustloss.errors import ConfigError

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
    still to come; chance that guessing may be as accurate (see `benchmark.chance`). epoch is the one that noisy
    validation data chose, the median over seeds, None where nothing was chosen or there is but one.
    """

    mean: Number | None
    error: Number | None = None
    n: int = 0
    diverged: int = 0
    choice: str = ""
    reason: str = ""
    incomplete: bool = False
    chance: bool = False
    epoch: Number | None = field(default=None, compare=False)


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
    average_ranks: tuple[Number | None, ...]
    ranked_tasks: int
    friedman: Friedman | None
    critical_difference: Number | None
    p_values: tuple[Number | None, ...]

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
    cost: tuple[Number | None, ...]
    notes: tuple[str, ...] = ()

    def block(self, selection: str = "last") -> Block:
        """Return the block of a selection protocol."""
        for block in self.blocks:
            if block.selection == selection:
                return block
        raise ConfigError(f"got selection {selection!r}, expected one of {', '.join(b.selection for b in self.blocks)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Table:
        """Read what `to_dict` wrote, through JSON or not; anything else is a ConfigError."""
        try:
            table = msgspec.convert(values, cls)
            heights = {len(table.cost)}
            for block in table.blocks:
                heights |= {len(block.cells), len(block.average_ranks), len(block.p_values)}
                if block.selection not in SELECTIONS:
                    raise ValueError(f"selection {block.selection!r}")
            widths = {len(row) for block in table.blocks for row in block.cells}
            if heights != {len(table.methods)} or not widths <= {len(table.tasks)}:
                raise ValueError(f"its rows do not fit {len(table.methods)} methods and {len(table.tasks)} tasks")
        except (msgspec.MsgspecError, ValueError) as error:
            raise ConfigError(f"got a table that does not read ({error}); expected what Table.to_dict writes") from None
        return table
