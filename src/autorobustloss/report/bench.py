"""What a benchmark leaves in its run folder: tables in five formats, pictures, provenance, one HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from autorobustloss.benchmark.advice import paragraph
from autorobustloss.benchmark.answer import Answer
from autorobustloss.benchmark.bench import BenchOutcome
from autorobustloss.benchmark.curves import Panel, Scored, curve_panels, curves, scored, sweep_panels, to_json
from autorobustloss.benchmark.render import render as render_table
from autorobustloss.benchmark.table import Table
from autorobustloss.paper.experiments import Experiment
from autorobustloss.paper.features import Features
from autorobustloss.report.benchmark_pictures import (
    critical_difference_diagram,
    feature_map,
    learning_curves,
    noise_sweep,
    order_study,
)
from autorobustloss.report.folder import PAGE, PROVENANCE, folder_page, provenance_of
from autorobustloss.report.style import write_figure
from autorobustloss.runs.result import Result
from autorobustloss.runs.run_folder import CURVES, RunFolder

SUFFIXES = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}


def write_tables(folder: RunFolder, outcome: BenchOutcome) -> None:
    """Write the tables of a benchmark, without which everything else is nothing, and what they were made with."""
    tables = {f"table-{view}": table for view, table in outcome.tables.items()}
    _write(folder, tables, outcome.curves, outcome.results)


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
    found = scored(experiment.entries, results, {method: name for name, method in experiment.rows.items()})
    stem = experiment.name if experiment.name.startswith("table") else f"table-{experiment.name}"
    _write(folder, {stem: table}, curves(found), results)


def _write(
    folder: RunFolder, tables: Mapping[str, Table], panels: Sequence[Panel], results: Mapping[str, Result]
) -> None:
    for stem, table in tables.items():
        for form, suffix in SUFFIXES.items():
            folder.write(f"{stem}.{suffix}", render_table(table, form))
    folder.write(CURVES, to_json(panels))
    folder.write(PROVENANCE, json.dumps(provenance_of(results.values()), indent=1) + "\n")


def draw_bench(folder: RunFolder, outcome: BenchOutcome) -> Path:
    """Draw the pictures of a benchmark and write the HTML page, whose path is returned."""
    return _draw(folder, figures_of(outcome.scored, next(iter(outcome.tables.values()))))


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
    if tested := curve_panels(found):
        figures["curves"] = learning_curves(tested)
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
