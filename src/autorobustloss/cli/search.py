"""`arl search`: look for a loss, then hold it against the known ones on data the search never saw."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autorobustloss.benchmark.chance import chance_levels
from autorobustloss.benchmark.render import to_json, to_text
from autorobustloss.benchmark.table import Table, compare
from autorobustloss.cli import options as flags
from autorobustloss.cli.faults import warned_only
from autorobustloss.cli.progress import JobProgress, SearchProgress
from autorobustloss.data import Dataset
from autorobustloss.escape import visible
from autorobustloss.jobs.run_folder import RunFolder
from autorobustloss.losses import LOSSES, TaylorLoss, create_loss
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.search.card import card_name, make_card
from autorobustloss.search.config import SearchConfig
from autorobustloss.search.fitness import FITNESS
from autorobustloss.search.search import SearchOutcome, run_search
from autorobustloss.search.space import Space

DESCRIPTION = """\
Search for a classification loss that survives noisy labels (Algorithm 1 of Gao, Gouk & Hospedales, ICCV 2021).

CMA-ES proposes losses; each is scored by the clean-validation accuracy of networks trained with it on noisy
labels, averaged over tasks: every combination of the data sets, models, noises and learning rates given. The
better of the distribution's mean and the best candidate, scored again on fresh noise, is the learned loss. It is
then compared with known losses on the test split, which the search never touches.

Everything goes to the run folder: loss.json (the loss, ready for create_loss and arl), store.sqlite (every
training run), picture.png and .svg, table.txt and .json. Interrupted or killed? The same command goes on.
"""

EPILOG = """\
examples:
  arl search
      the default: digits, three networks, 80 % symmetric noise
  arl search --dataset mnist --data-dir DIR --train-size 5000 --epochs 30 --generations 20 --population 12
      a search on MNIST from DIR/mnist.npz
  arl search --dataset mnist,cifar10 --data-dir DIR --models cnn4 --noise sym:0.8
      data-set randomisation
  arl search --noise clean,sym:0.4,sym:0.8,pair:0.4 --tasks-per-generation 4
      noise randomisation, four tasks drawn for each generation
  arl search --space paper --order 4 --start zero
      the paper's own twelve parameters
  arl search --config search.toml --seed 1
      flags from a file: dataset = "mnist", models = ["mlp2", "cnn4"], epochs = 30, …
"""

COMPETITORS = "ce,label_smoothing,mae,gce,sce,nce+mae"


def add_parser(commands: Any) -> None:
    """Add `search` to the commands of `arl`."""
    parser = commands.add_parser(
        "search",
        help="search for a loss",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags.add_data_flags(parser)
    tasks = parser.add_argument_group("tasks", "candidates are trained on every combination of data, models and noises")
    flags.add_model_flag(tasks, "mlp2,mlp3,cnn4")
    flags.add_noise_flag(tasks, "sym:0.8")
    flags.add_only_flag(tasks)
    tasks.add_argument(
        "--tasks-per-generation",
        type=int,
        default=0,
        metavar="N",
        help="train on a seeded sample of so many tasks each generation, 0 for all (default)",
    )
    tasks.add_argument(
        "--race",
        type=float,
        default=SearchConfig.race,
        metavar="SHARE",
        help="train task after task, in the order given, and let only this share of the candidates, the best so far, "
        "go on to the next; 1 for no race (default: %(default)s)",
    )
    flags.add_protocol_flags(parser)
    search = parser.add_argument_group("search")
    for flag, kind, default, metavar, text in (
        ("generations", int, SearchConfig.generations, "N", "CMA-ES generations"),
        ("population", int, SearchConfig.population, "N", "candidates of a generation"),
        ("space", str, Space.name, "NAME", "paper (12 numbers at order 4), canonical (6), canonical+log (7), "
         "or canonical+power (8)"),
        ("log-unit", float, Space.log_unit, "X", "unit of the log coordinate of canonical+log: a small one searches "
         "finely where the weight of the log term is small"),
        ("order", int, Space.order, "N", "order of the polynomial, the paper compares 2 to 5"),
        ("scale", str, Space.scale, "RULE", "of every candidate: max (never steeper than cross-entropy's steepest), "
         "init (start as steep as cross-entropy), geometric (between the two), a multiple such as 0.3max, none"),
        ("start", str, SearchConfig.start, "NAME", "mean of the first generation: mae, sce, gce, zero, or coordinates "
         "joined by commas"),
        ("sigma", float, SearchConfig.sigma, "X", "step size of the first generation"),
        ("finalists-seeds", int, SearchConfig.finalists_seeds, "N", "fresh noise draws on which the finalists are "
         "scored again"),
    ):  # fmt: skip
        search.add_argument(
            f"--{flag}", type=kind, default=default, metavar=metavar, help=f"{text} (default: %(default)s)"
        )
    search.add_argument(
        "--fitness",
        choices=sorted(FITNESS),
        default=SearchConfig.fitness,
        help="mean over tasks of the accuracy, of its log odds, or of the rank (default: %(default)s)",
    )
    search.add_argument(
        "--rivals",
        default="",
        metavar="METHODS",
        help="methods trained beside every generation, on its tasks and noise, for the fitness rank to rank "
        "candidates among (default: none)",
    )
    search.add_argument(
        "--cohort",
        choices=("auto", "on", "off"),
        default="auto",
        help="train all candidates of a task at once: faster on a GPU, slower on a CPU; the numbers are then the same "
        "to rounding, not to the last bit (default: %(default)s: on a GPU)",
    )
    ending = parser.add_argument_group("comparison at the end, on the test split")
    ending.add_argument(
        "--compare", default=COMPETITORS, metavar="LOSSES", help="losses to compare with (default: %(default)s)"
    )
    ending.add_argument(
        "--compare-seeds",
        type=int,
        default=3,
        metavar="N",
        help="seeds of the comparison, 0 to leave it out (default: %(default)s)",
    )
    flags.add_run_flags(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run a search from its flags."""
    datasets = flags.read_datasets(options)
    config = read_config(options, datasets)
    competitors = flags.read_named_methods(options.compare) if options.compare_seeds else {}
    settings = {
        "command": "search",
        **config.to_dict(),
        "compare": [m.label for m in competitors.values()],
        "compare_seeds": options.compare_seeds,
    }
    ending = (len(competitors) + 1) * len(config.tasks) * options.compare_seeds
    total = config.generations * config.jobs_per_generation + ending
    with (
        flags.make_executor(options, datasets, cohort=options.cohort) as executor,
        RunFolder(options.out or flags.default_folder(settings, "search"), settings, options.store) as folder,
    ):
        with JobProgress(total, "search", options.quiet) as progress:
            counts = {name: dataset.num_classes for name, dataset in datasets.items()}
            outcome = run_search(config, counts, folder.store, executor, SearchProgress(progress, config))
            card = make_card(config, outcome, name=card_name(folder.path))
            folder.write("loss.json", card.to_json())
            methods = {"learned": outcome.winner.method, **competitors}
            table = None
            if competitors:
                progress.describe("comparison on the test split")
                table = compare(
                    tuple(methods.values()),
                    config.tasks,
                    options.compare_seeds,
                    folder.store,
                    executor,
                    progress.on_result,
                    title="Test accuracy on the split that the search never saw",
                    names={m: name for name, m in methods.items()},
                    chance=chance_levels(config.tasks, datasets),
                )
                folder.write("table.txt", to_text(table) + "\n")
                folder.write("table.json", to_json(table) + "\n")
        try:
            print_outcome(folder, outcome, table, options.json)
        finally:  # whoever reads the output may have gone; the picture is for later
            drawn = warned_only("no picture", lambda: write_picture(folder, outcome, methods))
    if drawn and not options.json:
        print(f"\npicture: {visible(str(drawn))}")
    return 0


def read_config(options: argparse.Namespace, datasets: Mapping[str, Dataset]) -> SearchConfig:
    """Return the frozen configuration that the flags mean."""
    tasks = flags.read_tasks(options, datasets)
    scale = None if options.scale == "none" else options.scale
    return SearchConfig(
        tasks=tasks,
        space=Space(options.space, options.order, scale, options.log_unit),
        population=options.population,
        generations=options.generations,
        sigma=options.sigma,
        start=options.start,
        fitness=options.fitness,
        rivals=tuple(flags.read_named_methods(options.rivals).values()) if options.rivals else (),
        tasks_per_generation=options.tasks_per_generation,
        race=options.race,
        finalists_seeds=options.finalists_seeds,
        seed=options.seed,
    )


def write_picture(folder: RunFolder, outcome: SearchOutcome, methods: Mapping[str, MethodSpec]) -> Path:
    """Draw the outcome into the run folder: those of the methods that are a loss, and the search."""
    from autorobustloss.report.figures import search_picture
    from autorobustloss.report.style import write_figure

    losses = {name: create_loss(m.name, **m.options) for name, m in methods.items() if m.name in LOSSES}
    return write_figure(folder, "picture", search_picture(losses, outcome.generations, learned="learned"))


def print_outcome(folder: RunFolder, outcome: SearchOutcome, table: Table | None, as_json: bool) -> None:
    """Print what the search found on standard output."""
    winner = outcome.winner
    if as_json:
        print(
            json.dumps(
                {
                    "folder": str(folder.path),
                    "loss": winner.method.options,
                    "origin": winner.origin,
                    "fitness": winner.accuracy,
                    "finalists": {f.origin: f.accuracy for f in outcome.finalists},
                    "generations": [vars(g) for g in outcome.generations],
                    "table": table.to_dict() if table is not None else None,
                }
            )
        )
        return
    loss = TaylorLoss(**winner.method.options)
    print(f"\nlearned loss ({visible(str(folder.path / 'loss.json'))}):\n  {loss.formula()}\n")
    for finalist in outcome.finalists:
        scored = "rejected or diverged" if finalist.accuracy is None else f"{100 * finalist.accuracy:.1f} %"
        what = {"mean": "the distribution's mean", "best": "the best candidate"}[finalist.origin]
        chosen = "  <- the learned loss" if finalist is winner else ""
        print(f"  {what:<24} {scored} clean validation accuracy on fresh noise{chosen}")
    if table is not None:
        print("\n" + to_text(table), flush=True)
