"""`arl search`: look for a loss, then hold it against the known ones on data the search never saw."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any, cast

from autorobustloss.benchmark.chance import chance_levels
from autorobustloss.benchmark.render import to_json, to_text
from autorobustloss.benchmark.table import Table, compare
from autorobustloss.cli import options as flags
from autorobustloss.cli.faults import warned_only
from autorobustloss.cli.progress import JobProgress, SearchProgress
from autorobustloss.data import Dataset, known_labels
from autorobustloss.errors import ConfigError
from autorobustloss.escape import visible
from autorobustloss.losses import LearnableLoss
from autorobustloss.methods.criterion import bare_loss
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import METHODS
from autorobustloss.runs.job import Task
from autorobustloss.runs.run_folder import RunFolder
from autorobustloss.search.card import card_name, make_card
from autorobustloss.search.config import FITNESS_ON, RIVAL_VALUES, SearchConfig
from autorobustloss.search.fitness import FITNESS
from autorobustloss.search.gated_space import GatedSpace
from autorobustloss.search.search import SearchOutcome, run_search
from autorobustloss.search.space import SearchSpace, Space

DESCRIPTION = """\
Search for a classification loss that survives noisy labels (Algorithm 1 of Gao, Gouk & Hospedales, ICCV 2021).

CMA-ES proposes losses; each is scored by the clean-validation accuracy of networks trained with it on noisy labels
(or by noisy validation, --fitness-on noisy, where nobody knows the right labels), averaged over tasks: every
combination of the data sets, models, noises and learning rates given. On data of your own the labels are taken as they
come; noise is added only where --noise asks for it. The better of the distribution's mean and the best candidate,
scored again on fresh noise, is the learned loss. It is then compared with known losses on the test split, which the
search never touches.

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
  arl search --space gated
      the other family: cross-entropy, its samples weighed by how much the network believes them
  arl search --config search.toml --seed 1
      flags from a file: dataset = "mnist", models = ["mlp2", "cnn4"], epochs = 30, …
  arl search --dataset ./own.npz --fitness-on noisy
      your own data, whose labels are taken as they come
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
    flags.add_model_flag(tasks, "mlp2,mlp3,cnn4", of_tables="mlp2,mlp3")
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
         "or canonical+power (8): Taylor losses; gated (8 at order 2): weighed cross-entropy"),
        ("sigma", float, SearchConfig.sigma, "X", "step size of the first generation"),
        ("finalists-seeds", int, SearchConfig.finalists_seeds, "N", "fresh noise draws on which the finalists are "
         "scored again"),
    ):  # fmt: skip
        search.add_argument(
            f"--{flag}", type=kind, default=default, metavar=metavar, help=f"{text} (default: %(default)s)"
        )
    of_space: dict[str, tuple[type, str, str]] = {  # not given, they are at the defaults of the space
        "log-unit": (float, "X", "unit of the log coordinate of canonical+log: a small one searches finely where the "
         f"weight of the log term is small (default: {Space.log_unit})"),
        "order": (int, "N", "order of the polynomial: the paper compares 2 to 5; gated has 0 to 2 (default: "
         f"{Space.order}, gated {GatedSpace.order})"),
        "scale": (str, "RULE", "of every Taylor loss: max (never steeper than cross-entropy's steepest), init (start "
         f"as steep as cross-entropy), geometric (between the two), a multiple such as 0.3max, none (default: "
         f"{Space.scale})"),
        "start": (str, "NAME", "mean of the first generation: mae, sce, gce, zero; gated, ce for gated; or coordinates "
         f"joined by commas (default: {Space.default_start}, gated {GatedSpace.default_start})"),
    }  # fmt: skip
    for flag, (convert, metavar, text) in of_space.items():
        search.add_argument(f"--{flag}", type=convert, metavar=metavar, help=text)
    search.add_argument(
        "--fitness",
        choices=sorted(FITNESS),
        default=SearchConfig.fitness,
        help="mean over tasks of the accuracy, of its log odds, or of the rank (default: %(default)s)",
    )
    search.add_argument(
        "--fitness-on",
        choices=tuple(FITNESS_ON),
        default=SearchConfig.fitness_on,
        help="the validation labels that score a candidate: clean, or noisy where nobody knows the right ones "
        "(default: %(default)s)",
    )
    search.add_argument(
        "--rivals",
        default="",
        metavar="METHODS",
        help="methods trained beside every generation, on its tasks and noise, for the fitness rank to rank "
        "candidates among (default: none)",
    )
    search.add_argument(
        "--rival-values",
        choices=RIVAL_VALUES,
        default="authors",
        help="hyper-parameters of rivals named without any: their authors' for each data set's number of classes, or "
        "the losses' defaults everywhere (default: %(default)s)",
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
    competitors = flags.read_named_methods(options.compare, "--compare") if options.compare_seeds else {}
    if competitors:
        flags.check_methods(competitors.values(), config.tasks, datasets)
    labels = flags.label_notes(config.tasks, datasets)
    flags.tell_labels(labels, options)
    if config.fitness_on == "noisy":
        flags.tell(["candidates are scored on noisy validation labels (--fitness-on noisy)"])
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
            counts = flags.class_counts(datasets)
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
                    classes=counts,
                    chance=chance_levels(config.tasks, datasets),
                )
                table = replace(table, notes=(*labels, *table.notes))
                folder.write("table.txt", to_text(table) + "\n")
                folder.write("table.json", to_json(table) + "\n")
        try:
            print_outcome(folder, outcome, table, config.fitness_on, labels, options.json)
        finally:  # whoever reads the output may have gone; the picture is for later
            drawn = warned_only("no picture", lambda: write_picture(folder, outcome, methods))
    if drawn and not options.json:
        print(f"\npicture: {visible(str(drawn))}")
    return 0


def read_config(options: argparse.Namespace, datasets: Mapping[str, Dataset]) -> SearchConfig:
    """Return the frozen configuration that the flags mean."""
    tasks = flags.read_tasks(options, datasets)
    rivals = tuple(flags.read_named_methods(options.rivals, "--rivals").values()) if options.rivals else ()
    flags.check_methods(rivals, tasks, datasets)
    flags.check_labels(
        tasks, datasets, FITNESS_ON[options.fitness_on], "to score candidates on", _remedy(options, tasks, datasets)
    )
    space = read_space(options)
    return SearchConfig(
        tasks=tasks,
        space=space,
        population=options.population,
        generations=options.generations,
        sigma=options.sigma,
        start=options.start or space.default_start,
        fitness=options.fitness,
        fitness_on=options.fitness_on,
        rivals=rivals,
        rival_values=options.rival_values if rivals else SearchConfig.rival_values,
        tasks_per_generation=options.tasks_per_generation,
        race=options.race,
        finalists_seeds=options.finalists_seeds,
        seed=options.seed,
    )


def read_space(options: argparse.Namespace) -> SearchSpace:
    """Return the space that the flags mean, at its own defaults where a flag is not given."""
    given = {"order": options.order, "scale": options.scale, "log_unit": options.log_unit}
    given = {name: value for name, value in given.items() if value is not None}
    if options.space != GatedSpace.name:
        return Space(options.space, **given | ({"scale": None} if options.scale == "none" else {}))
    for name in ("scale", "log_unit"):
        if name in given:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"got {flag} {given[name]} with --space gated, which has none; leave {flag} out")
    return GatedSpace(**given)


def _remedy(options: argparse.Namespace, tasks: Iterable[Task], datasets: Mapping[str, Dataset]) -> str:
    """Return what to do where the labels that should score candidates are not known."""
    if options.fitness_on == "noisy":
        return "run the same command with --fitness-on clean"
    advice = "save some as x_valid and y_valid, or say with --noise clean that all are right"
    if any("valid_noisy" not in known_labels(datasets[t.dataset.name], t.noise) for t in tasks):
        return advice
    command = ["arl", "search", "--dataset", options.dataset, "--fitness-on", "noisy"]
    for name in ("data_dir", "models", "noise"):  # without which that might be refused for another reason
        if (value := getattr(options, name)) is not None:
            command += ["--" + name.replace("_", "-"), value]
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
    folder: RunFolder,
    outcome: SearchOutcome,
    table: Table | None,
    fitness_on: str,
    labels: Sequence[str],
    as_json: bool,
) -> None:
    """Print what the search found on standard output; labels: what they are, in sentences."""
    winner = outcome.winner
    if as_json:
        print(
            json.dumps(
                {
                    "folder": str(folder.path),
                    "loss": winner.method.options,
                    "origin": winner.origin,
                    "fitness": winner.accuracy,
                    "fitness_on": fitness_on,
                    "labels": labels,
                    "finalists": {f.origin: f.accuracy for f in outcome.finalists},
                    "generations": [g.to_dict() for g in outcome.generations],
                    "table": table.to_dict() if table is not None else None,
                }
            )
        )
        return
    loss = cast(LearnableLoss, bare_loss(winner.method))
    print(f"\nlearned loss ({visible(str(folder.path / 'loss.json'))}):\n{indent(loss.formula(), '  ')}\n")
    for finalist in outcome.finalists:
        scored = "rejected or diverged" if finalist.accuracy is None else f"{100 * finalist.accuracy:.1f} %"
        what = {"mean": "the distribution's mean", "best": "the best candidate"}[finalist.origin]
        chosen = "  <- the learned loss" if finalist is winner else ""
        print(f"  {what:<24} {scored} {fitness_on} validation accuracy on fresh noise{chosen}")
    if table is not None:
        print("\n" + to_text(table), flush=True)
