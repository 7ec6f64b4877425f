"""`arl bench`: which method is best for these data, networks and noises?"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from autorobustloss.benchmark.bench import load_datasets, pin, run_bench
from autorobustloss.benchmark.chance import chance_levels
from autorobustloss.benchmark.grid import SWEEP, BenchConfig
from autorobustloss.benchmark.render import RENDERERS, distinct_tables, render
from autorobustloss.benchmark.table import Table
from autorobustloss.cli import options as flags
from autorobustloss.cli.faults import warned_only, without_traceback
from autorobustloss.cli.progress import JobProgress, SearchProgress
from autorobustloss.cli.streams import stop_if_interrupted, warn
from autorobustloss.data import Dataset
from autorobustloss.errors import ConfigError, unknown_name
from autorobustloss.escape import visible
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.paper.effort import EFFORTS, Effort
from autorobustloss.paper.experiments import (
    EXPERIMENTS,
    Experiment,
    Target,
    experiments,
    run_experiment,
    targets,
    zoo_losses,
)
from autorobustloss.paper.features import penultimate
from autorobustloss.runs.run_folder import RunFolder
from autorobustloss.search.card import card_name, make_card
from autorobustloss.search.config import SearchConfig
from autorobustloss.search.search import run_search
from autorobustloss.search.space import Space

DESCRIPTION = """\
Compare methods over data sets, networks, noises and seeds: mean accuracy with its standard error, average ranks,
Friedman, Nemenyi and Wilcoxon-Holm tests, a critical-difference diagram, what each method costs. Or repeat a table or
figure of the paper at a scale that the machine bears: arl bench table1 --scale small. Those that need losses learned
for them (table5, fig3) search them first, as arl search would.

Gradients at the start of training differ by orders of magnitude between losses, and a small gradient is early stopping
in disguise. --match-scale adds a table in which every loss starts with cross-entropy's gradient; --lr 0.1x,0.3x,1x,3x
adds one in which each method has the learning rate it likes best, chosen on noisy validation data. Trust a loss that
wins in all three.

Methods named without hyper-parameters have their authors' values for the number of classes of each data set, which are
printed below the table; ANL and JAL train with their L1 penalty in place of weight decay. On data of your own the
labels are taken as they come; noise is added only where --noise asks for it.

Killed or interrupted, the same command goes on; one more seed or method trains only what is new (give --store the
store.sqlite of the earlier run). A training that fails leaves its cell empty, with the reason below the table; the
others are finished, the exit code is 1, and the same command tries it again.
"""

EPILOG = """\
examples:
  arl bench --methods ce,gce,sce,nce+mae --noise clean,sym:0.4,sym:0.8
  arl bench --dataset own --data-dir DIR --models mlp2      your own DIR/own.npz, images or table
  arl bench --methods ce,mae,runs/NAME/loss.json --match-scale --lr 0.1x,0.3x,1x,3x
      as published, at equal scale, and at each method's own learning rate: three tables
  arl bench table1 --data-dir DIR --scale train=2000,epochs=10,seeds=1,width=0.25
  arl bench fig4 --data-dir DIR --scale small --format markdown
"""

SCALE_KEYS = {field.name.removesuffix("_size"): field.name for field in fields(Effort)}
METHODS = "ce,label_smoothing,mae,gce,sce,nce+mae,nfl+mae,bootstrap,bi_tempered,fw"


GRID_FLAGS = (
    *("seeds", "match_scale", "dataset", "train_size", "valid_size", "test_size", "models", "noise", "allow_hopeless"),
    *("only", "protocol", "epochs", "lr", "batch_size", "weight_decay", "l1", "schedule", "augment", "patience"),
    "precision",
)
"""What the tables and figures of the paper leave no choice of."""


def add_parser(commands: Any) -> None:
    """Add `bench` to the commands of `arl`."""
    parser = commands.add_parser(
        "bench",
        help="compare methods",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,  # --seed, which other commands have, is not short for --seeds
    )
    parser.add_argument(
        "preset", nargs="?", metavar="TABLE", help=f"a table or figure of the paper: {', '.join(sorted(EXPERIMENTS))}"
    )
    parser.add_argument(
        "--methods", metavar="NAMES", help="methods, joined by commas: losses, procedures (fw, jocor, tuned-ce, …), "
        f"learned losses by name or card (default: {METHODS}, and learned losses that ship)"
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of each cell (default: %(default)s)")
    parser.add_argument("--match-scale", action="store_true", help="also with cross-entropy's gradient at the start")
    parser.add_argument("--scale", default="small", metavar="SCALE", help="effort of the paper's tables: tiny, small, "
                        f"full, or {','.join(f'{key}=N' for key in SCALE_KEYS)} (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--format", choices=sorted(RENDERERS), default="text", help="of the tables printed (default: text)"
    )
    flags.add_data_flags(parser)
    flags.add_model_flag(parser, "mlp2")
    flags.add_noise_flag(parser, "clean,sym:0.4,sym:0.8,pair:0.4")
    flags.add_only_flag(parser)
    flags.add_protocol_flags(parser, sweep=True)
    flags.add_run_flags(parser, seed=False)
    defaults = {name: parser.get_default(name) for name in GRID_FLAGS}
    parser.set_defaults(run=run, grid_defaults=defaults)


def run(options: argparse.Namespace) -> int:
    """Run a benchmark, or an experiment of the paper, from the flags."""
    if options.preset is not None:
        return run_paper(options)
    options.lr, factors = (None, ()) if options.lr is None else flags.split_learning_rates(options.lr)
    datasets = flags.read_datasets(options)
    named = flags.read_named_methods(",".join([METHODS, *zoo_losses()]) if options.methods is None else options.methods)
    tasks, classes = flags.read_tasks(options, datasets), flags.class_counts(datasets)
    flags.check_methods(named.values(), tasks, datasets)
    if factors:
        flags.check_labels(
            tasks, datasets, "valid_noisy", "to choose learning rates on", "leave the factors of --lr out"
        )
    labels = flags.label_notes(tasks, datasets)
    views = ("published", *(("matched",) if options.match_scale else ()), *(("tuned",) if factors else ()))
    config = BenchConfig(
        methods=tuple(named.values()),
        tasks=tasks,
        seeds=options.seeds,
        views=views,
        learning_rates=factors or SWEEP,
        classes=classes,
    )
    flags.tell_labels(labels, options)
    settings = {"command": "bench", **config.to_dict()}
    names = {method: name for name, method in named.items()}
    failures = Failures()
    jobs = len(config.jobs())
    with (
        flags.make_executor(options, datasets, jobs) as executor,
        RunFolder(options.out or flags.default_folder(settings, "bench"), settings, options.store) as folder,
    ):
        with JobProgress(jobs, "bench", options.quiet) as progress:
            chance = chance_levels(config.tasks, datasets)
            outcome = run_bench(
                *(config, folder.store, executor, progress.on_result),
                names=names,
                failures=failures,
                notes=labels,
                chance=chance,
            )
        from autorobustloss.report.bench import draw_bench, write_tables

        write_tables(folder, outcome)
        try:
            print_tables(outcome.tables, options)
        finally:  # whoever reads the output may have gone; pictures are for later
            page = warned_only("no pictures", lambda: draw_bench(folder, outcome))
    if page and not options.json:
        print(f"\nwith pictures: {visible(str(page))}")
    return tell_failures(failures)


def print_tables(tables: Mapping[str, Table], options: argparse.Namespace) -> None:
    """Print the tables of a benchmark, by view, as the flags ask for."""
    if options.json:
        print(json.dumps({view: table.to_dict() for view, table in tables.items()}), flush=True)
    elif options.format in ("csv", "json"):
        print("\n\n".join(render(table, options.format) for table in tables.values()), flush=True)
    else:
        print("\n\n".join(render(table, options.format) for table in distinct_tables(tables.values())), flush=True)


class Failures(dict[str, str]):
    """Jobs that failed, by key. One that fails after Ctrl-C failed of it, whatever a library made of that."""

    def __setitem__(self, key: str, message: str) -> None:
        stop_if_interrupted()
        super().__setitem__(key, message)


def run_paper(options: argparse.Namespace) -> int:
    """Run a table or figure of the paper."""
    if options.preset not in EXPERIMENTS:
        raise unknown_name("table or figure of the paper", options.preset, EXPERIMENTS)
    for name, default in options.grid_defaults.items():
        if getattr(options, name) != default:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"got {flag} with {options.preset}, whose grid is the paper's; leave it out, see --scale")
    scale = read_scale(options.scale)
    learned = zoo_losses() if options.methods is None else flags.read_named_methods(options.methods)
    learned |= {
        target.name: method for target in targets(options.preset, scale) if (method := learn(target, scale, options))
    }
    failures = Failures()
    for experiment in experiments(options.preset, scale, learned):
        datasets, missing = load_datasets(experiment.datasets, options.data_dir, options.download)
        pinned = experiment.pinned(datasets)
        _run_experiment(pinned, scale, datasets, missing, options, failures)
    return tell_failures(failures)


def learn(target: Target, scale: Effort, options: argparse.Namespace) -> MethodSpec | None:
    """Search the loss that an experiment wants, as `arl search` does; None where its data sets are all absent."""
    datasets, _ = load_datasets((task.dataset.name for task in target.tasks), options.data_dir, options.download)
    if not datasets:
        return None
    config = SearchConfig(
        tasks=pin((task for task in target.tasks if task.dataset.name in datasets), datasets),
        space=Space("canonical", order=target.order),  # the paper's family, without the log term
        population=scale.population,
        generations=scale.generations,
        finalists_seeds=scale.seeds,
    )
    flags.check_tasks(config.tasks, datasets, allow_hopeless=True)
    settings = {"command": "search", **config.to_dict()}
    stem = re.sub(r"\W+", "-", target.name)
    out = Path(options.out) / stem if options.out else flags.default_folder(settings, f"search-{stem}")
    with (
        flags.make_executor(options, datasets) as executor,
        RunFolder(out, settings, options.store) as folder,
        JobProgress(config.generations * config.jobs_per_generation, target.name, options.quiet) as progress,
    ):
        outcome = run_search(
            config, flags.class_counts(datasets), folder.store, executor, SearchProgress(progress, config)
        )
        folder.write("loss.json", make_card(config, outcome, name=card_name(folder.path)).to_json())
    return outcome.winner.method


def _run_experiment(
    experiment: Experiment,
    scale: Effort,
    datasets: Mapping[str, Dataset],
    missing: Mapping[str, str],
    options: argparse.Namespace,
    failures: dict[str, str],
) -> None:
    from autorobustloss.report.bench import draw_experiment, write_experiment_table

    present = [task for task in experiment.tasks if task.dataset.name in datasets]
    flags.check_tasks(present, datasets, allow_hopeless=True)
    settings = {
        "command": "bench",
        "preset": experiment.name,
        "scale": asdict(scale),
        "jobs": [job.key for job in experiment.jobs(missing)],
    }
    out = Path(options.out) / experiment.name if options.out else flags.default_folder(settings, experiment.name)
    with (
        flags.make_executor(options, datasets, len(settings["jobs"])) as executor,
        RunFolder(out, settings, options.store) as folder,
    ):
        with JobProgress(len(settings["jobs"]), experiment.name, options.quiet) as progress:
            chance = chance_levels(experiment.tasks, datasets)
            table, results = run_experiment(
                experiment, folder.store, executor, progress.on_result, missing, failures, chance
            )
        write_experiment_table(folder, experiment, table, results)

        def draw() -> Path:
            features = None
            if experiment.picture == "features" and datasets:
                (dataset,) = datasets.values()
                labels = {method: name for name, method in experiment.rows.items()}
                shown = {labels[e.method]: e.job for e in experiment.entries if e.seed == 0}
                features = penultimate(shown, dataset)
            return draw_experiment(folder, experiment, table, results, features)

        try:
            print(json.dumps(table.to_dict()) if options.json else render(table, options.format), flush=True)
        finally:
            page = warned_only("no pictures", draw)
    if page and not options.json:
        print(f"\nwith pictures: {visible(str(page))}\n")


def tell_failures(failures: Mapping[str, str]) -> int:
    """Print how many failed on standard error, and why the first did, and return the exit code."""
    if not failures:
        return 0
    first = without_traceback(next(iter(failures.values())))
    warn(f"{len(failures)} trainings failed; the same command tries them again. The first: {first}")
    return 1


def read_scale(text: str) -> Effort:
    """Return the effort that `tiny`, `small`, `full` or `train=…,epochs=…` stands for.

    >>> read_scale("train=500,epochs=3").epochs
    3
    """
    if text in EFFORTS:
        return EFFORTS[text]
    values: dict[str, Any] = {}
    for part in flags.split_list(text):
        key, _, value = part.partition("=")
        try:
            values[SCALE_KEYS[key]] = float(value) if key == "width" else int(value)
        except (KeyError, ValueError):
            raise ConfigError(
                f"got --scale {text!r}, expected {', '.join(EFFORTS)}, or KEY=NUMBER,… with keys "
                f"{', '.join(SCALE_KEYS)}"
            ) from None
    return Effort(**values)
