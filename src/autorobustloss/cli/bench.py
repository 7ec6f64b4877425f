"""`arl bench`: which method is best for these data, networks and noises?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autorobustloss.benchmark import BenchConfig, Table, run_bench
from autorobustloss.benchmark.advice import conclusion, line_of_code
from autorobustloss.benchmark.answer import Answer
from autorobustloss.benchmark.chance import chance_levels
from autorobustloss.benchmark.grid import SWEEP
from autorobustloss.benchmark.render import distinct_tables, render
from autorobustloss.cli.answer import with_noise
from autorobustloss.cli.json_output import print_json
from autorobustloss.cli.lists import split_learning_rates
from autorobustloss.cli.methods import check_methods, read_named_methods, unfit
from autorobustloss.cli.options.bench import BenchOptions
from autorobustloss.cli.progress import BestSoFar
from autorobustloss.cli.running import at_work, then_drawn
from autorobustloss.cli.tasks import read_tasks, tell_labels
from autorobustloss.cli.terminal import out_width, stop_if_interrupted, warn, without_traceback
from autorobustloss.columns import wrapped
from autorobustloss.escape import message, visible
from autorobustloss.methods import MethodSpec
from autorobustloss.paper.experiments import zoo_losses
from autorobustloss.runs.tasks import check_labels

METHODS = "ce,label_smoothing,mae,gce,sce,nce+mae,nfl+mae,bootstrap,bi_tempered,fw,gated(progress=3)"
"""What is compared beside the losses that ship: known methods, and `arl` with a gate that opens later, for which
docs/evidence/second-verdict.md has the reason."""


def run(options: BenchOptions) -> int:
    """Run a benchmark from its options."""
    factors = () if options.lr is None else split_learning_rates(options.lr, sweep=True)[1]
    known = read_tasks(options, "bench")
    named = read_named_methods(options.methods, default=",".join([METHODS, *zoo_losses()]))
    if options.methods is None:
        named = those_that_fit(named, known.classes)
    check_methods(named.values(), known)
    if factors:
        remedy = "leave the factors of --lr out"
        check_labels(known.tasks, known.datasets, "valid_noisy", "to choose learning rates on", remedy)
    config = BenchConfig(
        methods=tuple(named.values()),
        tasks=known.tasks,
        seeds=options.seeds,
        views=("published", *(("matched",) if options.match_scale else ()), *(("tuned",) if factors else ())),
        learning_rates=factors or SWEEP,
        classes=known.classes,
    )
    labels = tell_labels(options, known)
    settings = {"command": "bench", **config.to_dict()}
    failures = Failures()
    names, chance = {method: name for name, method in named.items()}, chance_levels(config.tasks, known.datasets)
    jobs = len(config.jobs())
    with at_work(options, known.datasets, settings, "bench", jobs) as (folder, executor, progress):
        outcome = run_bench(
            config, folder.store, executor, BestSoFar(progress), {}, names, failures, notes=labels, chance=chance
        )
        from autorobustloss.report.bench import draw_bench, write_answers, write_tables

        write_tables(folder, outcome)
        told = with_noise(outcome.answers, options, known, folder.store, progress)
        write_answers(folder, told)
        progress.stop()
        with then_drawn(lambda: draw_bench(folder, outcome), "with pictures", options.json):
            print_tables(outcome.tables, options.format, options.json)
            if options.format == "text" and not options.json:
                print_answers(told)
    return tell_failures(failures)


def those_that_fit(named: Mapping[str, MethodSpec], classes: Mapping[str, int]) -> dict[str, MethodSpec]:
    """Return the methods that can be taken of every data set's classes, and tell which nobody asked for cannot."""
    fit = {}
    for name, method in named.items():
        few = next((f"{data}, {c} classes" for data, c in classes.items() if unfit(method, c)), None)
        if few is None:
            fit[name] = method
        else:
            warn(f"{name} is left out: it cannot be taken of {few}")
    return fit


def print_tables(tables: Mapping[str, Table], form: str, as_json: bool) -> None:
    """Print the tables of a benchmark, by view; in a form for people, equal ones once."""
    if as_json:
        print_json(tables)
    else:
        shown = tables.values() if form in ("csv", "json") else distinct_tables(tables.values())
        print("\n\n".join(render(table, form, out_width()) for table in shown), flush=True)


def print_answers(answers: Sequence[Answer]) -> None:
    """Print which loss to take for each data set, the line of code as it can be pasted."""
    for answer in answers:
        said = wrapped(message(conclusion(answer)), out_width(), indent="")
        print(f"\n{said}\nTo use it: {visible(line_of_code(answer.best))}", flush=True)


class Failures(dict[str, str]):
    """Jobs that failed, by key. One that fails after Ctrl-C failed of it, whatever a library made of that."""

    def __setitem__(self, key: str, message: str) -> None:
        stop_if_interrupted()
        super().__setitem__(key, message)


def tell_failures(failures: Mapping[str, str]) -> int:
    """Print how many failed on standard error, and why the first did, and return the exit code."""
    if not failures:
        return 0
    first = without_traceback(next(iter(failures.values())))
    warn(f"{len(failures)} trainings failed; the same command tries them again. The first: {first}")
    return 1
