"""From data in hand to tasks, and from tasks to where they run: what a search and a benchmark in one call share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from autorobustloss.data import Dataset, DataSpec, is_own, known_labels, load_dataset
from autorobustloss.errors import ConfigError
from autorobustloss.runs.choice import executor_for
from autorobustloss.runs.executors import Executor
from autorobustloss.runs.job import Task
from autorobustloss.runs.run_folder import RunFolder
from autorobustloss.runs.runtime import Runtime
from autorobustloss.runs.store import Store
from autorobustloss.training import TrainingProtocol, create_protocol
from autorobustloss.training.protocol import suited

SMALL = 2000
"""Up to so many training samples networks train by the preset "digits", above them by "shallow"."""


@dataclass(frozen=True)
class TaskSet:
    """Tasks, and the data sets that they learn from, by the names that the tasks use."""

    tasks: tuple[Task, ...]
    datasets: Mapping[str, Dataset]

    def __add__(self, other: TaskSet) -> TaskSet:
        """Return the tasks of both, each once."""
        return TaskSet(tuple(dict.fromkeys(self.tasks + other.tasks)), {**self.datasets, **other.datasets})

    @property
    def classes(self) -> dict[str, int]:
        """The number of classes of each data set, by name."""
        return {name: dataset.num_classes for name, dataset in self.datasets.items()}


def make_tasks(
    data: Any,
    *,
    noise: str | Iterable[str] | None = None,
    models: str | Iterable[str] = "mlp2",
    protocol: str | TrainingProtocol | None = None,
    train_size: int = 0,
    valid_size: int | None = None,
    test_size: int = 0,
    data_dir: str | Path | None = None,
    target: str | None = None,
    test_split: float | None = None,
    **changes: Any,
) -> TaskSet:
    """Return the tasks of every combination of data sets, networks and noises.

    data: one of these, or a list of them: the name or path of a data set, a data frame, a `Dataset`, arrays (a mapping
        or tuple of those of `Dataset.from_arrays`), a `Task`, or a `TaskSet`. The last two are taken as they are.
    target: the column of labels, of tables and data frames. test_split: see `load_dataset`.
    noise: by default the labels as they come of data of your own ("given"), and "sym:0.8" of benchmarks.
    protocol: by default "digits" for at most 2,000 training samples, else "shallow"; changes: fields of it.
    valid_size: by default a fifth of the training samples, at most 2,000; 0 for a tenth.

    Raises DataError for data that are not there or do not fit, ConfigError for other slips.

    >>> tasks = make_tasks("digits", noise=["clean", "sym:0.4"], models="linear", epochs=2)
    >>> [task.label for task in tasks.tasks], tasks.classes
    (['digits/linear/clean', 'digits/linear/sym:0.4'], {'digits': 10})
    """
    found = TaskSet((), {})
    for number, item in enumerate(data if isinstance(data, list) else [data]):
        if isinstance(item, TaskSet):
            found += item
            continue
        dataset = _dataset(item, number, data_dir, target, test_split)
        if isinstance(item, Task):
            spec = replace(item.dataset, fingerprint=dataset.fingerprint)
            found += TaskSet((replace(item, dataset=spec),), {spec.name: dataset})
            continue
        name = str(item) if isinstance(item, (str, Path)) else dataset.name
        spec = data_spec(name, dataset, train_size, valid_size, test_size)
        preset = protocol or preset_for(dataset)
        base = create_protocol(preset) if isinstance(preset, str) else preset
        training = suited(base, name).but(**changes)
        noises = noise or ("given" if is_own(name, dataset) else "sym:0.8")
        combined = product(_listed(models), _listed(noises))
        tasks = tuple(Task(spec, labels, model, training) for model, labels in combined)
        found += TaskSet(tasks, {name: dataset})
    return found


def data_spec(name: str, dataset: Dataset, train_size: int, valid_size: int | None, test_size: int) -> DataSpec:
    """Return the spec of a data set; valid_size: None for a fifth of the training samples, at most 2,000."""
    valid = min(len(dataset.x_train) // 5, 2000) if valid_size is None else valid_size
    return DataSpec(name, train_size, valid, test_size, dataset.fingerprint)


def preset_for(dataset: Dataset) -> str:
    """Return the protocol for a data set where none is asked for."""
    return "digits" if len(dataset.x_train) <= SMALL else "shallow"


@contextmanager
def running(
    datasets: Mapping[str, Dataset],
    settings: Mapping[str, Any],
    out: str | Path | None = None,
    workers: int | None = 1,
    device: str = "cpu",
    exact: bool = False,
    executor: str = "local",
) -> Iterator[tuple[Store, Executor, RunFolder | None]]:
    """Give a store, an executor, and the run folder `out` for these settings; without one the store is in memory.

    workers: processes; None for one per core, for which a script needs `if __name__ == "__main__":`. device, exact: see
    `Runtime`. executor: "local", or "ray" and "ray://HOST:PORT", where workers is how many at most, None for all.
    """
    local = executor == "local"
    runtime = Runtime(device, workers if local else 1, exact)  # type: ignore[arg-type]  # None becomes a number there
    with ExitStack() as stack:
        chosen = executor_for(datasets, runtime, executor, None if local else workers)
        running = stack.enter_context(chosen)
        folder = None if out is None else stack.enter_context(RunFolder(out, settings))
        yield folder.store if folder else stack.enter_context(Store(":memory:")), running, folder


def label_sets(tasks: Iterable[Task]) -> Iterable[tuple[str, str]]:
    """Return the data set and noise of each task, each pair once."""
    return dict.fromkeys((task.dataset.name, task.noise) for task in tasks)


def check_labels(tasks: Iterable[Task], datasets: Mapping[str, Dataset], split: str, purpose: str, remedy: str) -> None:
    """Raise ConfigError for a task whose validation labels, "valid_clean" or "valid_noisy", nobody knows."""
    for name, noise in label_sets(tasks):
        if split not in known_labels(datasets[name], noise):
            kind = split.removeprefix("valid_")
            raise ConfigError(
                f"data set {name!r}: under noise {noise!r} it has no {kind} validation labels {purpose}; {remedy}"
            )


def _dataset(
    item: Any, number: int, data_dir: str | Path | None, target: str | None, test_split: float | None
) -> Dataset:
    if isinstance(item, Dataset):
        return item
    if isinstance(item, Mapping):
        return Dataset.from_arrays(**{"name": f"arrays-{number}", **item})
    if isinstance(item, tuple):
        return Dataset.from_arrays(*item, name=f"arrays-{number}")
    if isinstance(item, Task):
        return load_dataset(item.dataset.name, data_dir)
    dataset = load_dataset(item, data_dir, target=target, test_split=test_split)
    return dataset if isinstance(item, (str, Path)) else replace(dataset, name=f"frame-{number}")


def _listed(names: str | Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
