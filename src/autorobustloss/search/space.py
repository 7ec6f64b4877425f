"""The spaces CMA-ES searches: vectors that mean losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from autorobustloss.errors import ConfigError, unknown_name
from autorobustloss.losses.taylor.form import CanonicalForm, num_parameters
from autorobustloss.losses.taylor.scale import check_scale
from autorobustloss.methods.spec import MethodSpec

LOG_UNIT = 0.1
"""At ten classes −α/ŷ with this α starts as steep as a slope of 1 (MAE's)."""


POWER_UNIT = 0.25
"""One unit of the power coordinate."""


class SearchSpace(Protocol):
    """What a search needs of a space: vectors that mean losses of one family."""

    @property
    def name(self) -> str:
        """What the space is called."""

    @property
    def dimension(self) -> int:
        """The number of coordinates."""

    @property
    def default_start(self) -> str:
        """Where a search begins that is told nothing."""

    def method(self, point: Sequence[float] | np.ndarray) -> MethodSpec:
        """Return the method that trains with the loss at `point`, shape (dimension,)."""

    def start(self, name: str) -> np.ndarray:
        """Return the mean of the first generation: that of a name, or coordinates joined by commas."""

    def numbers(self, method: MethodSpec) -> dict[str, Any]:
        """Return what a generation reports of a loss of this space."""


@dataclass(frozen=True)
class Space:
    """A search space: its dimension and the loss that each of its points stands for.

    name: "paper": the θ of Eq. 5, 2 + β(β+1)/2 numbers.
        "canonical": the 2β − 2 directions of it that change a gradient under softmax and hard labels.
        "canonical+log": canonical and the weight α of −log ŷ of the labelled class, in units of `log_unit`; a
        negative coordinate means 0, because a negative weight has no lower bound.
        "canonical+power": that and the power q of the log term (see `TaylorLoss`), in units of POWER_UNIT and kept in
        [0, 1]; cross-entropy, MAE, their mixtures and generalised cross-entropy are points of it.
    order: β, the order of the polynomial. scale: the scale rule of the losses (see `TaylorLoss`);
        with "max" no candidate's gradient ever exceeds the largest one of cross-entropy.
    log_unit: α at 1 on the log coordinate. What resists noise has a small α; a small unit lets a search see it.
    """

    name: str = "canonical+log"
    order: int = 4
    scale: str | None = "max"
    log_unit: float = LOG_UNIT
    default_start: ClassVar[str] = "mae"

    def __post_init__(self) -> None:
        if self.name not in _DIMENSIONS:
            raise unknown_name("search space", self.name, _DIMENSIONS)
        check_scale(self.scale)
        if not 2 <= self.order <= 9:
            raise ConfigError(f"got order={self.order}, expected 2 to 9 (the paper compares 2 to 5 and takes 4)")
        if not 0 < self.log_unit < float("inf"):
            raise ConfigError(f"got log_unit={self.log_unit}, expected a positive number; try {LOG_UNIT}")

    @property
    def dimension(self) -> int:
        """Return the number of coordinates.

        >>> [Space(name).dimension for name in ("paper", "canonical", "canonical+log", "canonical+power")]
        [12, 6, 7, 8]
        """
        return _DIMENSIONS[self.name](self.order)

    def method(self, point: Sequence[float] | np.ndarray) -> MethodSpec:
        """Return the method that trains with the loss at `point`, shape (dimension,)."""
        x = [float(v) for v in point]
        if len(x) != self.dimension:
            raise ConfigError(f"got a point of {len(x)} numbers, expected {self.dimension} in the space {self.name!r}")
        if self.name == "paper":
            return MethodSpec.of("taylor", theta=x, log_weight=0.0, scale=self.scale)
        power = min(max(POWER_UNIT * x.pop(), 0.0), 1.0) if self.name == "canonical+power" else 0.0
        log_weight = self.log_unit * max(x.pop(), 0.0) if self.name != "canonical" else 0.0
        theta = CanonicalForm.from_vector(x).theta()
        options = {"log_power": power} if power else {}
        return MethodSpec.of("taylor", theta=theta, log_weight=log_weight, scale=self.scale, **options)

    def start(self, name: str) -> np.ndarray:
        """Return the mean of the first generation: "zero", a known loss ("mae", "sce", "gce"), or given coordinates.

        "mae": ℓ falls with slope 1 in ŷ at the label. "sce": that and one unit of the log term (needs
        "canonical+log"); with the default unit each gives half of the start gradient at ten classes. "gce": one
        unit of the log term with power 0.7 alone (needs "canonical+power"). Under a scale rule only the direction of
        a point matters. Coordinates are numbers joined by commas, as many as the space has dimensions.
        """
        if "," in name:
            return coordinates(name, self)
        point = np.zeros(self.dimension)
        if name == "zero":
            return point
        log = {"canonical+log": -1, "canonical+power": -2}.get(self.name)
        if name == "sce" and log is None:
            raise ConfigError(f"start 'sce' needs the log term, got space {self.name!r}; try --space canonical+log")
        if name == "gce":
            if self.name != "canonical+power":
                raise ConfigError(f"start 'gce' needs the space canonical+power, got {self.name!r}")
            point[-2:] = 1.0, 0.7 / POWER_UNIT
            return point
        if name not in ("mae", "sce"):
            raise unknown_name("start", name, ("zero", "mae", "sce", "gce"))
        if self.name == "paper":
            point[6] = -1.0  # θ6 multiplies (ŷ − θ0)(y − θ1): slope −1 at the label, 0 elsewhere
        else:
            point[0] = -1.0  # a0, the constant part of d₁
        if name == "sce" and log is not None:
            point[log] = 1.0
        return point

    def numbers(self, method: MethodSpec) -> dict[str, Any]:
        """Return θ and the log term of a loss of this space."""
        options = {"log_power": 0.0, **method.options}
        return {name: options[name] for name in ("theta", "log_weight", "log_power")}


def coordinates(text: str, space: SearchSpace) -> np.ndarray:
    """Return the point of a space that a text gives by its coordinates."""
    try:
        point = np.array([float(part) for part in text.split(",")])
    except ValueError:
        raise ConfigError(f"got start {text!r}, expected a name or numbers joined by commas") from None
    if len(point) != space.dimension or not np.isfinite(point).all():
        raise ConfigError(f"got start {text!r}, expected {space.dimension} finite numbers in the space {space.name!r}")
    return point


_DIMENSIONS: Mapping[str, Callable[[int], int]] = {
    "paper": num_parameters,
    "canonical": lambda order: 2 * order - 2,
    "canonical+log": lambda order: 2 * order - 1,
    "canonical+power": lambda order: 2 * order,
}
