"""`arl train`: try losses on a data set."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from autorobustloss.benchmark.grid import at_authors_values
from autorobustloss.cli.methods import check_losses, check_methods, read_named_methods
from autorobustloss.cli.options.train import TrainOptions
from autorobustloss.cli.progress import JobProgress
from autorobustloss.cli.running import make_executor
from autorobustloss.cli.tasks import class_counts, read_datasets, read_tasks, tell_labels
from autorobustloss.escape import visible
from autorobustloss.runs import Job, Result, Store, run_jobs


def run(options: TrainOptions) -> int:
    """Train from the options."""
    datasets = read_datasets(options)
    classes = class_counts(datasets)
    methods = read_named_methods(options.loss, "--loss")
    tasks = read_tasks(options, datasets, "train")
    check_methods(methods.values(), tasks, datasets)
    places = [(task, name, at_authors_values(m, task, classes)) for task in tasks for name, m in methods.items()]
    check_losses([(task, method) for task, _, method in places], classes)
    seed = options.seed
    jobs = [Job(task, method, split_seed=0, noise_seed=seed, seed=seed) for task, _, method in places]
    names = [name if method == methods[name] else method.label for _, name, method in places]
    tell_labels(options, tasks, datasets)
    with (
        Store(Path(options.store) if options.store else ":memory:") as store,
        make_executor(options, datasets, len(jobs)) as executor,
        JobProgress(len(jobs), "train", options.quiet) as progress,
    ):
        results = run_jobs(jobs, store, executor, progress.on_result)
    if options.json:
        print(json.dumps([{"job": j.to_dict(), "result": r.to_dict()} for j, r in zip(jobs, results)]))
    else:
        print_results(jobs, results, names, options.curves)
    return 0


def print_results(jobs: Sequence[Job], results: Sequence[Result], labels: Sequence[str], curves: bool) -> None:
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
