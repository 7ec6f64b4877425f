"""Comparing methods over tasks: grids, ranks, significance, tables, and the paper's experiments."""

from autorobustloss.benchmark.bench import BenchConfig, BenchOutcome, load_datasets, pin, run_bench
from autorobustloss.benchmark.grid import Entry, Grid, matched
from autorobustloss.benchmark.paper import Experiment, experiments, run_experiment
from autorobustloss.benchmark.ranking import average_ranks, cliques, critical_difference, friedman, wilcoxon_holm
from autorobustloss.benchmark.render import render
from autorobustloss.benchmark.scale import Scale
from autorobustloss.benchmark.table import Block, Cell, Table, compare, tabulate

__all__ = [
    "BenchConfig",
    "BenchOutcome",
    "Block",
    "Cell",
    "Entry",
    "Experiment",
    "Grid",
    "Scale",
    "Table",
    "average_ranks",
    "cliques",
    "compare",
    "critical_difference",
    "experiments",
    "friedman",
    "load_datasets",
    "matched",
    "pin",
    "render",
    "run_bench",
    "run_experiment",
    "tabulate",
    "wilcoxon_holm",
]
