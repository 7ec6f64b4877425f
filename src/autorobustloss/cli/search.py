"""`arl search`: look for a loss, then hold it against the known ones on data the search never saw."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from textwrap import indent
from typing import Any, cast

from autorobustloss.benchmark import BenchConfig, Table, run_bench
from autorobustloss.benchmark.chance import chance_levels
from autorobustloss.benchmark.curves import to_json as curves_json
from autorobustloss.benchmark.render import to_json, to_text
from autorobustloss.cli.json_output import print_json
from autorobustloss.cli.methods import check_methods, read_named_methods
from autorobustloss.cli.options.search import SearchOptions
from autorobustloss.cli.outcomes import Found
from autorobustloss.cli.running import at_work, searched, then_drawn
from autorobustloss.cli.tasks import read_tasks, tell_labels
from autorobustloss.cli.terminal import out_width, warn
from autorobustloss.columns import wrapped
from autorobustloss.data import known_labels
from autorobustloss.errors import ConfigError
from autorobustloss.escape import visible
from autorobustloss.losses import LearnableLoss
from autorobustloss.methods import MethodSpec
from autorobustloss.methods.criterion import bare_loss
from autorobustloss.registry import METHODS
from autorobustloss.runs.run_folder import CURVES, RunFolder
from autorobustloss.runs.tasks import TaskSet, check_labels, label_sets
from autorobustloss.search import GatedSpace, SearchConfig, SearchOutcome, SearchSpace
from autorobustloss.search.config import FITNESS_ON, create_space
from autorobustloss.search.settings import SearchSettings

FINALISTS = {"mean": "the distribution's mean", "best": "the best candidate"}


def run(options: SearchOptions) -> int:
    """Run a search from its options."""
    known = read_tasks(options, "search")
    config = read_config(options, known)
    competitors = read_named_methods(options.compare, "--compare") if options.compare_seeds else {}
    check_methods(competitors.values(), known)
    labels = tell_labels(options, known)
    if options.fitness_on == "noisy":
        warn("candidates are scored on noisy validation labels (--fitness-on noisy)")
    compare = {"compare": [m.label for m in competitors.values()], "compare_seeds": options.compare_seeds}
    settings = {"command": "search", **config.to_dict(), **compare}
    ending = (len(competitors) + 1) * len(config.tasks) * options.compare_seeds
    total = config.generations * config.jobs_per_generation + ending
    with at_work(options, known.datasets, settings, "search", total) as (folder, executor, progress):
        outcome = searched(config, known.classes, folder, executor, progress)
        methods = {"learned": outcome.winner.method, **competitors}
        table = None
        if competitors:
            progress.describe("comparison on the test split")
            bench = BenchConfig(tuple(methods.values()), config.tasks, options.compare_seeds, classes=known.classes)
            names, chance = {m: name for name, m in methods.items()}, chance_levels(config.tasks, known.datasets)
            compared = run_bench(
                bench, folder.store, executor, progress.on_result, names=names, notes=labels, chance=chance
            )
            title = "Test accuracy on the split that the search never saw"
            table = replace(compared.tables["published"], title=title)
            folder.write("table.txt", to_text(table) + "\n")
            folder.write("table.json", to_json(table) + "\n")
            folder.write(CURVES, curves_json(compared.curves))
        progress.stop()
        with then_drawn(lambda: write_picture(folder, outcome, methods), "picture", options.json):
            print_outcome(options, folder, outcome, table, labels)
    return 0


def read_config(options: SearchOptions, known: TaskSet) -> SearchConfig:
    """Return the frozen configuration that the options mean."""
    rivals = tuple(read_named_methods(options.rivals, "--rivals").values()) if options.rivals else ()
    check_methods(rivals, known)
    split, remedy = FITNESS_ON[options.fitness_on], _remedy(options, known)
    check_labels(known.tasks, known.datasets, split, "to score candidates on", remedy)
    space = read_space(options)
    return SearchConfig(
        tasks=known.tasks,
        space=space,
        start=options.start or space.default_start,
        rivals=rivals,
        rival_values=options.rival_values if rivals else SearchConfig.rival_values,
        seed=options.seed,
        **{setting.name: getattr(options, setting.name) for setting in fields(SearchSettings)},
    )


def read_space(options: SearchOptions) -> SearchSpace:
    """Return the space that the options mean, at its own defaults where an option is not given."""
    asked: dict[str, Any] = {"order": options.order, "scale": options.scale, "log_unit": options.log_unit}
    given = {name: value for name, value in asked.items() if value is not None}
    for name in given.keys() - {"order"} if options.space == GatedSpace.name else ():
        flag = "--" + name.replace("_", "-")
        raise ConfigError(f"got {flag} {given[name]} with --space gated, which has none; leave {flag} out")
    return create_space(options.space, **given | ({"scale": None} if options.scale == "none" else {}))


def _remedy(options: SearchOptions, known: TaskSet) -> str:
    """Return what to do where the labels that should score candidates are not known."""
    if options.fitness_on == "noisy":
        return "run the same command with --fitness-on clean"
    advice = "save some as x_valid and y_valid, or say with --noise clean that all are right"
    if any("valid_noisy" not in known_labels(known.datasets[name], noise) for name, noise in label_sets(known.tasks)):
        return advice
    command = ["arl", "search", "--dataset", options.dataset, "--fitness-on", "noisy"]
    # without these that might be refused for another reason
    for flag, value in (("--data-dir", options.data_dir), ("--models", options.models), ("--noise", options.noise)):
        command += [] if value is None else [flag, value]
    return (
        "add --fitness-on noisy to the same command to score on the labels there are "
        f"({shlex.join(command)}), or {advice}"
    )


def write_picture(folder: RunFolder, outcome: SearchOutcome, methods: Mapping[str, MethodSpec]) -> Path:
    """Draw the outcome into the run folder: those of the methods that are a loss, and the search."""
    from autorobustloss.report.loss_pictures import search_picture
    from autorobustloss.report.style import write_figure

    losses = {name: bare_loss(m) for name, m in methods.items() if m.name not in METHODS}
    return write_figure(folder, "picture", search_picture(losses, outcome.generations, learned="learned"))


def print_outcome(
    options: SearchOptions, folder: RunFolder, outcome: SearchOutcome, table: Table | None, labels: Sequence[str]
) -> None:
    """Print what the search found on standard output; labels: what they are, in sentences."""
    winner = outcome.winner
    if options.json:
        found = Found(
            folder=str(folder.path),
            loss=winner.method.options,
            origin=winner.origin,
            fitness=winner.accuracy,
            fitness_on=options.fitness_on,
            labels=list(labels),
            finalists={f.origin: f.accuracy for f in outcome.finalists},
            generations=outcome.generations,
            table=table,
        )
        print_json(found)
        return
    loss = cast(LearnableLoss, bare_loss(winner.method))
    formula = wrapped(indent(loss.formula(), "  "), out_width())
    print(f"\nlearned loss ({visible(str(folder.path / 'loss.json'))}):\n{formula}\n")
    for finalist in outcome.finalists:
        scored = "rejected or diverged" if finalist.accuracy is None else f"{100 * finalist.accuracy:.1f} %"
        chosen = "  <- the learned loss" if finalist is winner else ""
        on = f"{options.fitness_on} validation accuracy on fresh noise"
        print(wrapped(f"  {FINALISTS[finalist.origin]}: {scored} {on}{chosen}", out_width()))
    if table is not None:
        print("\n" + to_text(table, out_width()), flush=True)
