"""From the options to data sets and tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import product

from autorobustloss.cli.lists import listed, split_learning_rates
from autorobustloss.cli.options.shared import Common, Data, Tasks, Training
from autorobustloss.data import Dataset, is_own, load_dataset, make_splits
from autorobustloss.data.augment import check_augment
from autorobustloss.data.spec import DataSpec
from autorobustloss.errors import ConfigError
from autorobustloss.models import build_model
from autorobustloss.noise import NoiseSpec
from autorobustloss.runs.job import Task
from autorobustloss.training.protocol import TrainingProtocol, create_protocol, suited

DEFAULT_MODELS = {"train": "mlp2", "bench": "mlp2", "search": "mlp2,mlp3,cnn4", "search of tables": "mlp2,mlp3"}
DEFAULT_NOISE = {"train": "sym:0.4", "bench": "clean,sym:0.4,sym:0.8,pair:0.4", "search": "sym:0.8"}
"""What a benchmark data set gets without --noise."""
CHANGES = ("epochs", "batch_size", "weight_decay", "l1", "schedule", "augment", "precision")
"""Options that are fields of a protocol of the same name."""


def read_datasets(options: Data) -> dict[str, Dataset]:
    """Load the data sets that the options name, by name."""
    names = listed(options.dataset, "--dataset")
    return {name: load_dataset(name, options.data_dir, download=options.download) for name in names}


def read_tasks(options: Common, datasets: Mapping[str, Dataset], command: str) -> tuple[Task, ...]:
    """Return the tasks: data sets × models × noises × learning rates, in that order."""
    tasks = tuple(
        Task(read_data_spec(options, name, dataset), noise, model, protocol)
        for name, dataset in datasets.items()
        for model, noise, protocol in product(
            read_models(options, dataset, command),
            read_noises(options, name, dataset, command),
            read_protocols(options, dataset, sweep=command == "bench"),
        )
    )
    if options.only is not None:
        tasks = matching(tasks, listed(options.only, "--only"))
    check_tasks(tasks, datasets, options.allow_hopeless)
    return tasks


def read_data_spec(options: Data, name: str, dataset: Dataset) -> DataSpec:
    """Return which part of a data set the options ask for, tied to its content."""
    valid = min(len(dataset.x_train) // 5, 2000) if options.valid_size is None else options.valid_size
    return DataSpec(name, options.train_size, valid, options.test_size, dataset.fingerprint)


def read_models(options: Tasks, dataset: Dataset, command: str) -> list[str]:
    """Return the networks the options ask for on a data set."""
    of_images = DEFAULT_MODELS[command]
    default = of_images if dataset.is_image else DEFAULT_MODELS.get(f"{command} of tables", of_images)
    return listed(default if options.models is None else options.models, "--models")


def read_noises(options: Tasks, name: str, dataset: Dataset, command: str) -> list[str]:
    """Return the noises asked for on a data set; without --noise a user's own labels are taken as they come."""
    default = "given" if is_own(name, dataset) else DEFAULT_NOISE[command]
    noises = listed(default if options.noise is None else options.noise, "--noise")
    return [str(NoiseSpec.parse(noise)) for noise in noises]


def read_protocols(options: Training, dataset: Dataset, sweep: bool) -> list[TrainingProtocol]:
    """Return the protocols the options ask for on a data set: one for each learning rate that is no factor."""
    preset = options.protocol or ("digits" if len(dataset.x_train) <= 2000 else "shallow")
    changes = {name: value for name in CHANGES if (value := getattr(options, name)) is not None}
    if options.patience is not None:
        changes["patience_at_chance"] = options.patience
    rates = [] if options.lr is None else split_learning_rates(options.lr, sweep)[0]
    base = suited(create_protocol(preset), dataset.name)
    protocols = [base.but(**changes, lr=rate) for rate in rates or [base.lr]]
    for protocol in protocols:
        check_augment(protocol.augment, dataset.name, dataset.is_image)
    return protocols


def matching(tasks: Sequence[Task], patterns: Sequence[str]) -> tuple[Task, ...]:
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
    return tuple(task for task in tasks if task in chosen)


def check_tasks(tasks: Sequence[Task], datasets: Mapping[str, Dataset], allow_hopeless: bool) -> None:
    """Raise the error of sizes, a model or a noise that do not fit a data set now, before anything is trained."""
    for spec, noise in dict.fromkeys((task.dataset, task.noise) for task in tasks):
        make_splits(datasets[spec.name], spec, noise, allow_hopeless=allow_hopeless)
    for name, model in dict.fromkeys((task.dataset.name, task.model) for task in tasks):
        dataset = datasets[name]
        build_model(model, tuple(dataset.x_train.shape[1:]), dataset.num_classes, seed=0)


def class_counts(datasets: Mapping[str, Dataset]) -> dict[str, int]:
    """Return the number of classes of each data set, by name."""
    return {name: dataset.num_classes for name, dataset in datasets.items()}
