"""What is in the JSON of each command, as types, of which `arl schema` prints the JSON Schema."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from autorobustloss.benchmark import Table
from autorobustloss.cli.json_output import Named
from autorobustloss.errors import unknown_name
from autorobustloss.runs import Job, Result
from autorobustloss.search.search import Generation

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Trained:
    """A training: what was asked for, and what came of it."""

    job: Job
    result: Result


@dataclass(frozen=True)
class Shown:
    """A loss: its properties by name, null where one is not a number; card: of a learned loss, else null."""

    loss: str
    properties: dict[str, float | None]
    card: dict[str, Any] | None


@dataclass(frozen=True)
class Found:
    """The outcome of a search.

    folder: the run folder. loss: the hyper-parameters of the learned loss. origin: "mean" or "best", which finalist it
    is. fitness: its accuracy on validation labels, `fitness_on` which of them. labels: what they are, in sentences.
    finalists: accuracy by origin, null where one diverged. table: the comparison on the test split, null without one.
    """

    folder: str
    loss: Mapping[str, Any]
    origin: str
    fitness: float | None
    fitness_on: str
    labels: list[str]
    finalists: dict[str, float | None]
    generations: tuple[Generation, ...]
    table: Table | None


@dataclass(frozen=True)
class Judged:
    """A sample, its label and what networks that have not seen it say. wrong: 1 if the label is taken for wrong, or 0.

    quality: the probability of the given label; confidence: that of the suggested one.
    """

    sample: str
    given: str
    suggested: str
    wrong: int
    quality: float
    confidence: float


@dataclass(frozen=True)
class Examined:
    """Labels that look wrong: how many, and every sample, the most suspicious first.

    noise_matrix: T[true, noisy] as estimated. precision, recall, auc: of finding the wrong ones, null where the right
    labels are not known.
    """

    wrong: int
    noise_rate: float
    noise_matrix: list[list[float]]
    labels: list[Judged]
    precision: float | None = None
    recall: float | None = None
    auc: float | None = None


OUTCOMES: Mapping[str, tuple[str, Any]] = {
    "list": ("what can be named, sorted", list[Named]),
    "losses list": ("the losses, sorted", list[Named]),
    "losses show": ("one loss; of several a list", Shown | list[Shown]),
    "train": ("a training of each loss on each task", list[Trained]),
    "bench": ("a table for each view: published, matched, tuned", dict[str, Table]),
    "bench TABLE": ("a table or figure of the paper: a line for each experiment", Table),
    "search": ("the learned loss, and how it was found", Found),
    "labels": ("how many labels look wrong, and which", Examined),
}
"""What each command prints with --json, in words and as a type."""


def schema(command: str) -> dict[str, Any]:
    """Return the JSON Schema of what a command prints with --json."""
    if command not in OUTCOMES:
        raise unknown_name("command", command, OUTCOMES)
    about, kind = OUTCOMES[command]
    found = msgspec.json.decode(msgspec.json.encode(msgspec.json.schema(kind)))
    for definition in found.get("$defs", {}).values():
        definition["description"] = inspect.cleandoc(definition.get("description", "").partition(">>>")[0])
    return {"$schema": DIALECT, "title": f"arl {command} --json: {about}", **found}
