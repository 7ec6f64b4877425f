"""Curves of a benchmark as data: accuracy by epoch, and by noise rate, of each method on each task."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import msgspec
import numpy as np

from autorobustloss.benchmark.cells import accuracy, method_names, task_names
from autorobustloss.benchmark.grid import Entry
from autorobustloss.benchmark.ranking import Number
from autorobustloss.errors import ConfigError
from autorobustloss.methods import MethodSpec
from autorobustloss.noise import NoiseSpec
from autorobustloss.runs import Result, Task

Scored = tuple[Entry, Result, str, str]
"""A place in a table, the result that belongs there, and what the table calls the method and the task."""
Panels = Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]]
"""Panel -> method -> place on the x axis, in order -> accuracies in [0, 1], one per seed."""

SHOWN = {
    "valid_noisy": "noisy validation labels",
    "test": "test",
    "train_accuracy": "training fit",
    "sweep": "test, by noise rate",
}
"""What curves there are, by how they are called: accuracy on which labels, by epoch unless said otherwise."""
LONGEST = 100
"""Points of a curve; of a longer one every second, third, … is kept, and the last."""
Numbers = Annotated[tuple[Number, ...], msgspec.Meta(max_length=2 * LONGEST)]


@dataclass(frozen=True)
class Curve:
    """One method in a panel: its mean over seeds at each place on the x axis, in [0, 1], and the standard error.

    error is 0 where there is a single seed.
    """

    method: str
    x: Numbers
    mean: Numbers
    error: Numbers


@dataclass(frozen=True)
class Panel:
    """What belongs in one pair of axes: `title` is the task (or setting), `of` one of `SHOWN`."""

    title: str
    of: str
    curves: tuple[Curve, ...]


def scored(entries: Sequence[Entry], results: Mapping[str, Result], names: Mapping[MethodSpec, str]) -> list[Scored]:
    """Return what has a result, of one variant per cell: the task's own learning rate, else the first."""
    methods = list(dict.fromkeys(entry.method for entry in entries))
    tasks = list(dict.fromkeys(entry.task for entry in entries))
    called, titles = dict(zip(methods, method_names(methods, names))), dict(zip(tasks, task_names(tasks)))
    shown: dict[tuple[MethodSpec, Task], str] = {}
    for entry in entries:
        if entry.variant == "lr×1" or (entry.method, entry.task) not in shown:
            shown[entry.method, entry.task] = entry.variant
    return [
        (entry, results[entry.job.key], called[entry.method], titles[entry.task])
        for entry in entries
        if entry.job.key in results and entry.variant == shown[entry.method, entry.task]
    ]


def curve_panels(found: Iterable[Scored], split: str = "test") -> Panels:
    """Return task -> method -> epoch -> accuracies on a split, or in training, one per seed that got so far."""
    panels = _nested()
    for _, result, name, title in found:
        history = result.history
        epochs = range(1, len(history.train_accuracy) + 1) if split == "train_accuracy" else history.epochs
        for epoch, value in zip(epochs, getattr(history, split)):
            panels[title][name][epoch].append(value)
    return panels


def sweep_panels(found: Iterable[Scored]) -> Panels:
    """Return setting -> method -> noise rate -> accuracies, one per seed, where three rates or more were tried.

    A setting is a data set, a network and a kind of noise; clean labels are rate 0 of every kind.
    """
    points = _nested()
    for entry, result, name, _ in found:
        noise, task = NoiseSpec.parse(entry.task.noise), entry.task
        points[task.dataset.name, task.model, noise.kind][name][noise.rate].append(accuracy(result, "last"))
    panels = {}
    for (data, model, kind), methods in points.items():
        clean = points.get((data, model, "clean"), {})
        swept = {name: {**clean.get(name, {}), **rates} for name, rates in methods.items() if kind != "clean"}
        if shown := {name: dict(sorted(rates.items())) for name, rates in swept.items() if len(rates) >= 3}:
            panels[f"{data}/{model}/{kind}"] = shown
    return panels


def curves(found: Sequence[Scored]) -> list[Panel]:
    """Return all panels there are, task by task."""
    panels = {kind: curve_panels(found, kind) for kind in SHOWN if kind != "sweep"}
    panels["sweep"] = sweep_panels(found)
    titles = dict.fromkeys(title for kind in panels for title in panels[kind])
    return [
        Panel(title, kind, tuple(_curve(name, points) for name, points in panels[kind][title].items()))
        for title in titles
        for kind in SHOWN
        if title in panels[kind]
    ]


def to_json(panels: Sequence[Panel]) -> str:
    """Return panels as JSON, a file of a run folder: curves.json."""
    return msgspec.json.encode({"panels": [asdict(panel) for panel in panels]}).decode() + "\n"


def from_dict(content: Mapping[str, Any]) -> list[Panel]:
    """Read what `to_json` wrote; anything else is a ConfigError."""
    try:
        panels: list[Panel] = msgspec.convert(content["panels"], list[Panel])
        for panel in panels:
            if panel.of not in SHOWN:
                raise ValueError(f"panel of {panel.of!r:.80}")
            for curve in panel.curves:
                if not len(curve.x) == len(curve.mean) == len(curve.error) or list(curve.x) != sorted(set(curve.x)):
                    raise ValueError(f"curve of {curve.method!r:.80}: its numbers do not fit each other")
    except (msgspec.MsgspecError, ValueError, KeyError) as error:
        raise ConfigError(f"got curves that do not read ({error}), expected what this library writes") from None
    return panels


def _curve(name: str, points: Mapping[float, Sequence[float]]) -> Curve:
    step = math.ceil(len(points) / LONGEST)
    kept = [x for place, x in enumerate(points) if place % step == 0 or place == len(points) - 1]
    errors = [np.std(points[x], ddof=1) / math.sqrt(len(points[x])) if len(points[x]) > 1 else 0.0 for x in kept]
    means = [np.mean(points[x]) for x in kept]
    return Curve(name, tuple(kept), *(tuple(round(float(v), 4) for v in values) for values in (means, errors)))


def _nested() -> dict[Any, dict[str, dict[float, list[float]]]]:
    return defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
