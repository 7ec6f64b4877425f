"""Comparing methods over tasks: grids, ranks, significance, tables."""

from autorobustloss.benchmark.bench import BenchConfig, BenchOutcome, load_datasets, pin, run_bench
from autorobustloss.benchmark.cells import tabulate
from autorobustloss.benchmark.grid import Entry, Grid, at_start_scale
from autorobustloss.benchmark.ranking import average_ranks, cliques, critical_difference, friedman, wilcoxon_holm
from autorobustloss.benchmark.render import render
from autorobustloss.benchmark.table import Block, Cell, Table

__all__ = [
    "BenchConfig",
    "BenchOutcome",
    "Block",
    "Cell",
    "Entry",
    "Grid",
    "Table",
    "at_start_scale",
    "average_ranks",
    "cliques",
    "critical_difference",
    "friedman",
    "load_datasets",
    "pin",
    "render",
    "run_bench",
    "tabulate",
    "wilcoxon_holm",
]
