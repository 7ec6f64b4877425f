"""What a job leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from autorobustloss.runs.strict import plain, read
from autorobustloss.training.history import History


@dataclass(frozen=True)
class Result:
    """The curves of one job, and where and how fast they were computed.

    key: the job's key. history: its curves; a run that diverged is a result like any other (`history.stopped`).
    noise_rate: share of training labels that are wrong, None where the true ones are not known.
    wall_time: seconds of training and scoring.
    device: "cpu" or the GPU's name, followed by ", cohort of N" where N jobs were trained at once; their wall time is
        an equal share of it. versions: of python, torch, numpy and autorobustloss.
    peak_memory: largest resident memory of the process so far, bytes; 0 where the system does not tell.
    processor: its name and the instruction set that PyTorch takes on it. blas: what multiplies matrices for NumPy and
        for PyTorch. exact: as in `Runtime`, False for a cohort. workers: how many processes ran jobs beside each other.
        Results of before these were noted have "", None and 0.
    outputs: of a job that predicts, the logits of the test samples as text (see `runs.outputs`), else "".

    Two results of one job agree in `key`, `history`, `noise_rate` and `outputs`; the rest tells their story.
    """

    key: str
    history: History
    noise_rate: float | None
    wall_time: float
    device: str
    host: str
    versions: dict[str, str]
    peak_memory: int = 0
    processor: str = ""
    blas: str = ""
    exact: bool | None = None
    workers: int = 0
    outputs: str = field(default="", metadata={"added": True})

    def to_json(self) -> str:
        """Return the result as one line of JSON; floats keep every bit."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        return dict(plain(self))

    @classmethod
    def from_json(cls, text: str) -> Result:
        """Read what `to_json` wrote; anything else is a ConfigError.

        >>> result = Result("k", History(epochs=[1], test=[0.1]), 0.4, 2.5, "cpu", "here", {"torch": "2.4"})
        >>> Result.from_json(result.to_json()) == result
        True
        """
        return read("result", cls, text)


@dataclass(frozen=True)
class Origin:
    """Where several results were computed: the different values of `Result.processor` and `blas` among them, sorted.

    exact: whether all are; None where some do not tell and none says no.
    """

    processor: tuple[str, ...] = ()
    blas: tuple[str, ...] = ()
    exact: bool | None = None

    @classmethod
    def of(cls, results: Iterable[Result]) -> Origin:
        """Return the origin of results.

        >>> Origin.of([Result("k", History(), None, 1.0, "cpu", "here", {}, processor="Z80", exact=True)])
        Origin(processor=('Z80',), blas=(), exact=True)
        """
        results = list(results)
        exact = {r.exact for r in results}
        return cls(
            processor=tuple(sorted({r.processor for r in results} - {""})),
            blas=tuple(sorted({r.blas for r in results} - {""})),
            exact=False if False in exact else True if exact == {True} else None,
        )
