"""What is known of the labels of the tasks: said aloud of data of the user's own, and checked before any training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from autorobustloss.cli.options.shared import Common
from autorobustloss.cli.streams import warn
from autorobustloss.data import Dataset, is_own, known_labels, truth_known
from autorobustloss.errors import ConfigError
from autorobustloss.escape import visible
from autorobustloss.methods.registry import Informed
from autorobustloss.methods.run import create_procedure
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.noise import NoiseSpec
from autorobustloss.registry import METHODS
from autorobustloss.runs.job import Task


def label_notes(tasks: Iterable[Task], datasets: Mapping[str, Dataset]) -> list[str]:
    """Return in a sentence each what the labels are that data of the user's own are learnt from."""
    return [
        f"{name}: {_in_words(datasets[name], NoiseSpec.parse(noise))}"
        for name, noise in _label_sets(tasks)
        if is_own(name, datasets[name])
    ]


def tell_labels(notes: Iterable[str], options: Common) -> None:
    """Say what the labels are; not to who wants quiet and said that all are right."""
    if not (options.quiet and options.noise == "clean"):
        tell(notes)


def tell(lines: Iterable[str]) -> None:
    """Say on standard error what is no progress and should not be missed."""
    for line in lines:
        warn(visible(line))


def check_labels(tasks: Iterable[Task], datasets: Mapping[str, Dataset], split: str, purpose: str, remedy: str) -> None:
    """Raise ConfigError for a task whose validation labels, "valid_clean" or "valid_noisy", nobody knows."""
    for name, noise in _label_sets(tasks):
        if split not in known_labels(datasets[name], noise):
            kind = split.removeprefix("valid_")
            raise ConfigError(
                f"data set {name!r}: under noise {noise!r} it has no {kind} validation labels {purpose}; {remedy}"
            )


def check_methods(methods: Iterable[MethodSpec], tasks: Iterable[Task], datasets: Mapping[str, Dataset]) -> None:
    """Raise the ConfigError of a method that needs to know more of the labels than anybody does."""
    informed = [p for m in methods if m.name in METHODS and isinstance(p := create_procedure(m), Informed)]
    for name, noise in _label_sets(tasks):
        known = set(known_labels(datasets[name], noise))
        if truth_known(datasets[name], noise):
            known |= {"noise_rate", "noise_matrix"}
        for procedure in informed:
            try:
                procedure.check(known)
            except ConfigError as error:
                raise ConfigError(f"data set {name!r}: {error}") from None


def _label_sets(tasks: Iterable[Task]) -> Iterable[tuple[str, str]]:
    return dict.fromkeys((task.dataset.name, task.noise) for task in tasks)


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
