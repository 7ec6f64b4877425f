"""Which data a job learns from, as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass

from autorobustloss.errors import ConfigError


@dataclass(frozen=True)
class DataSpec:
    """A data set by name and how much of it is used. Part of a job's key.

    name: a registered data set, the stem of an `.npz` in the data directory, or a path.
    train_size, valid_size, test_size: images of each split, drawn stratified and seeded; 0 means all
        (for valid_size: a tenth of the training images, taken out of them).
    fingerprint: SHA-256 of the arrays, filled in when the data are loaded, so that a changed file is another job.
    """

    name: str
    train_size: int = 0
    valid_size: int = 0
    test_size: int = 0
    fingerprint: str = ""

    def __post_init__(self) -> None:
        for field in ("train_size", "valid_size", "test_size"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 0:
                raise ConfigError(f"data set {self.name!r}: got {field}={value!r}, expected a whole number, 0 for all")
