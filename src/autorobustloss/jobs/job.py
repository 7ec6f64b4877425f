"""A job: the frozen spec of one training run, and its key."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from autorobustloss.data.spec import DataSpec
from autorobustloss.errors import ConfigError
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.training.protocol import Protocol

TRAINING_VERSION = 1
"""Raised whenever the same spec would train to other numbers, so that stored results are never mixed."""

EVALUATIONS = ("valid_clean", "valid_noisy", "test")


@dataclass(frozen=True)
class Task:
    """What is to be learnt: a data set, its label noise, a network, a training protocol.

    noise is a text such as "sym:0.8" (see `autorobustloss.noise`), model a registered name.
    """

    dataset: DataSpec
    noise: str
    model: str
    protocol: Protocol = field(default_factory=Protocol)

    @property
    def label(self) -> str:
        """A short name for tables and progress."""
        return f"{self.dataset.name}/{self.model}/{self.noise}"


@dataclass(frozen=True)
class Job:
    """One training run: a task, a method, and the seeds of split, noise and training.

    `evaluate` lists the splits that are scored after an epoch; a search leaves "test" out.
    """

    task: Task
    method: MethodSpec
    split_seed: int = 0
    noise_seed: int = 0
    seed: int = 0
    evaluate: tuple[str, ...] = EVALUATIONS

    def __post_init__(self) -> None:
        for split in self.evaluate:
            if split not in EVALUATIONS:
                raise ConfigError(f"job: got evaluate={self.evaluate!r}, expected some of {', '.join(EVALUATIONS)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON types."""
        return asdict(self)

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON of the spec and of the version of the training semantics."""
        text = json.dumps(
            {"job": self.to_dict(), "training_version": TRAINING_VERSION}, sort_keys=True, allow_nan=False
        )
        return hashlib.sha256(text.encode()).hexdigest()
