"""Where trainings run and their outcome goes."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from autorobustloss.cli.options.shared import Common, InFolder
from autorobustloss.cli.progress import JobProgress, SearchProgress
from autorobustloss.cli.terminal import ending, stop_if_interrupted, warn
from autorobustloss.data import Dataset
from autorobustloss.errors import ConfigError
from autorobustloss.escape import visible
from autorobustloss.paper.experiments import EXPERIMENTS
from autorobustloss.runs import Executor, executor_for
from autorobustloss.runs.run_folder import COMMAND, RunFolder
from autorobustloss.runs.runtime import Runtime
from autorobustloss.search import SearchConfig, SearchOutcome, run_search
from autorobustloss.search.card import card_name, make_card

NOT_OF_A_RUN = ("config", "json", "quiet")
"""Options that say how a command is asked or what it prints, not what is run."""


def make_executor(options: Common, datasets: Mapping[str, Dataset], jobs: int) -> Executor:
    """Return the executor the options ask for; one job is run in this process."""
    local, gpus = options.executor == "local", options.gpus_per_worker
    if local and gpus is not None:
        raise ConfigError(f"got --gpus-per-worker {gpus} without a cluster; add --executor ray, or leave it out")
    if gpus is None:
        gpus = 1.0 if options.device == "cuda" else 0.0
    gpu = options.device != "cpu" and torch.cuda.is_available() if local else gpus > 0
    if local and options.device == "cuda" and not gpu:
        raise ConfigError("got --device cuda, but PyTorch finds no GPU; try --device cpu")
    if not local and options.device == "cpu" and gpu:
        raise ConfigError(f"got --device cpu with --gpus-per-worker {gpus}; leave out one of them")
    cohorts = options.cohort == "on" or (options.cohort == "auto" and gpu)
    if options.exact and cohorts:
        raise ConfigError("got --exact and --cohort on, which is exact to rounding only; leave out one of them")
    # Of a cluster, the workers are not this machine's; here None becomes a number in `Runtime`.
    workers: int = (1 if options.workers is None and jobs == 1 else options.workers) if local else 1  # type: ignore[assignment]
    runtime = Runtime("cuda" if gpu else "cpu", workers, options.exact, cohorts)
    return executor_for(datasets, runtime, options.executor, options.workers, gpus)


@contextmanager
def at_work(
    options: InFolder, data: Mapping[str, Dataset], settings: Mapping[str, Any], name: str, jobs: int, part: str = ""
) -> Iterator[tuple[RunFolder, Executor, JobProgress]]:
    """Open the run folder of these settings, in the folder `part` of --out where that is given, and who trains."""
    path = Path(options.out) / part if options.out else default_folder(settings, name)
    with (
        make_executor(options, data, jobs) as executor,
        RunFolder(path, settings, options.store) as folder,
        JobProgress(jobs, name, options.quiet, executor) as progress,
    ):
        if words := command_line(options, settings):
            folder.write(COMMAND, words + "\n")
        yield folder, executor, progress


def default_folder(settings: Mapping[str, Any], what: str) -> Path:
    """Return runs/NAME: what was run on which data, in short and plain signs, and a hash of the other settings.

    >>> default_folder({"tasks": [{"dataset": {"name": "data/cost_$1 *.npz"}}]}, "bench").name
    'bench-cost__1__-4a2d103a'
    """
    stems = {Path(str(task["dataset"]["name"])).stem for task in settings.get("tasks", ())}
    names = {re.sub(r"[^\w.+=\[\]()-]", "_", stem)[:40] for stem in stems}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    return Path("runs") / "-".join([what, *sorted(names)[:3], digest])


def command_line(options: Common, settings: Mapping[str, Any]) -> str:
    """Return the command that asks for these options, whatever file of flags they came from; "" for a part of one.

    >>> from autorobustloss.cli.options.bench import BenchOptions
    >>> command_line(BenchOptions(methods="ce,gce(q=0.5)", seeds=2, match_scale=True), {"command": "bench"})
    "arl bench --methods 'ce,gce(q=0.5)' --seeds 2 --match-scale"
    """
    name = type(options).__module__.rpartition(".")[2]
    if name != settings.get("command"):
        return ""
    presets = [name for name, parts in EXPERIMENTS.items() if settings.get("preset") in [p["name"] for p in parts]]
    words = ["arl", name, *presets]
    for field in fields(options):
        value = getattr(options, field.name)
        if value != field.default and field.name not in NOT_OF_A_RUN:
            flag, text = f"--{field.name.replace('_', '-')}", str(value)
            words += [flag] if value is True else [f"{flag}={text}"] if text.startswith("-") else [flag, text]
    return shlex.join(words)


def searched(
    config: SearchConfig, classes: Mapping[str, int], folder: RunFolder, executor: Executor, progress: JobProgress
) -> SearchOutcome:
    """Search a loss and write its card into the run folder."""
    outcome = run_search(config, classes, folder.store, executor, SearchProgress(progress, config))
    folder.write("loss.json", make_card(config, outcome, name=card_name(folder.path)).to_json())
    return outcome


@contextmanager
def then_drawn(draw: Callable[[], Path], drawn: str, as_json: bool) -> Iterator[None]:
    """Print an outcome inside, then draw its pictures; where they are is said as `drawn`: "picture" or "with pictures".

    Where that fails, it is warned of: it is not worth a result.
    """
    path = None
    try:
        yield
    finally:  # whoever reads the output may have gone; pictures are for later
        try:
            path = draw()
        except Exception as error:
            stop_if_interrupted()
            warn(f"warning: no {drawn.removeprefix('with ')}: {ending(error)[1]}")
    if path and not as_json:
        print(f"\n{drawn}: {visible(str(path))}")
