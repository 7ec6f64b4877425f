"""The spaces CMA-ES searches: vectors that mean losses. Here the interface and the Taylor losses."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from autorobustloss.errors import ConfigError, unknown_name
from autorobustloss.losses.taylor.form import CanonicalForm, num_parameters
from autorobustloss.losses.taylor.scale import check_scale
from autorobustloss.methods.spec import MethodSpec

LOG_UNIT = 0.1
"""At ten classes −α/ŷ with this α starts as steep as a slope of 1 (MAE's)."""


POWER_UNIT = 0.25
"""One unit of the power coordinate."""


class Coordinate(NamedTuple):
    """What a step of 1 along it means, and where what goes further is stopped."""

    unit: float = 1.0
    low: float = -math.inf
    high: float = math.inf


class SearchSpace(ABC):
    """What a search needs of a space: vectors that mean losses of one family.

    name: what the space is called. starts: losses to begin at. default_start: that of a search that is told nothing.
    """

    name: str
    starts: ClassVar[Mapping[str, Any]]
    default_start: ClassVar[str]

    @property
    @abstractmethod
    def coordinates(self) -> Sequence[Coordinate]:
        """What is measured along each coordinate."""

    @abstractmethod
    def loss(self, values: Sequence[float]) -> MethodSpec:
        """Return the method that trains with the loss of these values, one for each coordinate."""

    @abstractmethod
    def known(self, name: str) -> Sequence[float]:
        """Return the values of one of `starts`."""

    @property
    def dimension(self) -> int:
        """The number of coordinates."""
        return len(self.coordinates)

    def method(self, point: Sequence[float] | np.ndarray) -> MethodSpec:
        """Return the method that trains with the loss at `point`, shape (dimension,)."""
        if len(point) != self.dimension:
            raise ConfigError(
                f"got a point of {len(point)} numbers, expected {self.dimension} in the space {self.name!r}"
            )
        return self.loss([min(max(c.unit * float(v), c.low), c.high) for c, v in zip(self.coordinates, point)])

    def start(self, name: str) -> np.ndarray:
        """Return the mean of the first generation: that of a known loss, or coordinates joined by commas."""
        if "," not in name:
            if name not in self.starts:
                raise unknown_name("start", name, self.starts)
            return np.array([value / c.unit for c, value in zip(self.coordinates, self.known(name))])
        try:
            point = np.array([float(part) for part in name.split(",")])
        except ValueError:
            point = np.array([math.nan])
        if len(point) != self.dimension or not np.isfinite(point).all():
            wanted = f"a name, or {self.dimension} finite numbers joined by commas in the space {self.name!r}"
            raise ConfigError(f"got start {name!r}, expected {wanted}")
        return point

    def numbers(self, method: MethodSpec) -> dict[str, Any]:
        """Return what a generation reports of a loss of this space."""
        return method.options


ALL_TERMS = 10**9
"""More than a polynomial of any order has."""


def series(terms: int, length: int) -> tuple[float, ...]:
    """Return the slope in ŷ of cross-entropy's Taylor series at ŷ = 1, cut after so many terms, by powers of ŷ.

    Σ_{n=1..terms} (1 − ŷ)ⁿ/n has the slope −Σ_{n<terms} (1 − ŷ)ⁿ (Feng et al., IJCAI 2020).

    >>> series(1, 3), series(3, 3)
    ((-1.0, 0.0, 0.0), (-3.0, 3.0, -1.0))
    """
    return tuple(float((-1) ** (i + 1) * sum(math.comb(n, i) for n in range(terms))) for i in range(length))


_LOG_COORDINATES: Mapping[str, int] = {"paper": 0, "canonical": 0, "canonical+log": 1, "canonical+power": 2}
"""By space: how many coordinates its log term has, a weight and a power."""


@dataclass(frozen=True)
class Space(SearchSpace):
    """A space of Taylor losses.

    name: "paper": the θ of Eq. 5, 2 + β(β+1)/2 numbers.
        "canonical": the 2β − 2 directions of it that change a gradient under softmax and hard labels.
        "canonical+log": canonical and the weight α of −log ŷ of the labelled class, in units of `log_unit`; a
        negative coordinate means 0, because a negative weight has no lower bound.
        "canonical+power": that and the power q of the log term (see `TaylorLoss`), in units of POWER_UNIT and kept in
        [0, 1]; cross-entropy, MAE, their mixtures and generalised cross-entropy are points of it.
    order: β, the order of the polynomial. scale: the scale rule of the losses (see `TaylorLoss`);
        with "max" no candidate's gradient ever exceeds the largest one of cross-entropy.
    log_unit: α at 1 on the log coordinate. What resists noise has a small α; a small unit lets a search see it.

    Starts: "zero". "mae": ℓ falls with slope 1 in ŷ at the label. "taylor_ce": ℓ at the label is cross-entropy's Taylor
    series at ŷ = 1, cut after β − 1 terms, as many as order β has for the label alone; the first is MAE. "sce": MAE and
    one unit of the log term; with the default unit each gives half of the start gradient at ten classes. "gce": one
    unit of the log term with power 0.7 alone. Under a scale rule only the direction of a point matters.

    >>> [Space(name).dimension for name in ("paper", "canonical", "canonical+log", "canonical+power")]
    [12, 6, 7, 8]
    """

    name: str = "canonical+log"
    order: int = 4
    scale: str | None = "max"
    log_unit: float = LOG_UNIT
    default_start: ClassVar[str] = "mae"
    starts: ClassVar[Mapping[str, tuple[int, float, float]]] = {
        "zero": (0, 0.0, 0.0),
        "mae": (1, 0.0, 0.0),
        "taylor_ce": (ALL_TERMS, 0.0, 0.0),
        "sce": (1, 1.0, 0.0),
        "gce": (0, 1.0, 0.7),
    }
    """How many terms of cross-entropy's series at the label; the weight of the log term, in its unit, and its power."""

    def __post_init__(self) -> None:
        if self.name not in _LOG_COORDINATES:
            raise unknown_name("search space", self.name, _LOG_COORDINATES)
        check_scale(self.scale)
        if not 2 <= self.order <= 9:
            raise ConfigError(f"got order={self.order}, expected 2 to 9 (the paper compares 2 to 5 and takes 4)")
        if not 0 < self.log_unit < math.inf:
            raise ConfigError(f"got log_unit={self.log_unit}, expected a positive number; try {LOG_UNIT}")

    @property
    def coordinates(self) -> Sequence[Coordinate]:
        """Return those of the polynomial, and of the log term its weight and power."""
        polynomial = num_parameters(self.order) if self.name == "paper" else 2 * self.order - 2
        log = (Coordinate(self.log_unit, low=0.0), Coordinate(POWER_UNIT, low=0.0, high=1.0))
        return (*[Coordinate()] * polynomial, *log[: _LOG_COORDINATES[self.name]])

    def loss(self, values: Sequence[float]) -> MethodSpec:
        """Return the method that trains with the loss of these coefficients, weight and power."""
        polynomial = len(values) - _LOG_COORDINATES[self.name]
        weight, power = [*values[polynomial:], 0.0, 0.0][:2]
        theta = values if self.name == "paper" else CanonicalForm.from_vector(values[:polynomial]).theta()
        given = {"log_power": power} if power else {}
        return MethodSpec.of("taylor", theta=theta, log_weight=weight, scale=self.scale, **given)

    def known(self, name: str) -> Sequence[float]:
        """Return the values of one of `starts`; ConfigError where the space has no such log term."""
        terms, weight, power = self.starts[name]
        wanted, given = bool(weight) + bool(power), _LOG_COORDINATES[self.name]
        if wanted > given:
            needed = next(space for space, count in _LOG_COORDINATES.items() if count == wanted)
            raise ConfigError(f"start {name!r} needs the log term of the space {needed}, got {self.name!r}")
        form = CanonicalForm(series(min(terms, self.order - 1), self.order - 1), (0.0,) * (self.order - 2), k=0.0)
        polynomial = form.theta() if self.name == "paper" else form.vector()[:-1]
        return [*polynomial, *(self.log_unit * weight, power)[:given]]

    def numbers(self, method: MethodSpec) -> dict[str, Any]:
        """Return θ and the log term of a loss of this space."""
        options = {"log_power": 0.0, **method.options}
        return {name: options[name] for name in ("theta", "log_weight", "log_power")}
