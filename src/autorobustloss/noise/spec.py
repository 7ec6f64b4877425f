"""Label noise as a frozen value with one canonical text, and the registry of its kinds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autorobustloss.errors import ConfigError, DataError
from autorobustloss.registry import Registry

Matrix = tuple[tuple[float, ...], ...]

NOISES: Registry[NoiseSpec] = Registry("noise")

HUMAN_LABELS = ("aggre", "random1", "random2", "random3", "worse", "noisy")
"""Label sets of CIFAR-10N (the first five) and CIFAR-100N (`noisy`), Wei et al. 2022."""


@dataclass(frozen=True)
class NoiseSpec:
    """How labels are corrupted; `str(spec)` is its canonical text, which `parse` reads back.

    clean                the labels as they are
    sym:RATE             symmetric: to each other class with probability RATE/(C-1)
    pair:RATE            pair flip: class y to class y+1 mod C
    map:RATE[:legacy]    the data set's class map; `legacy` reproduces a published defect (see `classmaps`)
    idn:RATE             instance-dependent (Xia et al. 2020): the flip depends on the features of the sample
    matrix:FILE          any row-stochastic matrix `T[true, noisy]` from .json, .csv, .txt or .npy, or written out as
                         matrix:[[0.9,0.1],[0.2,0.8]]; the canonical text holds the numbers, not the file
    human:NAME           human labels of CIFAR-10N (aggre, random1, random2, random3, worse) or CIFAR-100N (noisy)
    given                the noisy labels that a data set comes with

    >>> NoiseSpec.parse("sym:0.80")
    NoiseSpec(kind='sym', rate=0.8, legacy=False, labels='', matrix=())
    >>> str(NoiseSpec.parse("map:4e-1:legacy")), str(NoiseSpec.parse("pair:0"))
    ('map:0.4:legacy', 'clean')
    """

    kind: str = "clean"
    rate: float = 0.0
    legacy: bool = False
    labels: str = ""
    matrix: Matrix = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", NOISES.resolve(self.kind))
        if not 0 <= self.rate <= 1:
            percent = f"; {self.rate:g} % is {self.rate / 100:g}" if 1 < self.rate <= 100 else ""
            raise ConfigError(f"noise {self.kind!r}: got rate {self.rate!r}, expected a number in [0, 1]{percent}")
        if self.kind == "matrix":
            object.__setattr__(self, "matrix", check_matrix(self.matrix, "matrix"))

    @classmethod
    def parse(cls, text: str | NoiseSpec) -> NoiseSpec:
        """Read a noise text; a spec passes through. Raises ConfigError, or DataError for a broken matrix file."""
        if isinstance(text, NoiseSpec):
            return text
        kind, colon, rest = text.strip().partition(":")
        # A matrix argument may hold colons of its own: a drive letter.
        arguments = [] if not colon else [rest] if kind == "matrix" else rest.split(":")
        return NOISES.create(kind.strip(), *arguments)

    def __str__(self) -> str:
        if self.kind == "matrix":
            return "matrix:" + json.dumps(self.matrix, separators=(",", ":"))
        parts = [self.kind]
        if self.kind in ("sym", "pair", "map", "idn"):
            parts.append(repr(self.rate))
        if self.legacy:
            parts.append("legacy")
        if self.labels:
            parts.append(self.labels)
        return ":".join(parts)

    @property
    def label(self) -> str:
        """A short name for tables and file names: the text, with a digest in place of a matrix's numbers."""
        if self.kind != "matrix":
            return str(self)
        digest = hashlib.sha256(str(self).encode()).hexdigest()[:6]
        return f"matrix({len(self.matrix)}x{len(self.matrix)},{digest})"


def create_noise(name: str, **parameters: Any) -> NoiseSpec:
    """Build a spec from a kind and keywords.

    >>> str(create_noise("sym", rate=0.4))
    'sym:0.4'
    """
    return NOISES.create(name, **parameters)


def list_noises() -> list[str]:
    """Return the kinds of noise, sorted."""
    return NOISES.names()


@NOISES.register("clean", "none")
def clean() -> NoiseSpec:
    """No corruption."""
    return NoiseSpec()


@NOISES.register("given")
def given() -> NoiseSpec:
    """The noisy labels that a data set comes with."""
    return NoiseSpec("given")


@NOISES.register("sym", "symmetric")
def symmetric(rate: float | str) -> NoiseSpec:
    """To each other class with probability rate/(C-1)."""
    return _with_rate("sym", rate)


@NOISES.register("pair", "pairflip")
def pair(rate: float | str) -> NoiseSpec:
    """Class y to class (y+1) mod C with probability rate."""
    return _with_rate("pair", rate)


@NOISES.register("map")
def class_mapped(rate: float | str, legacy: bool | str = False) -> NoiseSpec:
    """Along the data set's class map with probability rate."""
    if legacy not in (False, True, "legacy"):
        raise ConfigError(f"noise 'map': got option {legacy!r}, expected map:RATE or map:RATE:legacy")
    spec = _with_rate("map", rate)
    return NoiseSpec("map", spec.rate, legacy=bool(legacy)) if spec.rate else spec


@NOISES.register("idn", "instance")
def instance(rate: float | str) -> NoiseSpec:
    """Instance-dependent flips (Xia et al. 2020) with mean rate near `rate`."""
    return _with_rate("idn", rate)


@NOISES.register("human")
def human(labels: str) -> NoiseSpec:
    """Human labels of CIFAR-10N or CIFAR-100N, by name."""
    if labels not in HUMAN_LABELS:
        raise ConfigError(f"noise human:{labels}: expected one of {', '.join(HUMAN_LABELS)}, as in human:worse")
    return NoiseSpec("human", labels=labels)


@NOISES.register("matrix")
def matrix(matrix: str | Sequence[Sequence[float]]) -> NoiseSpec:
    """Any row-stochastic matrix: nested numbers, their JSON text, or a file of them."""
    if not isinstance(matrix, str):
        return NoiseSpec("matrix", matrix=check_matrix(matrix, "matrix"))
    text = matrix.strip()
    if text.startswith("["):
        try:
            return NoiseSpec("matrix", matrix=check_matrix(json.loads(text), "matrix"))
        except json.JSONDecodeError as error:
            raise ConfigError(f"noise 'matrix': {error}; expected e.g. matrix:[[0.9,0.1],[0.2,0.8]]") from None
    return NoiseSpec("matrix", matrix=check_matrix(_read_matrix(Path(text)), text))


def check_matrix(rows: Any, source: str) -> Matrix:
    """Return `rows` as a tuple of tuples; ConfigError naming the offending row unless square and row-stochastic."""
    try:
        values = np.array(rows, dtype=np.float64)
    except (ValueError, TypeError):
        raise ConfigError(f"{source}: expected rows of numbers, all of one length; got {rows!r:.80}") from None
    if values.ndim != 2 or values.shape[0] != values.shape[1] or len(values) < 2:
        raise ConfigError(f"{source}: got shape {values.shape}, expected a square matrix T[true, noisy], 2x2 or larger")
    for i, row in enumerate(values):
        if not np.isfinite(row).all() or (row < 0).any() or abs(row.sum() - 1) > 1e-6:
            raise ConfigError(
                f"{source}: row {i} is {row.tolist()!r:.100} with sum {row.sum():.6g}, expected probabilities that sum "
                "to 1 (row = true class, column = noisy class; if the columns sum to 1, transpose the matrix)"
            )
    return tuple(tuple(row) for row in values.tolist())


def _with_rate(kind: str, value: float | str) -> NoiseSpec:
    try:
        rate = float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"noise {kind!r}: got rate {value!r}, expected a number, as in {kind}:0.4") from None
    # Rate 0 is no noise, whatever the kind: one task, one text.
    return NoiseSpec(kind, rate) if rate else NoiseSpec("clean")


def _read_matrix(path: Path) -> Any:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a transition matrix in .json, .csv, .txt or .npy")
    try:
        if path.suffix == ".json":
            return json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
        if path.suffix in (".csv", ".txt"):
            lines = path.read_text(encoding="utf-8").splitlines()
            return [[float(v) for v in line.replace(",", " ").split()] for line in lines if line.strip()]
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read as a matrix ({error}); expected rows of numbers") from None
    raise DataError(f"{path}: got a {path.suffix or 'suffixless'} file, expected .json, .csv, .txt or .npy")
