"""Where trainings run and their outcome goes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from autorobustloss.cli.options.shared import Common, InFolder
from autorobustloss.cli.progress import JobProgress, SearchProgress
from autorobustloss.cli.tasks import class_counts
from autorobustloss.cli.terminal import warned_only
from autorobustloss.data import Dataset
from autorobustloss.errors import ConfigError
from autorobustloss.escape import visible
from autorobustloss.runs import Executor, executor_for
from autorobustloss.runs.run_folder import RunFolder
from autorobustloss.runs.runtime import Runtime, usable_cores
from autorobustloss.search import SearchConfig, SearchOutcome, run_search
from autorobustloss.search.card import card_name, make_card


def make_executor(
    options: Common, datasets: Mapping[str, Dataset], jobs: int | None = None, cohort: str = "off"
) -> Executor:
    """Return the executor the options ask for, with no more workers than jobs.

    cohort: whether jobs that can be are trained at once, "on", "off", or "auto" for: on a GPU.
    """
    device = choose_device(options.device)
    workers = options.workers
    if workers is None:
        workers = 1 if device == "cuda" else min(usable_cores(), jobs or usable_cores())
    cohorts = cohort == "on" or (cohort == "auto" and device == "cuda")
    if options.exact and cohorts:
        raise ConfigError("got --exact and --cohort on, which is exact to rounding only; leave out one of them")
    return executor_for(datasets, Runtime(device, workers, options.exact, cohorts))


def choose_device(name: str) -> str:
    """Return "cpu" or "cuda" for the option --device."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("got --device cuda, but PyTorch finds no GPU; try --device cpu")
    return "cuda" if name != "cpu" and available else "cpu"


@contextmanager
def at_work(
    options: InFolder,
    datasets: Mapping[str, Dataset],
    settings: Mapping[str, Any],
    name: str,
    within: str = "",
    jobs: int | None = None,
    cohort: str = "off",
) -> Iterator[tuple[RunFolder, Executor]]:
    """Open the run folder of these settings, in the folder `within` of --out where that is given, and who trains."""
    path = Path(options.out) / within if options.out else default_folder(settings, name)
    with (
        make_executor(options, datasets, jobs, cohort) as executor,
        RunFolder(path, settings, options.store) as folder,
    ):
        yield folder, executor


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


def searched(
    config: SearchConfig, datasets: Mapping[str, Dataset], folder: RunFolder, executor: Executor, progress: JobProgress
) -> SearchOutcome:
    """Search a loss and write its card into the run folder."""
    reporter = SearchProgress(progress, config)
    outcome = run_search(config, class_counts(datasets), folder.store, executor, reporter)
    folder.write("loss.json", make_card(config, outcome, name=card_name(folder.path)).to_json())
    return outcome


def show_and_draw(show: Callable[[], None], draw: Callable[[], Path], drawn: str, as_json: bool) -> None:
    """Print an outcome, then draw its pictures; where they are is said as `drawn`: "picture" or "with pictures"."""
    try:
        show()
    finally:  # whoever reads the output may have gone; pictures are for later
        path = warned_only(f"no {drawn.removeprefix('with ')}", draw)
    if path and not as_json:
        print(f"\n{drawn}: {visible(str(path))}")
