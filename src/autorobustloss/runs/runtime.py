"""Where and how jobs run, as one value: it changes no number beyond rounding, and every result notes it."""

from __future__ import annotations

import os
from dataclasses import dataclass

from autorobustloss.errors import ConfigError


@dataclass(frozen=True)
class Runtime:
    """What runs the jobs.

    device: "cpu" or "cuda".
    workers: processes; None, which becomes a number here, for one per usable core, or for one on a GPU.
    exact: leave out what this library adds to the differences between machines: the compiled loss (`losses.kernel`),
        which is not the same, or not there, everywhere, and the rule that numbers below 10⁻³⁸ count as 0.
    cohorts: train jobs that differ in their Taylor loss only at once (see `runs.cohort`), which agrees with training
        them alone to rounding; `exact` then holds for the jobs that stay alone.

    Raises ConfigError for another device, and for more workers than could be meant.

    >>> Runtime(workers=2)
    Runtime(device='cpu', workers=2, exact=False, cohorts=False)
    """

    device: str = "cpu"
    workers: int = None  # type: ignore[assignment]
    exact: bool = False
    cohorts: bool = False

    def __post_init__(self) -> None:
        if self.device not in ("cpu", "cuda"):
            raise ConfigError(f"got device {self.device!r}, expected cpu or cuda")
        if self.workers is None:
            object.__setattr__(self, "workers", 1 if self.device == "cuda" else usable_cores())
        most = max(64, 8 * usable_cores())
        if not 1 <= self.workers <= most:
            raise ConfigError(
                f"got {self.workers} workers, expected 1 to {most}; more than {usable_cores()} gain nothing"
            )


def usable_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
