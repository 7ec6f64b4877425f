"""`arl train`: try losses on a data set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from autorobustloss.benchmark.grid import at_authors_values
from autorobustloss.cli.json_output import print_json
from autorobustloss.cli.methods import check_losses, check_methods, read_named_methods
from autorobustloss.cli.options.train import TrainOptions
from autorobustloss.cli.outcomes import Trained
from autorobustloss.cli.progress import BestSoFar, JobProgress
from autorobustloss.cli.running import make_executor
from autorobustloss.cli.tasks import read_tasks, tell_labels
from autorobustloss.cli.terminal import out_width
from autorobustloss.columns import table, wrapped
from autorobustloss.escape import visible
from autorobustloss.runs import Job, Result, Store, run_jobs


def run(options: TrainOptions) -> int:
    """Train from the options."""
    known = read_tasks(options, "train")
    methods = read_named_methods(options.loss, "--loss")
    check_methods(methods.values(), known)
    jobs, names = list[Job](), list[str]()
    for task, (name, method) in product(known.tasks, methods.items()):
        trained = at_authors_values(method, task, known.classes)
        jobs.append(Job(task, trained, split_seed=0, noise_seed=options.seed, seed=options.seed))
        names.append(name if trained == method else trained.label)
    check_losses(jobs, known.classes)
    tell_labels(options, known)
    with (
        Store(Path(options.store) if options.store else ":memory:") as store,
        make_executor(options, known.datasets, len(jobs)) as executor,
        JobProgress(len(jobs), "train", options.quiet, executor) as progress,
    ):
        results = run_jobs(jobs, store, executor, BestSoFar(progress))
    if options.json:
        print_json([Trained(job, result) for job, result in zip(jobs, results)])
    else:
        print_results(jobs, results, names, options.curves)
    return 0


HEADS = (
    ("", "", "", "", "by noisy", "fits", "", ""),
    ("task", "loss", "last", "best", "validation", "noise", "noise", ""),
)


def print_results(jobs: Sequence[Job], results: Sequence[Result], labels: Sequence[str], curves: bool) -> None:
    """Print a table of accuracies, in per cent; labels: what to call each job's method."""
    width, rows = out_width(), []
    for job, result, label in zip(jobs, results, labels):
        history = result.history
        by_noisy = history.best("test", by="valid_noisy") if history.valid_noisy else math.nan
        fits = history.train_accuracy[-1] if history.train_accuracy else math.nan
        noise = "unknown" if result.noise_rate is None else f"{100 * result.noise_rate:.1f} %"
        shares = (history.last("test"), history.best("test"), by_noisy, fits)
        numbers = ["–" if math.isnan(share) else f"{100 * share:.1f}" for share in shares]
        rows.append([visible(job.task.label), visible(label), *numbers, noise, history.stopped])
    print(table(HEADS, rows, width, left=2))
    for (task, label, *_), result in zip(rows, results) if curves else ():
        curve = " ".join(f"{e}:{100 * a:.1f}" for e, a in zip(result.history.epochs, result.history.test))
        print("\n" + wrapped(f"{task} {label}, test accuracy by epoch:\n  {curve}", width, indent=""))
