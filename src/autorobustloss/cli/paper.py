"""`arl bench TABLE`: a table or figure of the paper, at a scale that the machine bears."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from autorobustloss.benchmark import load_datasets, pin
from autorobustloss.benchmark.chance import chance_levels
from autorobustloss.benchmark.render import render
from autorobustloss.cli.bench import Failures, tell_failures
from autorobustloss.cli.json_output import print_json
from autorobustloss.cli.lists import split_list
from autorobustloss.cli.methods import read_named_methods
from autorobustloss.cli.options.bench import DEFAULTS, BenchOptions
from autorobustloss.cli.options.shared import Grid
from autorobustloss.cli.progress import BestSoFar
from autorobustloss.cli.running import at_work, searched, then_drawn
from autorobustloss.cli.tasks import check_tasks
from autorobustloss.cli.terminal import out_width
from autorobustloss.data import Dataset
from autorobustloss.errors import ConfigError
from autorobustloss.methods import MethodSpec
from autorobustloss.paper import experiments as paper
from autorobustloss.paper.effort import EFFORTS, Effort
from autorobustloss.paper.features import penultimate
from autorobustloss.search import SearchConfig, Space

SCALE_KEYS = {field.name.removesuffix("_size"): field.name for field in fields(Effort) if field.name != "precision"}
GRID = [field.name for field in fields(Grid) if field.name not in ("data_dir", "download", "precision")]
"""What the tables and figures of the paper leave no choice of, beside seeds and scales."""


def run(name: str, options: BenchOptions) -> int:
    """Run a table or figure of the paper."""
    scale = read_scale(options.scale)
    if options.precision:
        scale = replace(scale, precision=options.precision)
    targets = paper.targets(name, scale)
    for option in ("seeds", "match_scale", *GRID):
        if getattr(options, option) != getattr(DEFAULTS, option):
            flag = "--" + option.replace("_", "-")
            raise ConfigError(f"got {flag} with {name}, whose grid is the paper's; leave it out, see --scale")
    learned = paper.zoo_losses() if options.methods is None else read_named_methods(options.methods)
    for target in targets:
        if (method := learn(target, scale, options)) is not None:
            learned[target.name] = method
    failures = Failures()
    for experiment in paper.experiments(name, scale, learned):
        run_one(experiment, scale, options, failures)
    return tell_failures(failures)


def learn(target: paper.Target, scale: Effort, options: BenchOptions) -> MethodSpec | None:
    """Search the loss that an experiment wants, as `arl search` does; None where its data sets are all absent."""
    datasets, _ = load_datasets((task.dataset.name for task in target.tasks), options.data_dir, options.download)
    if not datasets:
        return None
    config = search_of(target, scale, datasets)
    check_tasks(config.tasks, datasets, allow_hopeless=True)
    settings = {"command": "search", **config.to_dict()}
    classes = {name: dataset.num_classes for name, dataset in datasets.items()}
    stem = re.sub(r"\W+", "-", target.name)
    jobs = config.generations * config.jobs_per_generation
    with at_work(options, datasets, settings, f"search-{stem}", jobs, stem) as (folder, executor, progress):
        return searched(config, classes, folder, executor, progress).winner.method


def search_of(target: paper.Target, scale: Effort, datasets: Mapping[str, Dataset]) -> SearchConfig:
    """Return the search for it on the data sets that are there: in the paper's family, which has no log term."""
    return SearchConfig(
        tasks=pin((task for task in target.tasks if task.dataset.name in datasets), datasets),
        space=Space("canonical", order=target.order),
        population=scale.population,
        generations=scale.generations,
        finalists_seeds=scale.seeds,
    )


def run_one(planned: paper.Experiment, scale: Effort, options: BenchOptions, failures: Failures) -> None:
    """Run one experiment of a table or figure on the data sets that are there: print its table, draw its pictures."""
    names = (task.dataset.name for task in planned.tasks)
    datasets, missing = load_datasets(names, options.data_dir, options.download)
    experiment = planned.pinned(datasets)
    present = [task for task in experiment.tasks if task.dataset.name in datasets]
    check_tasks(present, datasets, allow_hopeless=True)
    name, jobs = experiment.name, [job.key for job in experiment.jobs(missing)]
    effort = {key: value for key, value in asdict(scale).items() if key != "precision"}  # which the jobs' keys hold
    settings = {"command": "bench", "preset": name, "scale": effort, "jobs": jobs}
    chance = chance_levels(experiment.tasks, datasets)
    with at_work(options, datasets, settings, name, len(jobs), name) as (folder, executor, progress):
        table, results = paper.run_experiment(
            experiment, folder.store, executor, BestSoFar(progress), missing, failures, chance
        )
        progress.stop()
        from autorobustloss.report.bench import draw_experiment, write_experiment_table

        write_experiment_table(folder, experiment, table, results)

        def draw() -> Path:
            features = None
            if experiment.picture == "features" and datasets:
                (dataset,) = datasets.values()
                labels = {method: name for name, method in experiment.rows.items()}
                shown = {labels[e.method]: e.job for e in experiment.entries if e.seed == 0}
                features = penultimate(shown, dataset)
            return draw_experiment(folder, experiment, table, results, features)

        with then_drawn(draw, "with pictures", options.json):
            if options.json:
                print_json(table)
            else:
                print(render(table, options.format, out_width()), flush=True)
        if not options.json:
            print()


def read_scale(text: str) -> Effort:
    """Return the effort that `tiny`, `small`, `full` or `train=…,epochs=…` stands for.

    >>> read_scale("train=500,epochs=3").epochs
    3
    """
    if text in EFFORTS:
        return EFFORTS[text]
    values: dict[str, Any] = {}
    for part in split_list(text):
        key, _, value = part.partition("=")
        try:
            values[SCALE_KEYS[key]] = float(value) if key == "width" else int(value)
        except (KeyError, ValueError):
            names, keys = ", ".join(EFFORTS), ", ".join(SCALE_KEYS)
            raise ConfigError(f"got --scale {text!r}, expected {names}, or KEY=NUMBER,… with keys {keys}") from None
    return Effort(**values)
