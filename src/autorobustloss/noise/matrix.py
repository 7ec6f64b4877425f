"""Noise by any transition matrix, written out or from a file."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from autorobustloss.errors import ConfigError, DataError
from autorobustloss.noise.base import NOISES, NoiseSpec, Rows
from autorobustloss.reading import read_npy, read_text, reading

SUFFIXES = (".json", ".csv", ".txt", ".npy")


@NOISES.register("matrix")
@dataclass(frozen=True)
class Matrix(NoiseSpec):
    """Any row-stochastic matrix: nested numbers, their JSON text, or a file of them."""

    matrix: Any
    kind = "matrix"

    def __post_init__(self) -> None:
        rows, source = self.matrix, "matrix"
        if isinstance(rows, str) and rows.strip().startswith("["):
            with reading("noise 'matrix'", "is no JSON", "expected e.g. matrix:[[0.9,0.1],[0.2,0.8]]", ConfigError):
                rows = json.loads(rows)
        elif isinstance(rows, str):
            rows, source = _read(rows.strip()), rows.strip()
        object.__setattr__(self, "matrix", check_matrix(rows, source))

    def __str__(self) -> str:
        return "matrix:" + json.dumps(self.matrix, separators=(",", ":"))

    @property
    def label(self) -> str:
        """The size and a digest of the numbers."""
        digest = hashlib.sha256(str(self).encode()).hexdigest()[:6]
        return f"matrix({len(self.matrix)}x{len(self.matrix)},{digest})"

    def rows(self, num_classes: int, dataset: str) -> Rows:
        """Return the matrix; ConfigError if it is of another number of classes."""
        if len(self.matrix) != num_classes:
            raise ConfigError(f"noise {self.label}: the data set has {num_classes} classes, expected that many rows")
        return [[value / sum(row) for value in row] for row in self.matrix]


def check_matrix(rows: Any, source: str) -> tuple[tuple[float, ...], ...]:
    """Return `rows` as a tuple of tuples; ConfigError naming the offending row unless square and row-stochastic."""
    with reading(source, "is no matrix", "expected rows of numbers, all of one length", ConfigError):
        values = np.array(rows, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 2:
        raise ConfigError(f"{source}: got shape {values.shape}, expected a square matrix T[true, noisy], 2x2 or larger")
    right = (values >= 0).all(1) & (np.abs(values.sum(1) - 1) <= 1e-6)
    if not right.all():
        i = int(right.argmin())
        raise ConfigError(
            f"{source}: row {i} is {values[i].tolist()!r:.100} with sum {values[i].sum():.6g}, expected probabilities "
            "that sum to 1 (row = true class, column = noisy class; if the columns sum to 1, transpose the matrix)"
        )
    return tuple(tuple(row) for row in values.tolist())


def _read(path: str) -> Any:
    suffix, remedy = os.path.splitext(path)[1].lower(), "expected rows of numbers"
    if suffix not in SUFFIXES or not os.path.isfile(path):
        raise DataError(f"{path}: no such file, or none of {', '.join(SUFFIXES)}; expected a transition matrix")
    with reading(path, "cannot be read as a matrix", remedy):
        if suffix == ".npy":
            with open(path, "rb") as file:
                return read_npy(path, file, os.path.getsize(path)).tolist()
        text = read_text(path, remedy)
        if suffix == ".json":
            return json.loads(text)
        return [[float(v) for v in line.replace(",", " ").split()] for line in text.splitlines() if line.strip()]
