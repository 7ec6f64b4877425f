"""What a benchmark leaves in its run folder: tables in five formats, pictures, provenance, one HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from autorobustloss.benchmark.bench import BenchOutcome
from autorobustloss.benchmark.grid import Entry
from autorobustloss.benchmark.ranking import cliques
from autorobustloss.benchmark.render import render as render_table
from autorobustloss.benchmark.table import Table, accuracy, method_names, task_names
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.noise import NoiseSpec
from autorobustloss.paper.experiments import Experiment
from autorobustloss.paper.features import Features
from autorobustloss.report.benchmark_figures import (
    critical_difference_diagram,
    feature_map,
    learning_curves,
    noise_sweep,
    order_study,
)
from autorobustloss.report.folder import PAGE, PROVENANCE, folder_page, provenance_of
from autorobustloss.report.style import write_figure
from autorobustloss.runs.job import Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.run_folder import RunFolder

SUFFIXES = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}
Names = Mapping[MethodSpec, str]
Panels = dict[str, dict[str, tuple[list[Any], np.ndarray]]]


def write_tables(folder: RunFolder, outcome: BenchOutcome) -> None:
    """Write the tables of a benchmark, without which everything else is nothing."""
    for view, table in outcome.tables.items():
        write_table(folder, table, f"table-{view}")
    write_provenance(folder, outcome.results)


def draw_bench(folder: RunFolder, outcome: BenchOutcome) -> Path:
    """Draw the pictures of a benchmark and write the HTML page, whose path is returned."""
    grid = next(iter(outcome.config.grids().values()))
    first = next(iter(outcome.tables.values()))
    figures = benchmark_figures(grid.entries(), outcome.results, first, outcome.names)
    return _finish(folder, figures)


def write_experiment_table(
    folder: RunFolder, experiment: Experiment, table: Table, results: Mapping[str, Result]
) -> None:
    """Write the table of an experiment, and what it was made with."""
    write_table(folder, table, experiment.name if experiment.paper else f"table-{experiment.name}")
    write_provenance(folder, results)


def draw_experiment(
    folder: RunFolder,
    experiment: Experiment,
    table: Table,
    results: Mapping[str, Result],
    features: Mapping[str, Features] | None = None,
) -> Path:
    """Draw the pictures of an experiment and write the HTML page, whose path is returned.

    features: by method, for the experiment whose picture shows them (see `benchmark.features.penultimate`).
    """
    names = {method: name for name, method in experiment.rows.items()}
    figures = benchmark_figures(experiment.entries, results, None if experiment.paper else table, names)
    if experiment.picture == "orders":
        figures = {"orders": order_study(means_by_method(table))}
    if features:
        figures["features"] = feature_map(features)
    return _finish(folder, {f"{experiment.name}-{kind}": figure for kind, figure in figures.items()})


def means_by_method(table: Table) -> dict[str, list[float]]:
    """Return each method's accuracies at the last epoch, one per task that it has."""
    rows = zip(table.methods, table.block("last").cells)
    found = {name: [cell.mean for cell in cells if cell.mean is not None] for name, cells in rows}
    return {name: means for name, means in found.items() if means}


def write_table(folder: RunFolder, table: Table, stem: str = "table") -> None:
    """Write a table as stem.txt, .md, .tex, .csv and .json."""
    for form, suffix in SUFFIXES.items():
        folder.write(f"{stem}.{suffix}", render_table(table, form))


def benchmark_figures(
    entries: Sequence[Entry], results: Mapping[str, Result], table: Table | None, names: Names
) -> dict[str, Figure]:
    """Return the pictures that results allow: learning curves, a noise sweep, average ranks (of `table`)."""
    entries = one_variant(entries)
    found: dict[str, Figure] = {}
    curves = curve_panels(entries, results, names)
    if curves:
        found["curves"] = learning_curves(curves)
    sweep = sweep_panels(entries, results, names)
    if sweep:
        found["sweep"] = noise_sweep(sweep)
    ranks = rank_figure(table) if table is not None else None
    if ranks is not None:
        found["ranks"] = ranks
    return found


def one_variant(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries of one variant per cell: the task's own learning rate, or the first where that is absent."""
    variants: dict[tuple[MethodSpec, Task], list[str]] = {}
    for entry in entries:
        variants.setdefault((entry.method, entry.task), []).append(entry.variant)
    shown = {cell: "lr×1" if "lr×1" in tried else tried[0] for cell, tried in variants.items()}
    return [entry for entry in entries if entry.variant == shown[entry.method, entry.task]]


def rank_figure(table: Table) -> Figure | None:
    """Return the critical-difference diagram of a table's first block, None where nothing was tested."""
    block = table.blocks[0]
    if block.friedman is None or block.critical_difference is None or not block.telling:
        return None
    ranked = [(name, rank) for name, rank in zip(table.methods, block.average_ranks) if rank is not None]
    ranks = [rank for _, rank in ranked]
    groups = cliques(ranks, block.critical_difference)
    return critical_difference_diagram([name for name, _ in ranked], ranks, block.critical_difference, groups)


def curve_panels(entries: Sequence[Entry], results: Mapping[str, Result], names: Names) -> Panels:
    """Return task -> method -> (epochs, test accuracies (seeds, epochs)), NaN after a run that ended early."""
    called, panels = _names(entries, names), Panels()
    tasks = list(dict.fromkeys(e.task for e in entries))
    titles = dict(zip(tasks, task_names(tasks)))
    runs: dict[tuple[str, str], list[Result]] = {}
    for entry in entries:
        if entry.job.key in results and results[entry.job.key].history.test:
            runs.setdefault((titles[entry.task], called[entry.method]), []).append(results[entry.job.key])
    for (task, method), found in runs.items():
        epochs = sorted({epoch for result in found for epoch in result.history.epochs})
        values = np.full((len(found), len(epochs)), np.nan)
        for row, result in enumerate(found):
            values[row, np.searchsorted(epochs, result.history.epochs)] = result.history.test
        panels.setdefault(task, {})[method] = (epochs, values)
    return panels


def sweep_panels(entries: Sequence[Entry], results: Mapping[str, Result], names: Names) -> Panels:
    """Return setting -> method -> (noise rates, accuracies (seeds, rates)) where three rates or more were tried.

    A setting is a data set, a network and a kind of noise; clean labels are rate 0 of every kind.
    """
    called = _names(entries, names)
    points: dict[str, dict[str, dict[float, dict[int, float]]]] = {}
    clean: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    kinds: dict[str, tuple[str, str]] = {}
    for entry in entries:
        result = results.get(entry.job.key)
        if result is None:
            continue
        noise, place = NoiseSpec.parse(entry.task.noise), (entry.task.dataset.name, entry.task.model)
        value, method = accuracy(result, "last"), called[entry.method]
        if noise.kind == "clean":
            clean.setdefault(place, {}).setdefault(method, {})[entry.seed] = value
        elif noise.rate:
            setting = f"{place[0]}/{place[1]}/{noise.kind}"
            kinds[setting] = place
            points.setdefault(setting, {}).setdefault(method, {}).setdefault(noise.rate, {})[entry.seed] = value
    panels = Panels()
    for setting, methods in points.items():
        for method, rates in methods.items():
            start = clean.get(kinds[setting], {}).get(method)
            known = {**({0.0: start} if start else {}), **dict(sorted(rates.items()))}
            if len(known) >= 3:
                seeds = sorted({seed for values in known.values() for seed in values})
                values = np.array([[known[rate].get(seed, np.nan) for rate in known] for seed in seeds])
                panels.setdefault(setting, {})[method] = (list(known), values)
    return panels


def _names(entries: Sequence[Entry], names: Names) -> dict[MethodSpec, str]:
    methods = list(dict.fromkeys(entry.method for entry in entries))
    return dict(zip(methods, method_names(methods, names)))


def write_provenance(folder: RunFolder, results: Mapping[str, Result]) -> None:
    """Write what the results were made with."""
    folder.write(PROVENANCE, json.dumps(provenance_of(results.values()), indent=1) + "\n")


def _finish(folder: RunFolder, figures: Mapping[str, Figure]) -> Path:
    for stem, figure in figures.items():
        write_figure(folder, stem, figure)
    return folder.write(PAGE, folder_page(folder.path))
