"""Comparing methods over tasks: grids, ranks, significance, tables."""

from autorobustloss.benchmark.grid import Entry, Grid, matched
from autorobustloss.benchmark.ranking import average_ranks, critical_difference, friedman
from autorobustloss.benchmark.render import render
from autorobustloss.benchmark.table import Block, Cell, Table, compare, tabulate

__all__ = [
    "Block",
    "Cell",
    "Entry",
    "Grid",
    "Table",
    "average_ranks",
    "compare",
    "critical_difference",
    "friedman",
    "matched",
    "render",
    "tabulate",
]
