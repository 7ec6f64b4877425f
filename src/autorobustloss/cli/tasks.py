"""From the options to data sets and tasks, and what is known of their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product

from autorobustloss.cli.lists import listed, split_learning_rates
from autorobustloss.cli.options.shared import Common, Grid
from autorobustloss.cli.terminal import warn
from autorobustloss.data import Dataset, check_augment, is_own, load_dataset
from autorobustloss.data.splits import check_splits, truth_known
from autorobustloss.errors import ConfigError
from autorobustloss.escape import visible
from autorobustloss.models import build_model
from autorobustloss.noise import NoiseSpec
from autorobustloss.runs import Task
from autorobustloss.runs.tasks import TaskSet, data_spec, label_sets, preset_for
from autorobustloss.training import TrainingProtocol, create_protocol
from autorobustloss.training.protocol import suited

DEFAULT_MODELS = {
    **dict.fromkeys(("train", "bench", "labels"), ("mlp2", "mlp2")),
    "search": ("mlp2,mlp3", "mlp2,mlp3,cnn4"),
}
"""Networks for tables, and for images."""
DEFAULT_NOISE = {
    **{"train": "sym:0.4", "bench": "clean,sym:0.4,sym:0.8,pair:0.4", "search": "sym:0.8"},
    "labels": "given",  # it is labels as they come that one wants to know about
}
"""What a benchmark data set gets without --noise; a user's own labels are then taken as they come."""
CHANGES = ("epochs", "batch_size", "weight_decay", "l1", "schedule", "augment", "precision", "evaluate_every")
"""Options that are fields of a protocol of the same name."""


def read_tasks(options: Common, command: str) -> TaskSet:
    """Load the data sets; return the tasks: data sets × models × noises × learning rates, in that order."""
    names = listed(options.dataset, "--dataset")
    datasets = {
        name: load_dataset(
            name, options.data_dir, options.download, target=options.target, test_split=options.test_split
        )
        for name in names
    }
    tasks: list[Task] = []
    for name, dataset in datasets.items():
        spec = data_spec(name, dataset, options.train_size, options.valid_size, options.test_size)
        models = listed(options.models, "--models", DEFAULT_MODELS[command][dataset.is_image])
        noises = listed(options.noise, "--noise", "given" if is_own(name, dataset) else DEFAULT_NOISE[command])
        protocols = read_protocols(options, dataset, sweep=command == "bench")
        combined = product(models, [str(NoiseSpec.parse(noise)) for noise in noises], protocols)
        tasks += (Task(spec, noise, model, how) for model, noise, how in combined)
    if options.only is not None:
        tasks = matching(tasks, listed(options.only, "--only"))
    check_tasks(tasks, datasets, options.allow_hopeless)
    return TaskSet(tuple(tasks), datasets)


def read_protocols(options: Grid, dataset: Dataset, sweep: bool) -> list[TrainingProtocol]:
    """Return the protocols the options ask for on a data set: one for each learning rate that is no factor."""
    preset = options.protocol or preset_for(dataset)
    changes = {name: value for name in CHANGES if (value := getattr(options, name)) is not None}
    if options.patience is not None:
        changes["patience_at_chance"] = options.patience
    rates = [] if options.lr is None else split_learning_rates(options.lr, sweep)[0]
    base = suited(create_protocol(preset), dataset.name)
    protocols = [base.but(**changes, lr=rate) for rate in rates or [base.lr]]
    for protocol in protocols:
        check_augment(protocol.augment, dataset.name, dataset.is_image)
    return protocols


def matching(tasks: Sequence[Task], patterns: Sequence[str]) -> list[Task]:
    """Return the tasks whose label matches a pattern; a pattern that matches none is an error.

    `*` and `?` are wild; brackets stand for themselves, for they are part of the names of data sets.
    """
    chosen: set[Task] = set()
    for pattern in patterns:
        matched = {task for task in tasks if fnmatchcase(task.label, pattern.replace("[", "[[]"))}
        if not matched:
            labels = ", ".join(dict.fromkeys(task.label for task in tasks))
            raise ConfigError(f"got --only {pattern!r}, which matches none of {labels}")
        chosen |= matched
    return [task for task in tasks if task in chosen]


def check_tasks(tasks: Sequence[Task], datasets: Mapping[str, Dataset], allow_hopeless: bool) -> None:
    """Raise the error of sizes, a model or a noise that do not fit a data set now, before anything is trained."""
    for spec, noise in dict.fromkeys((task.dataset, task.noise) for task in tasks):
        check_splits(datasets[spec.name], spec, noise, allow_hopeless)
    for name, model in dict.fromkeys((task.dataset.name, task.model) for task in tasks):
        dataset = datasets[name]
        build_model(model, tuple(dataset.x_train.shape[1:]), dataset.num_classes, seed=0)


def tell_labels(options: Common, known: TaskSet) -> list[str]:
    """Say what was made of data of the user's own; say and return, in a sentence each, what their labels are."""
    for name, dataset in known.datasets.items() if not options.quiet else ():
        for note in dataset.notes:
            warn(visible(f"{name}: {note}"))
    notes = [
        f"{name}: {_in_words(known.datasets[name], NoiseSpec.parse(noise))}"
        for name, noise in label_sets(known.tasks)
        if is_own(name, known.datasets[name])
    ]
    if not (options.quiet and options.noise == "clean"):  # who wants quiet and said that all are right knows
        for note in notes:
            warn(visible(note))
    return notes


def _in_words(dataset: Dataset, noise: NoiseSpec) -> str:
    if noise.kind == "given":
        what = "labels as they come, no noise added (noise 'given'): "
        if truth_known(dataset, noise):
            return what + "its noisy ones, beside which the right ones are known"
        others = "test" if dataset.y_valid is None else "validation and test"
        return what + f"which of them are wrong is not known, its {others} labels count as right"
    if noise.kind == "human":
        return f"{noise.words}, no noise added"
    told_apart = "given" in dataset.label_sets
    start = "its right labels, not its noisy ones" if told_apart else "its labels as they come, which count as right"
    return f"no noise added to {start} (noise 'clean')" if noise.kind == "clean" else f"adds {noise.words} to {start}"
