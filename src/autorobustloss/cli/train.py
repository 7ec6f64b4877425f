"""`arl train`: try losses on a data set."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

from autorobustloss.benchmark.grid import at_authors_values
from autorobustloss.cli import options as flags
from autorobustloss.cli.progress import JobProgress
from autorobustloss.escape import visible
from autorobustloss.runs.batch import run_jobs
from autorobustloss.runs.job import Job
from autorobustloss.runs.result import Result
from autorobustloss.runs.store import Store

DESCRIPTION = """\
Train one network with each loss on a data set with label noise, and print its test accuracy: at the last epoch,
at its best epoch (which nobody without clean test labels could pick), and at the epoch where accuracy on the noisy
validation labels is highest (which anybody could). "fits noise" is the accuracy on the noisy training labels: near
100 % the network has memorised them.

Losses have their authors' values for the number of classes, unless hyper-parameters are given. On data of your own the
labels are taken as they come; noise is added only where --noise asks for it.
"""

EPILOG = """\
examples:
  arl train --loss ce,gce,mae --noise sym:0.4
  arl train --dataset mnist --data-dir DIR --train-size 10000 --model mlp3 --noise sym:0.8 --loss 'gce(q=0.5)'
  arl train --loss runs/NAME/loss.json,ce --curves
"""


def add_parser(commands: Any) -> None:
    """Add `train` to the commands of `arl`."""
    parser = commands.add_parser(
        "train",
        help="train one network with a loss",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--loss",
        default="ce",
        metavar="LOSSES",
        help="losses or methods, joined by commas: names, name(key=value, …), or loss cards (default: %(default)s)",
    )
    flags.add_data_flags(parser)
    flags.add_model_flag(parser, "mlp2")
    flags.add_noise_flag(parser, "sym:0.4")
    flags.add_only_flag(parser)
    flags.add_protocol_flags(parser)
    parser.add_argument("--curves", action="store_true", help="print the test accuracy of every evaluated epoch")
    flags.add_run_flags(parser, out=False)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train from the flags."""
    datasets = flags.read_datasets(options)
    methods = flags.read_named_methods(options.loss, "--loss")
    seed, classes = options.seed, flags.class_counts(datasets)
    tasks = flags.read_tasks(options, datasets)
    flags.check_methods(methods.values(), tasks, datasets)
    places = [(task, name, at_authors_values(m, task, classes)) for task in tasks for name, m in methods.items()]
    flags.check_losses([(task, method) for task, _, method in places], classes)
    jobs = [Job(task, method, split_seed=0, noise_seed=seed, seed=seed) for task, _, method in places]
    names = [name if method == methods[name] else method.label for _, name, method in places]
    flags.tell_labels(flags.label_notes(tasks, datasets), options)
    with (
        Store(Path(options.store) if options.store else ":memory:") as store,
        flags.make_executor(options, datasets, len(jobs)) as executor,
        JobProgress(len(jobs), "train", options.quiet) as progress,
    ):
        results = run_jobs(jobs, store, executor, progress.on_result)
    if options.json:
        print(json.dumps([{"job": j.to_dict(), "result": r.to_dict()} for j, r in zip(jobs, results)]))
    else:
        print_results(jobs, results, names, options.curves)
    return 0


def print_results(jobs: list[Job], results: list[Result], labels: list[str], curves: bool) -> None:
    """Print a table of accuracies, in per cent; labels: what to call each job's method."""
    tasks = [visible(job.task.label) for job in jobs]
    labels = [visible(label) for label in labels]
    left, wide = max(map(len, ["task", *tasks])), max(map(len, ["loss", *labels]))
    print(f"{'task':<{left}}  {'loss':<{wide}}   last   best  by noisy validation  fits noise   noise")
    for result, task, label in zip(results, tasks, labels):
        history = result.history
        by_noisy = history.best("test", by="valid_noisy") if history.valid_noisy else math.nan
        fits = history.train_accuracy[-1] if history.train_accuracy else math.nan
        noise = "unknown" if result.noise_rate is None else f"{100 * result.noise_rate:5.1f} %"
        print(
            f"{task:<{left}}  {label:<{wide}}  {_percent(history.last('test')):>5}  {_percent(history.best('test')):>5}"
            f"  {_percent(by_noisy):>19}  {_percent(fits):>10}  {noise}"
            f"{'  ' + history.stopped if history.stopped else ''}"
        )
        if curves:
            print("    " + " ".join(f"{e}:{100 * a:.1f}" for e, a in zip(history.epochs, history.test)))


def _percent(accuracy: float) -> str:
    """Return an accuracy in per cent, "–" where there is none."""
    return "–" if math.isnan(accuracy) else f"{100 * accuracy:.1f}"
