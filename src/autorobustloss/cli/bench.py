"""`arl bench`: which method is best for these data, networks and noises?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autorobustloss.benchmark.bench import SWEEP, VIEWS, BenchConfig, load_datasets, run_bench
from autorobustloss.benchmark.features import penultimate
from autorobustloss.benchmark.paper import (
    EXPERIMENTS,
    SMALL,
    Experiment,
    Scale,
    experiments,
    run_experiment,
    zoo_losses,
)
from autorobustloss.benchmark.render import RENDERERS, render
from autorobustloss.cli import options as flags
from autorobustloss.cli.progress import JobProgress
from autorobustloss.data import Dataset
from autorobustloss.errors import ConfigError
from autorobustloss.jobs.run_folder import RunFolder
from autorobustloss.methods.spec import MethodSpec

DESCRIPTION = """\
Compare methods over data sets, networks, noises and seeds: mean accuracy with its standard error, average ranks,
Friedman and Nemenyi tests, a critical-difference diagram, what each method costs. Or repeat a table or figure of the
paper at a scale that the machine bears: arl bench table1 --scale small.

Gradients at the start of training differ by up to 1000 times between losses, and a small gradient is early stopping in
disguise. --match-scale adds a table in which every loss starts with cross-entropy's gradient; --sweep 0.1x,0.3x,1x,3x
adds one in which each method has the learning rate it likes best, chosen on noisy validation data. Trust a loss that
wins in all three.

Killed or interrupted, the same command goes on; one more seed or method trains only what is new (give --store the
store.sqlite of the earlier run).
"""

EPILOG = """\
examples:
  arl bench --methods ce,gce,sce,nce+mae --noise clean,sym:0.4,sym:0.8
  arl bench --dataset own --data-dir DIR --models mlp2      your own DIR/own.npz, images or table
  arl bench --methods ce,mae,runs/NAME/loss.json --match-scale --sweep 0.1x,0.3x,1x,3x
  arl bench table1 --data-dir DIR --scale train=2000,epochs=10,seeds=1,width=0.25
  arl bench fig4 --data-dir DIR --scale small --format markdown
"""

METHODS = "ce,label_smoothing,mae,gce,sce,nce+mae,nfl+mae,bootstrap,bi_tempered,fw"


def add_parser(commands: Any) -> None:
    """Add `bench` to the commands of `arl`."""
    parser = commands.add_parser(
        "bench",
        help="compare methods",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    parser.add_argument("--sweep", metavar="FACTORS", help="also with the learning rate times the best of these, "
                        f"chosen on noisy validation data, such as {','.join(f'{s:g}x' for s in SWEEP)}")  # fmt: skip
    parser.add_argument("--scale", default="small", metavar="SCALE", help="effort of the paper's tables: small, full, "
                        "or train=N,test=N,epochs=N,seeds=N,width=X,trials=N (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--format", choices=sorted(RENDERERS), default="text", help="of the tables printed (default: text)"
    )
    flags.add_data_flags(parser)
    flags.add_model_flag(parser, "mlp2")
    flags.add_noise_flag(parser, "clean,sym:0.4,sym:0.8,pair:0.4")
    flags.add_protocol_flags(parser)
    flags.add_run_flags(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run a benchmark, or an experiment of the paper, from the flags."""
    if options.preset is not None:
        return run_paper(options)
    datasets = flags.read_datasets(options)
    named = read_named_methods(options.methods or ",".join([METHODS, *zoo_losses()]))
    views = ("published", *(("matched",) if options.match_scale else ()), *(("tuned",) if options.sweep else ()))
    config = BenchConfig(
        methods=tuple(named.values()),
        tasks=flags.read_tasks(options, datasets),
        seeds=options.seeds,
        views=views,
        learning_rates=read_factors(options.sweep) if options.sweep else SWEEP,
    )
    settings = {"command": "bench", **config.to_dict()}
    names = {method: name for name, method in named.items()}
    jobs = len(config.jobs())
    with (
        flags.make_executor(options, datasets, jobs) as executor,
        RunFolder(options.out or flags.default_folder(settings, "bench"), settings, options.store) as folder,
        JobProgress(jobs, "bench", options.quiet) as progress,
    ):
        outcome = run_bench(config, folder.store, executor, progress.on_result, names=names)
        from autorobustloss.report.bench import write_bench

        page = write_bench(folder, outcome)
    if options.json:
        print(json.dumps({view: table.to_dict() for view, table in outcome.tables.items()}))
        return 0
    for view, table in outcome.tables.items():
        print(
            f"{VIEWS[view]}\n\n{render(table, options.format)}\n" if len(views) > 1 else render(table, options.format)
        )
    print(f"\nwith pictures: {page}")
    return 0


def run_paper(options: argparse.Namespace) -> int:
    """Run a table or figure of the paper."""
    scale = read_scale(options.scale)
    learned = read_named_methods(options.methods) if options.methods else None
    for experiment in experiments(options.preset, scale, learned):
        datasets, missing = load_datasets(experiment.datasets, options.data_dir, options.download)
        pinned = experiment.pinned(datasets)
        _run_experiment(pinned, scale, datasets, missing, options)
    return 0


def _run_experiment(
    experiment: Experiment,
    scale: Scale,
    datasets: Mapping[str, Dataset],
    missing: Mapping[str, str],
    options: argparse.Namespace,
) -> None:
    from autorobustloss.report.bench import write_experiment

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
        JobProgress(len(settings["jobs"]), experiment.name, options.quiet) as progress,
    ):
        table, results = run_experiment(experiment, folder.store, executor, progress.on_result, missing)
        features = None
        if experiment.picture == "features" and datasets:
            (dataset,) = datasets.values()
            labels = {method: name for name, method in experiment.rows.items()}
            shown = {labels[e.method]: e.job for e in experiment.entries if e.seed == 0}
            features = penultimate(shown, dataset)
        page = write_experiment(folder, experiment, table, results, features)
    print(json.dumps(table.to_dict()) if options.json else render(table, options.format))
    if not options.json:
        print(f"\nwith pictures: {page}\n")


def read_named_methods(text: str) -> dict[str, MethodSpec]:
    """Return methods by the name a table gives them: their label, or the folder of a loss card."""
    named: dict[str, MethodSpec] = {}
    for part in flags.split_list(text):
        method = flags.read_method(part)
        name = Path(part).parent.name or Path(part).stem if part.endswith(".json") else method.label
        if name in named:
            raise ConfigError(f"got {name!r} twice among the methods")
        named[name] = method
    return named


def read_factors(text: str) -> tuple[float, ...]:
    """Return the factors of a learning-rate sweep.

    >>> read_factors("0.1x,1x,3")
    (0.1, 1.0, 3.0)
    """
    try:
        return tuple(float(part.removesuffix("x")) for part in flags.split_list(text))
    except ValueError:
        raise ConfigError(f"got --sweep {text!r}, expected factors such as 0.1x,0.3x,1x,3x") from None


def read_scale(text: str) -> Scale:
    """Return the effort that `small`, `full` or `train=…,epochs=…` stands for.

    >>> read_scale("train=500,epochs=3").epochs
    3
    """
    if text in ("small", "full"):
        return SMALL if text == "small" else Scale()
    known = {"train": "train_size", "test": "test_size", "epochs": "epochs", "seeds": "seeds", "width": "width",
             "trials": "trials"}  # fmt: skip
    values: dict[str, Any] = {}
    for part in flags.split_list(text):
        key, _, value = part.partition("=")
        try:
            values[known[key]] = float(value) if key == "width" else int(value)
        except (KeyError, ValueError):
            raise ConfigError(
                f"got --scale {text!r}, expected small, full, or KEY=NUMBER,… with keys {', '.join(known)}"
            ) from None
    return Scale(**values)
