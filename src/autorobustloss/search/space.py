"""The spaces CMA-ES searches: vectors that mean losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autorobustloss.errors import ConfigError, unknown_name
from autorobustloss.losses.canonical import CanonicalForm, num_parameters
from autorobustloss.losses.scale import check_scale
from autorobustloss.methods.spec import MethodSpec

LOG_UNIT = 0.1
"""At ten classes −α/ŷ with this α starts as steep as a slope of 1 (MAE's)."""


@dataclass(frozen=True)
class Space:
    """A search space: its dimension and the loss that each of its points stands for.

    name: "paper": the θ of Eq. 5, 2 + β(β+1)/2 numbers.
        "canonical": the 2β − 2 directions of it that change a gradient under softmax and hard labels.
        "canonical+log": canonical and the weight α of −log ŷ of the labelled class, in units of `log_unit`; a
        negative coordinate means 0, because a negative weight has no lower bound.
    order: β, the order of the polynomial. scale: the scale rule of the losses (see `TaylorLoss`);
        with "max" no candidate's gradient ever exceeds the largest one of cross-entropy.
    log_unit: α at 1 on the log coordinate. What resists noise has a small α; a small unit lets a search see it.
    """

    name: str = "canonical+log"
    order: int = 4
    scale: str | None = "max"
    log_unit: float = LOG_UNIT

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

        >>> [Space(name).dimension for name in ("paper", "canonical", "canonical+log")]
        [12, 6, 7]
        """
        return _DIMENSIONS[self.name](self.order)

    def method(self, point: Sequence[float] | np.ndarray) -> MethodSpec:
        """Return the method that trains with the loss at `point`, shape (dimension,)."""
        x = [float(v) for v in point]
        if len(x) != self.dimension:
            raise ConfigError(f"got a point of {len(x)} numbers, expected {self.dimension} in the space {self.name!r}")
        if self.name == "paper":
            return MethodSpec.of("taylor", theta=x, log_weight=0.0, scale=self.scale)
        log_weight = self.log_unit * max(x.pop(), 0.0) if self.name == "canonical+log" else 0.0
        theta = CanonicalForm.from_vector(x).theta()
        return MethodSpec.of("taylor", theta=theta, log_weight=log_weight, scale=self.scale)

    def start(self, name: str) -> np.ndarray:
        """Return the mean of the first generation: "zero", or the point of a known loss, "mae" or "sce".

        "mae": ℓ falls with slope 1 in ŷ at the label. "sce": that and one unit of the log term (needs
        "canonical+log"); with the default unit each gives half of the start gradient at ten classes. Under a scale
        rule only the direction of a point matters.
        """
        point = np.zeros(self.dimension)
        if name == "zero":
            return point
        if name == "sce" and self.name != "canonical+log":
            raise ConfigError(f"start 'sce' needs the log term, got space {self.name!r}; try --space canonical+log")
        if name not in ("mae", "sce"):
            raise unknown_name("start", name, ("zero", "mae", "sce"))
        if self.name == "paper":
            point[6] = -1.0  # θ6 multiplies (ŷ − θ0)(y − θ1): slope −1 at the label, 0 elsewhere
        else:
            point[0] = -1.0  # a0, the constant part of d₁
        if name == "sce":
            point[-1] = 1.0
        return point


_DIMENSIONS: Mapping[str, Callable[[int], int]] = {
    "paper": num_parameters,
    "canonical": lambda order: 2 * order - 2,
    "canonical+log": lambda order: 2 * order - 1,
}
