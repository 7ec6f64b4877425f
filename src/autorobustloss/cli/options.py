"""Flags that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

from autorobustloss.cli.streams import warn
from autorobustloss.data import (
    Dataset,
    DataSpec,
    check_augment,
    is_own,
    known_labels,
    load_dataset,
    make_splits,
    truth_known,
)
from autorobustloss.errors import ARLError, ConfigError, unknown_name
from autorobustloss.escape import visible
from autorobustloss.losses.cards import card_names, load_card
from autorobustloss.methods.criterion import card_method, create_criterion
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.models import build_model
from autorobustloss.noise import NoiseSpec
from autorobustloss.registry import LOSSES, METHODS, MODELS
from autorobustloss.runs.executors import Executor, executor_for, usable_cores
from autorobustloss.runs.job import Task
from autorobustloss.training.protocol import PRESETS, TrainingProtocol, create_protocol, suited


def split_list(text: str) -> list[str]:
    """Split at the commas that are outside brackets.

    >>> split_list("ce, sce(alpha=0.1, beta=1)")
    ['ce', 'sce(alpha=0.1, beta=1)']
    """
    cuts, depth = [-1], 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            cuts.append(position)
    parts = [text[start + 1 : end].strip() for start, end in zip(cuts, [*cuts[1:], len(text)])]
    return [part for part in parts if part]


def listed(text: str, flag: str) -> list[str]:
    """Return what a flag lists (see `split_list`), at least one part."""
    parts = split_list(text)
    if not parts:
        raise ConfigError(f"got {flag} {text!r}, expected at least one; leave {flag} out for its default")
    return parts


def add_data_flags(parser: argparse.ArgumentParser, datasets: str = "digits") -> None:
    """Add the flags that say which data are learnt from."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--dataset",
        default=datasets,
        metavar="NAMES",
        help="data sets, joined by commas: bundled "
        "(digits, wine, …), NAME for DIR/NAME.npz, a path, or a torchvision name (default: %(default)s)",
    )
    group.add_argument("--data-dir", metavar="DIR", help="where data sets lie (default: $ARL_DATA_DIR)")
    group.add_argument("--download", action="store_true", help="let torchvision download what is missing in --data-dir")
    group.add_argument("--train-size", type=int, default=0, metavar="N", help="training samples, 0 for all (default)")
    group.add_argument(
        "--valid-size",
        type=int,
        metavar="N",
        help="validation samples, taken out of the training part; 0 for a tenth (default: a fifth of it, at most 2000)",
    )
    group.add_argument("--test-size", type=int, default=0, metavar="N", help="test samples, 0 for all (default)")


def add_noise_flag(parser: argparse.ArgumentParser, noise: str) -> None:
    """Add --noise; noise: what a benchmark data set gets without it (see `read_noises`)."""
    parser.add_argument(
        "--noise",
        metavar="SPECS",
        help="label noise, joined by commas: given (the labels as they come, noisy or not), clean (the labels count as "
        "right), sym:RATE, pair:RATE, map:RATE (class map of the data set), matrix:FILE, idn:RATE, human:SET "
        f"(default: given for data of your own, a path or what lies in --data-dir under a name of yours; {noise} for "
        "bundled and torchvision data sets)",
    )
    parser.set_defaults(benchmark_noise=noise)
    parser.add_argument(
        "--allow-hopeless",
        action="store_true",
        help="allow noise under which the right label is not the most frequent one of its class",
    )


def add_only_flag(parser: argparse.ArgumentParser) -> None:
    """Add --only."""
    parser.add_argument(
        "--only",
        metavar="PATTERNS",
        help="of all combinations DATASET/MODEL/NOISE those that match one of these patterns, such as "
        "'*/mlp3/*,usps/cnn4/sym:0.8' (default: all)",
    )


def add_model_flag(parser: argparse.ArgumentParser, models: str, of_tables: str = "") -> None:
    """Add --models; models: the default, of_tables: that for data which are no images, where it is another."""
    parser.add_argument(
        "--models",
        "--model",
        metavar="NAMES",
        help=f"networks, joined by commas: {', '.join(MODELS.names())} "
        f"(default: {models}{f'; {of_tables} for tables' if of_tables else ''})",
    )
    parser.set_defaults(default_models=(models, of_tables or models))


SWEEP_HELP = (
    "factors such as 0.1x,0.3x,1x,3x are a sweep: also a table in which each method has the factor that is best on "
    "noisy validation data"
)


def add_protocol_flags(parser: argparse.ArgumentParser, sweep: bool = False) -> None:
    """Add the flags of the training protocol; sweep: --lr takes factors too (see `split_learning_rates`)."""
    group = parser.add_argument_group("training of the networks", "a preset, and what is changed of it")
    group.add_argument(
        "--protocol",
        choices=sorted(PRESETS),
        metavar="NAME",
        help=f"{', '.join(sorted(PRESETS))} (default: digits for data sets of at most 2,000 samples, else shallow)",
    )
    group.add_argument("--epochs", type=int, metavar="N", help="passes over the training data")
    group.add_argument(
        "--lr",
        metavar="RATES",
        help="learning rate; several, joined by commas, are several tasks" + ("; " + SWEEP_HELP if sweep else ""),
    )
    group.add_argument("--batch-size", type=int, metavar="N", help="samples per step")
    group.add_argument("--weight-decay", type=float, metavar="X", help="weight decay")
    group.add_argument("--l1", type=float, metavar="X", help="penalty X·Σ|w| on all weights, beside weight decay")
    group.add_argument("--schedule", metavar="NAME", help="constant, cosine, steps or linear")
    group.add_argument("--augment", metavar="NAME", help="none, crop, or crop-flip (presets do not flip digits)")
    group.add_argument(
        "--patience",
        type=int,
        metavar="N",
        help="stop a network whose training accuracy has not left chance level after N epochs (default: never)",
    )
    group.add_argument("--precision", metavar="NAME", help="float32 or bfloat16")


def add_run_flags(parser: argparse.ArgumentParser, out: bool = True, seed: bool = True) -> None:
    """Add the flags that say where and how to run."""
    group = parser.add_argument_group("running")
    if out:
        group.add_argument("--out", metavar="DIR", help="run folder (default: runs/NAME, NAME made of the settings)")
    group.add_argument("--store", metavar="FILE", help="share the results of another run: its store.sqlite")
    group.add_argument(
        "--workers", type=int, metavar="N", help="processes, one core each (default: the cores there are)"
    )
    group.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where networks train (default: %(default)s: a GPU when there is one)",
    )
    group.add_argument(
        "--exact",
        action="store_true",
        help="leave out what is faster and agrees to rounding only (the compiled loss, tiny numbers taken for 0): "
        "machines of one type with the same PyTorch build then train to the same bits; other processors do not",
    )
    if seed:
        group.add_argument(
            "--seed", type=int, default=0, metavar="N", help="everything random follows from it (default: 0)"
        )
    group.add_argument("--config", metavar="FILE.toml", help="read flags from a file; those given here win")
    group.add_argument("--json", action="store_true", help="print the outcome as JSON on standard output")
    group.add_argument("--quiet", action="store_true", help="no progress on standard error")


def read_datasets(options: argparse.Namespace) -> dict[str, Dataset]:
    """Load the data sets that the flags name, by name."""
    names = listed(options.dataset, "--dataset")
    return {name: load_dataset(name, options.data_dir, download=options.download) for name in names}


def read_protocols(options: argparse.Namespace, dataset: Dataset) -> list[TrainingProtocol]:
    """Return the protocols the flags ask for on a data set: one for each learning rate."""
    small = len(dataset.x_train) <= 2000
    preset = options.protocol or ("digits" if small else "shallow")
    flags = ("epochs", "batch_size", "weight_decay", "l1", "schedule", "augment", "precision")
    changes = {name: value for name in flags if (value := getattr(options, name)) is not None}
    if options.patience is not None:
        changes["patience_at_chance"] = options.patience
    rates = [{}] if options.lr is None else [{"lr": _number(r, options.lr)} for r in listed(options.lr, "--lr")]
    base = suited(create_protocol(preset), dataset.name)
    protocols = [base.but(**changes, **rate) for rate in rates]
    for protocol in protocols:
        check_augment(protocol.augment, dataset.name, dataset.is_image)
    return protocols


def split_learning_rates(text: str) -> tuple[str | None, tuple[float, ...]]:
    """Split the value of --lr into learning rates, as text, and the factors of a sweep.

    >>> split_learning_rates("0.01,0.03"), split_learning_rates("0.1x,1x,3x")
    (('0.01,0.03', ()), (None, (0.1, 1.0, 3.0)))
    """
    rates, factors = [], []
    for part in listed(text, "--lr"):
        if part.endswith("x"):
            factors.append(_number(part.removesuffix("x"), text))
        else:
            rates.append(part)
    return ",".join(rates) or None, tuple(factors)


def _number(part: str, text: str) -> float:
    try:
        return float(part)
    except ValueError:
        wanted = "numbers joined by commas, such as 0.01,0.03 (arl bench also takes factors, such as 0.3x,1x,3x)"
        raise ConfigError(f"got --lr {text!r}, expected {wanted}") from None


def read_tasks(options: argparse.Namespace, datasets: Mapping[str, Dataset]) -> tuple[Task, ...]:
    """Return the tasks: data sets × models × noises × learning rates, in that order."""
    specs = {name: read_data_spec(options, name, dataset) for name, dataset in datasets.items()}
    tasks = tuple(
        Task(specs[name], noise, model, protocol)
        for name, dataset in datasets.items()
        for model, noise, protocol in product(
            read_models(options, dataset), read_noises(options, name, dataset), read_protocols(options, dataset)
        )
    )
    if options.only is not None:
        tasks = _matching(tasks, listed(options.only, "--only"))
    check_tasks(tasks, datasets, options.allow_hopeless)
    return tasks


def read_models(options: argparse.Namespace, dataset: Dataset) -> list[str]:
    """Return the networks the flags ask for on a data set."""
    of_images, of_tables = options.default_models
    default = of_images if dataset.is_image else of_tables
    return listed(default if options.models is None else options.models, "--models")


def read_noises(options: argparse.Namespace, name: str, dataset: Dataset) -> list[str]:
    """Return the noises the flags ask for on a data set; without --noise a user's own labels are taken as they come."""
    text = options.noise
    if text is None:
        text = "given" if is_own(name, dataset) else options.benchmark_noise
    return [str(NoiseSpec.parse(part)) for part in listed(text, "--noise")]


def label_notes(tasks: Iterable[Task], datasets: Mapping[str, Dataset]) -> list[str]:
    """Return in a sentence each what the labels are that data of the user's own are learnt from."""
    pairs = dict.fromkeys((task.dataset.name, task.noise) for task in tasks)
    return [
        f"{name}: {_labels_in_words(datasets[name], NoiseSpec.parse(noise))}"
        for name, noise in pairs
        if is_own(name, datasets[name])
    ]


def _labels_in_words(dataset: Dataset, noise: NoiseSpec) -> str:
    told_apart = "given" in dataset.label_sets
    if noise.kind == "given":
        what = "labels as they come, no noise added (noise 'given'): "
        if truth_known(dataset, noise):
            return what + "its noisy ones, beside which the right ones are known"
        others = "test" if dataset.y_valid is None else "validation and test"
        return what + f"which of them are wrong is not known, its {others} labels count as right"
    if noise.kind == "human":
        return f"{noise.words}, no noise added"
    start = "its right labels, not its noisy ones" if told_apart else "its labels as they come, which count as right"
    return f"no noise added to {start} (noise 'clean')" if noise.kind == "clean" else f"adds {noise.words} to {start}"


def check_labels(tasks: Iterable[Task], datasets: Mapping[str, Dataset], split: str, purpose: str, remedy: str) -> None:
    """Raise ConfigError for a task whose validation labels, "valid_clean" or "valid_noisy", nobody knows."""
    for name, noise in dict.fromkeys((task.dataset.name, task.noise) for task in tasks):
        if split not in known_labels(datasets[name], noise):
            kind = split.removeprefix("valid_")
            raise ConfigError(
                f"data set {name!r}: under noise {noise!r} it has no {kind} validation labels {purpose}; {remedy}"
            )


def tell_labels(labels: Iterable[str], options: argparse.Namespace) -> None:
    """Say what the labels are; not to who wants quiet and said that all are right."""
    if not (options.quiet and options.noise == "clean"):
        tell(labels)


def tell(lines: Iterable[str]) -> None:
    """Say on standard error what is no progress and should not be missed."""
    for line in lines:
        warn(visible(line))


def _matching(tasks: tuple[Task, ...], patterns: list[str]) -> tuple[Task, ...]:
    """Return the tasks whose label matches a pattern; a pattern that matches none is an error.

    `*` and `?` are wild; brackets stand for themselves, for they are part of the names of data sets.
    """
    chosen = set()
    for pattern in patterns:
        matched = {i for i, task in enumerate(tasks) if fnmatchcase(task.label, pattern.replace("[", "[[]"))}
        if not matched:
            labels = ", ".join(dict.fromkeys(task.label for task in tasks))
            raise ConfigError(f"got --only {pattern!r}, which matches none of {labels}")
        chosen |= matched
    return tuple(tasks[i] for i in sorted(chosen))


def read_data_spec(options: argparse.Namespace, name: str, dataset: Dataset) -> DataSpec:
    """Return which part of a data set the flags ask for, tied to its content."""
    valid = min(len(dataset.x_train) // 5, 2000) if options.valid_size is None else options.valid_size
    return DataSpec(name, options.train_size, valid, options.test_size, dataset.fingerprint)


def check_tasks(tasks: Sequence[Task], datasets: Mapping[str, Dataset], allow_hopeless: bool) -> None:
    """Raise the error of sizes, a model or a noise that do not fit a data set now, before anything is trained."""
    for spec, noise in dict.fromkeys((task.dataset, task.noise) for task in tasks):
        make_splits(datasets[spec.name], spec, noise, allow_hopeless=allow_hopeless)
    for name, model in dict.fromkeys((task.dataset.name, task.model) for task in tasks):
        dataset = datasets[name]
        build_model(model, tuple(dataset.x_train.shape[1:]), dataset.num_classes, seed=0)


def read_named_methods(text: str, flag: str = "--methods") -> dict[str, MethodSpec]:
    """Return methods, joined by commas, by what a table calls them: their label, or the folder of a loss card."""
    named: dict[str, MethodSpec] = {}
    for part in listed(text, flag):
        method = read_method(part)
        name = Path(part).parent.name or Path(part).stem if part.endswith(".json") else MethodSpec.parse(part).label
        for other, known in named.items():
            if name == other:
                raise ConfigError(f"got {name!r} twice among the methods")
            if method == known:
                raise ConfigError(f"got {other!r} and {name!r}, which are the same method; leave one out")
        named[name] = method
    return named


def read_method(text: str) -> MethodSpec:
    """Return a method from `name`, `name(key=value, …)` or the path of a loss card (a `.json` file).

    A learned loss, by name or by path, becomes its numbers (see `card_method`).
    """
    if text.endswith(".json"):
        return card_method(load_card(Path(text)))
    spec = MethodSpec.parse(text)
    if spec.name not in METHODS and spec.name not in LOSSES:
        raise unknown_name("method", spec.name, [*METHODS, *LOSSES])
    # Complain about hyper-parameters now; two classes do for what does not depend on their number.
    METHODS.create(spec.name, **spec.options) if spec.name in METHODS else create_criterion(spec, num_classes=2)
    if spec.name in card_names():
        learned = card_method(load_card(spec.name))
        return MethodSpec.of(learned.name, **learned.options, **spec.options)
    return spec


def class_counts(datasets: Mapping[str, Dataset]) -> dict[str, int]:
    """Return the number of classes of each data set, by name."""
    return {name: dataset.num_classes for name, dataset in datasets.items()}


def check_methods(methods: Iterable[MethodSpec], tasks: Iterable[Task], datasets: Mapping[str, Dataset]) -> None:
    """Raise the ConfigError of a method that needs to know more of the labels than anybody does."""
    procedures = [METHODS.create(m.name, **m.options) for m in methods if m.name in METHODS]
    for name, noise in dict.fromkeys((task.dataset.name, task.noise) for task in tasks):
        known = set(known_labels(datasets[name], noise))
        if truth_known(datasets[name], noise):
            known |= {"noise_rate", "noise_matrix"}
        for procedure in procedures:
            try:
                procedure.check(known)
            except ConfigError as error:
                raise ConfigError(f"data set {name!r}: {error}") from None


def check_losses(methods: Iterable[tuple[Task, MethodSpec]], classes: Mapping[str, int]) -> None:
    """Raise the ConfigError of a loss that cannot be taken of a data set's number of classes, before others train."""
    import torch

    for name, method in dict.fromkeys((task.dataset.name, method) for task, method in methods):
        if method.name not in METHODS:
            try:
                create_criterion(method, classes[name])(torch.zeros(1, classes[name]), torch.tensor([0]))
            except ARLError as error:
                raise ConfigError(f"data set {name!r}: loss {method.label!r}: {error}") from None


def choose_device(name: str) -> str:
    """Return "cpu" or "cuda" for the flag --device."""
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("got --device cuda, but PyTorch finds no GPU; try --device cpu")
    return "cuda" if name != "cpu" and available else "cpu"


def make_executor(
    options: argparse.Namespace, datasets: Mapping[str, Dataset], jobs: int | None = None, cohort: str = "off"
) -> Executor:
    """Return the executor the flags ask for, with no more workers than jobs.

    cohort: whether jobs that can be are trained at once, "on", "off", or "auto" for: on a GPU.
    """
    device = choose_device(options.device)
    workers = options.workers
    if workers is None and jobs is not None and device == "cpu":
        workers = max(1, min(usable_cores(), jobs))
    cohorts = cohort == "on" or (cohort == "auto" and device == "cuda")
    if options.exact and cohorts:
        raise ConfigError("got --exact and --cohort on, which is exact to rounding only; leave out one of them")
    return executor_for(datasets, workers, device, cohorts, options.exact)


def default_folder(settings: Mapping[str, Any], what: str) -> Path:
    """Return runs/NAME, a name that tells what was run on which data and, by a hash, with which other settings."""
    names = {_short_name(str(task["dataset"]["name"])) for task in settings.get("tasks", ())}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / "-".join([what, *sorted(names)[:3], digest])


def _short_name(dataset: str) -> str:
    """Return what is left of the name of a data set, perhaps a path, in a folder's name: short, and of plain signs.

    >>> _short_name("data/own.npz"), _short_name("cost_$1 *")
    ('own', 'cost__1__')
    """
    return re.sub(r"[^\w.+=\[\]()-]", "_", Path(dataset).stem)[:40]
