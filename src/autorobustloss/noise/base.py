"""Label noise as a frozen value with one canonical text, and the registry of its kinds: one file each."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from autorobustloss.errors import ConfigError
from autorobustloss.reading import reading
from autorobustloss.registry import Registry

NOISES: Registry[NoiseSpec] = Registry("noise", "NOISES", "noise")

Rows = list[list[float]]
"""T[true, noisy], each row with sum 1."""


@dataclass(frozen=True)
class NoiseSpec:
    """How labels are corrupted; `str(spec)` is its canonical text, which `parse` reads back.

    clean                the labels as they are
    sym:RATE             symmetric: to each other class with probability RATE/(C-1)
    pair:RATE            pair flip: class y to class y+1 mod C
    map:RATE[:legacy]    the data set's class map; `legacy` reproduces a published defect (see `classmap`)
    idn:RATE             instance-dependent (Xia et al. 2020): the flip depends on the features of the sample
    matrix:FILE          any row-stochastic matrix `T[true, noisy]` from .json, .csv, .txt or .npy, or written out as
                         matrix:[[0.9,0.1],[0.2,0.8]]; the canonical text holds the numbers, not the file
    human:NAME           human labels of CIFAR-10N (aggre, random1, random2, random3, worse) or CIFAR-100N (noisy)
    given                the labels as they come: a data set's noisy ones where it tells them apart, else its only ones,
                         of which nobody knows how many are wrong

    kind: the registered name.
    labels: which labels of the data set are taken, by name; nothing is drawn then.
    by_class: whether the flip depends on the class alone, so that T holds for every sample.

    >>> NoiseSpec.parse("sym:0.80")
    Symmetric(rate=0.8)
    >>> str(NoiseSpec.parse("map:4e-1:legacy")), str(NoiseSpec.parse("pair:0"))
    ('map:0.4:legacy', 'clean')
    """

    kind = ""
    rate = 0.0
    labels = ""
    by_class = True

    @staticmethod
    def parse(text: str | NoiseSpec) -> NoiseSpec:
        """Read a noise text; a spec passes through. Raises ConfigError, or DataError for a broken matrix file."""
        if isinstance(text, NoiseSpec):
            return text
        kind, colon, rest = text.strip().partition(":")
        # A matrix argument may hold colons of its own: a drive letter.
        arguments = [] if not colon else [rest] if kind == "matrix" else rest.split(":")
        return create_noise(kind.strip(), *arguments)

    def __str__(self) -> str:
        values = [getattr(self, f.name) for f in fields(self)]
        return ":".join([self.kind, *("legacy" if v is True else str(v) for v in values if v is not False)])

    @property
    def label(self) -> str:
        """A short name for tables and file names: the text, with a digest in place of a matrix's numbers."""
        return str(self)

    @property
    def words(self) -> str:
        """What is done to the labels, in words.

        >>> NoiseSpec.parse("sym:0.4").words, NoiseSpec.parse("human:worse").words
        ('40 % symmetric noise', "human labels 'worse'")
        """
        return f"noise {self.label!r}"

    def rows(self, num_classes: int, dataset: str) -> Rows:
        """Return T, over all samples where it is not the same for each; nothing where nobody knows it."""
        return []

    def draw(self, features: Any, labels: Any, num_classes: int, generator: Any) -> Any:
        """Return noisy labels (N,) from features (N, …) and clean labels (N,), where they depend on features, too."""
        raise NotImplementedError


@dataclass(frozen=True)
class RateNoise(NoiseSpec):
    """Noise of a rate: the share of labels that become another one."""

    rate: float = field()
    name = ""

    def __post_init__(self) -> None:
        example = f"expected a number, as in {self.kind}:0.4"
        with reading(f"noise {self.kind!r}", f"got rate {self.rate!r:.80}", example, ConfigError):
            rate = float(self.rate)
        if not 0 <= rate <= 1:
            percent = f"; {rate:g} % is {rate / 100:g}" if 1 < rate <= 100 else ""
            raise ConfigError(f"noise {self.kind!r}: got rate {rate!r}, expected a number in [0, 1]{percent}")
        object.__setattr__(self, "rate", rate)

    @property
    def words(self) -> str:
        """The rate in per cent, and the kind by its name."""
        return f"{100 * self.rate:g} % {self.name}"


def create_noise(name: str, /, *arguments: Any, **parameters: Any) -> NoiseSpec:
    """Build a spec from a kind and its parameters; rate 0 is `clean`, whatever the kind: one task, one text.

    >>> str(create_noise("sym", rate=0.4))
    'sym:0.4'
    """
    spec = NOISES.create(name, *arguments, **parameters)
    return NOISES.create("clean") if isinstance(spec, RateNoise) and not spec.rate else spec


def list_noises() -> list[str]:
    """Return the kinds of noise, sorted."""
    return NOISES.names()
