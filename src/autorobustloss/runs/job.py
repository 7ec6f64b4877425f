"""A job: the frozen spec of one training run, and its key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any

from autorobustloss.data import DataSpec
from autorobustloss.errors import ConfigError
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.noise import NoiseSpec
from autorobustloss.runs.strict import plain, read
from autorobustloss.training.protocol import TrainingProtocol

TRAINING_VERSION = 2
"""Raised whenever the same spec would train to other numbers, so that stored results are never mixed.

What agrees to rounding is no such change: who runs a job may choose (see `runs.executors`), and processors differ by as
much. A changed default of a field of `Job`, `Task`, `DataSpec` or `TrainingProtocol` is such a change, a new field is
not.
"""

EVALUATIONS = ("valid_clean", "valid_noisy", "test")


@dataclass(frozen=True)
class Task:
    """What is to be learnt: a data set, its label noise, a network, a training protocol.

    noise is a text such as "sym:0.8" (see `autorobustloss.noise`), model a registered name.
    """

    dataset: DataSpec
    noise: str
    model: str
    protocol: TrainingProtocol = field(default_factory=TrainingProtocol)

    def __post_init__(self) -> None:
        # The canonical text, so that "sym:0.8" and "symmetric:0.80" are one task.
        object.__setattr__(self, "noise", str(NoiseSpec.parse(self.noise)))

    @property
    def label(self) -> str:
        """A short name for tables and progress."""
        return f"{self.dataset.name}/{self.model}/{NoiseSpec.parse(self.noise).label}"


@dataclass(frozen=True)
class Job:
    """One training run: a task, a method, and the seeds of split, noise and training.

    `evaluate` lists the splits that are scored after an epoch; a search leaves "test" out. With `predict` the result
    keeps what the trained network says of each test sample.

    >>> job = Job(Task(DataSpec("digits"), "sym:0.4", "mlp2"), MethodSpec.of("gce", q=0.5), seed=3)
    >>> job.label
    'gce(q=0.5) on digits/mlp2/sym:0.4, seeds 0/0/3'
    >>> Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job
    True
    """

    task: Task
    method: MethodSpec
    split_seed: int = 0
    noise_seed: int = 0
    seed: int = 0
    evaluate: tuple[str, ...] = EVALUATIONS
    predict: bool = field(default=False, metadata={"added": True})

    def __post_init__(self) -> None:
        if not set(self.evaluate) <= set(EVALUATIONS):
            raise ConfigError(f"job: got evaluate={self.evaluate!r}, expected some of {', '.join(EVALUATIONS)}")
        object.__setattr__(self, "evaluate", tuple(s for s in EVALUATIONS if s in self.evaluate))
        for name in ("split_seed", "noise_seed", "seed"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ConfigError(f"job: got {name}={value!r}, expected a whole number")

    @property
    def label(self) -> str:
        """The job in one line: method, task, seeds of split, noise and training."""
        return f"{self.method.label} on {self.task.label}, seeds {self.split_seed}/{self.noise_seed}/{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON types."""
        return dict(plain(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Job:
        """Read what `to_dict` wrote, now or before a field was added; an unknown field is a ConfigError."""
        return read("job", cls, values)

    @cached_property
    def key(self) -> str:
        """SHA-256 of the canonical JSON of the spec and of the version of the training semantics.

        Jobs have equal keys exactly if they are equal.
        """
        spec = {"job": _canonical(self), "training_version": TRAINING_VERSION}
        try:
            text = json.dumps(spec, sort_keys=True, allow_nan=False)
        except ValueError:
            raise ConfigError(f"job {self.label}: got a number that is not finite, expected finite ones") from None
        return hashlib.sha256(text.encode()).hexdigest()


def _canonical(value: Any) -> Any:
    """Return the JSON that is hashed: fields at their default are left out, whole floats and booleans are integers.

    So a field that is added later, with a default that keeps the numbers, keeps the keys; and 1, 1.0 and True, which
    Python and the dataclasses take as equal, are one key.
    """
    if is_dataclass(value):
        return {f.name: _canonical(v) for f in fields(value) if (v := getattr(value, f.name)) != f.default}
    if isinstance(value, (list, tuple)):
        return [_canonical(v) for v in value]
    whole = isinstance(value, bool) or (isinstance(value, float) and value.is_integer())
    return int(value) if whole else value
