"""What a benchmark leaves in its run folder: tables in five formats, pictures, provenance, one HTML page."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from autorobustloss.benchmark.advice import paragraph
from autorobustloss.benchmark.answer import Answer
from autorobustloss.benchmark.bench import BenchOutcome
from autorobustloss.benchmark.cells import accuracy, method_names, task_names
from autorobustloss.benchmark.grid import Entry
from autorobustloss.benchmark.render import render as render_table
from autorobustloss.benchmark.table import Table
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.noise import NoiseSpec
from autorobustloss.paper.experiments import Experiment
from autorobustloss.paper.features import Features
from autorobustloss.report.benchmark_pictures import (
    Panels,
    critical_difference_diagram,
    feature_map,
    learning_curves,
    noise_sweep,
    order_study,
)
from autorobustloss.report.page import PAGE, PROVENANCE, folder_page, provenance_of
from autorobustloss.report.style import write_figure
from autorobustloss.runs.job import Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.run_folder import RunFolder

SUFFIXES = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}
Scored = tuple[Entry, Result, str, str]
"""A place in a table, the result that belongs there, and what the table calls the method and the task."""


def write_tables(folder: RunFolder, outcome: BenchOutcome) -> None:
    """Write the tables of a benchmark, without which everything else is nothing, and what they were made with."""
    _write(folder, {f"table-{view}": table for view, table in outcome.tables.items()}, outcome.results)


def write_answers(folder: RunFolder, answers: Sequence[Answer]) -> None:
    """Write which loss is best for data whose labels are taken as they come, in words and in numbers."""
    if answers:
        text = "\n\n".join(map(paragraph, answers))
        content = {"text": text, "answers": [answer.to_dict() for answer in answers]}
        folder.write("answer.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_experiment_table(
    folder: RunFolder, experiment: Experiment, table: Table, results: Mapping[str, Result]
) -> None:
    """Write the table of an experiment, and what it was made with."""
    _write(folder, {experiment.name if experiment.paper else f"table-{experiment.name}": table}, results)


def _write(folder: RunFolder, tables: Mapping[str, Table], results: Mapping[str, Result]) -> None:
    for stem, table in tables.items():
        for form, suffix in SUFFIXES.items():
            folder.write(f"{stem}.{suffix}", render_table(table, form))
    folder.write(PROVENANCE, json.dumps(provenance_of(results.values()), indent=1) + "\n")


def draw_bench(folder: RunFolder, outcome: BenchOutcome) -> Path:
    """Draw the pictures of a benchmark and write the HTML page, whose path is returned."""
    view, table = next(iter(outcome.tables.items()))
    found = scored(outcome.config.entries(view), outcome.results, outcome.names)
    return _draw(folder, figures_of(found, table))


def draw_experiment(
    folder: RunFolder,
    experiment: Experiment,
    table: Table,
    results: Mapping[str, Result],
    features: Mapping[str, Features] | None = None,
) -> Path:
    """Draw the pictures of an experiment and write the HTML page, whose path is returned.

    features: by method, for the experiment whose picture shows them (see `paper.features.penultimate`).
    """
    if experiment.picture == "orders":
        rows = zip(table.methods, table.block("last").cells)
        means = {name: [cell.mean for cell in cells if cell.mean is not None] for name, cells in rows}
        figures = {"orders": order_study({name: some for name, some in means.items() if some})}
    else:
        names = {method: name for name, method in experiment.rows.items()}
        found = scored(experiment.entries, results, names)
        figures = figures_of(found, None if experiment.paper else table)
    if features:
        figures["features"] = feature_map(features)
    return _draw(folder, {f"{experiment.name}-{kind}": figure for kind, figure in figures.items()})


def _draw(folder: RunFolder, figures: Mapping[str, Figure]) -> Path:
    for stem, figure in figures.items():
        write_figure(folder, stem, figure)
    return folder.write(PAGE, folder_page(folder.path))


def figures_of(found: Sequence[Scored], table: Table | None) -> dict[str, Figure]:
    """Return the pictures that results allow: learning curves, a noise sweep, average ranks (of `table`)."""
    figures: dict[str, Figure] = {}
    if curves := curve_panels(found):
        figures["curves"] = learning_curves(curves)
    if noisy := curve_panels(found, "valid_noisy"):
        figures["validation"] = learning_curves(noisy, "accuracy on noisy validation labels (%)")
    if sweep := sweep_panels(found):
        figures["sweep"] = noise_sweep(sweep)
    if table is not None and (ranks := rank_figure(table)):
        figures["ranks"] = ranks
    return figures


def rank_figure(table: Table) -> Figure | None:
    """Return the critical-difference diagram of a table's first block, None where nothing was tested."""
    block = table.blocks[0]
    if block.friedman is None or block.critical_difference is None or not block.telling:
        return None
    names, ranks = zip(*((n, rank) for n, rank in zip(table.methods, block.average_ranks) if rank is not None))
    return critical_difference_diagram(names, ranks, block.critical_difference)


def scored(entries: Sequence[Entry], results: Mapping[str, Result], names: Mapping[MethodSpec, str]) -> list[Scored]:
    """Return what has a result, of one variant per cell: the task's own learning rate, else the first."""
    methods = list(dict.fromkeys(entry.method for entry in entries))
    tasks = list(dict.fromkeys(entry.task for entry in entries))
    called, titles = dict(zip(methods, method_names(methods, names))), dict(zip(tasks, task_names(tasks)))
    shown: dict[tuple[MethodSpec, Task], str] = {}
    for entry in entries:
        if entry.variant == "lr×1" or (entry.method, entry.task) not in shown:
            shown[entry.method, entry.task] = entry.variant
    return [
        (entry, results[entry.job.key], called[entry.method], titles[entry.task])
        for entry in entries
        if entry.job.key in results and entry.variant == shown[entry.method, entry.task]
    ]


def curve_panels(found: Sequence[Scored], split: str = "test") -> Panels:
    """Return task -> method -> epoch -> accuracies on a split, one per seed that got so far."""
    panels = _nested()
    for _, result, name, title in found:
        for epoch, value in zip(result.history.epochs, getattr(result.history, split)):
            panels[title][name][epoch].append(value)
    return panels


def sweep_panels(found: Sequence[Scored]) -> Panels:
    """Return setting -> method -> noise rate -> accuracies, one per seed, where three rates or more were tried.

    A setting is a data set, a network and a kind of noise; clean labels are rate 0 of every kind.
    """
    points = _nested()
    for entry, result, name, _ in found:
        noise, task = NoiseSpec.parse(entry.task.noise), entry.task
        points[task.dataset.name, task.model, noise.kind][name][noise.rate].append(accuracy(result, "last"))
    panels = {}
    for (data, model, kind), methods in points.items():
        clean = points.get((data, model, "clean"), {})
        swept = {name: {**clean.get(name, {}), **rates} for name, rates in methods.items() if kind != "clean"}
        if shown := {name: dict(sorted(rates.items())) for name, rates in swept.items() if len(rates) >= 3}:
            panels[f"{data}/{model}/{kind}"] = shown
    return panels


def _nested() -> dict[Any, dict[str, dict[float, list[float]]]]:
    return defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
