"""The space of gated losses: vectors whose coordinates are the numbers of a `GatedLoss`, each in a unit of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from autorobustloss.errors import ConfigError, unknown_name
from autorobustloss.losses.gated.core import TERMS, Gate
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.search.space import coordinates

UNITS = {"q": 0.25, "r": 0.7, "log κ": 0.6, "terms": 0.8}
"""How far a coordinate of 1 is from 0: about as far for each as a training notices."""

RANGES = {"q": (0.0, 2.0), "r": (0.0, 5.0), "log κ": (-0.7, 3.0), "terms": (-4.0, 4.0)}
"""Where a coordinate that goes further is stopped."""

TERMS_UP_TO = (0, 2, 5)
"""How many terms there are up to an order of the polynomial: u and m at order 1, all five at order 2."""

STARTS = {"ce": Gate(q=0.0, r=0.0, progress=1.0), "gated": Gate(q=0.35, r=1.8, progress=5.0)}


@dataclass(frozen=True)
class GatedSpace:
    """The space of `GatedLoss`: its powers q and r, log κ of its progress, and the polynomial's coefficients.

    order: of the polynomial in log b: 2 (five coefficients), 1 (two) or 0 (none). Prior and pace stay 0.

    >>> GatedSpace().method(GatedSpace().start("gated")).options["q"]
    0.35
    """

    name: str = "gated"
    order: int = 2
    default_start: ClassVar[str] = "gated"

    def __post_init__(self) -> None:
        if self.name != "gated":
            raise unknown_name("search space", self.name, ("gated",))
        if self.order not in range(len(TERMS_UP_TO)):
            raise ConfigError(f"got order={self.order} of the gated space, expected 0, 1 or 2")

    @property
    def dimension(self) -> int:
        """Return the number of coordinates.

        >>> [GatedSpace(order=order).dimension for order in (0, 1, 2)]
        [3, 5, 8]
        """
        return 3 + TERMS_UP_TO[self.order]

    def method(self, point: Sequence[float] | np.ndarray) -> MethodSpec:
        """Return the method that trains with the loss at `point`, shape (dimension,)."""
        if len(point) != self.dimension:
            raise ConfigError(f"got a point of {len(point)} numbers, expected {self.dimension} in the space 'gated'")
        q, r, log_kappa, *terms = (
            min(max(UNITS[name] * float(v), RANGES[name][0]), RANGES[name][1]) for name, v in zip(self._names(), point)
        )
        missing = len(TERMS) - len(terms)
        gate = Gate(q, r, (*terms, *missing * (0.0,)), math.exp(log_kappa))
        return MethodSpec.of("gated", **gate._asdict())

    def start(self, name: str) -> np.ndarray:
        """Return the mean of the first generation: a known loss ("ce", "gated"), or coordinates joined by commas.

        "ce": cross-entropy, from which nothing is far. "gated": q = 0.35, r = 1.8, κ = 5, without terms.
        """
        if "," in name:
            return coordinates(name, self)
        if name not in STARTS:
            raise unknown_name("start", name, STARTS)
        gate = STARTS[name]
        values = (gate.q, gate.r, math.log(gate.progress or math.inf), *gate.terms)
        return np.array([value / UNITS[unit] for unit, value in zip(self._names(), values)])

    def numbers(self, method: MethodSpec) -> dict[str, Any]:
        """Return the numbers of a loss of this space."""
        return method.options

    def _names(self) -> tuple[str, ...]:
        """Return what is measured along each coordinate."""
        return ("q", "r", "log κ", *TERMS_UP_TO[self.order] * ("terms",))
