"""The space of gated losses: vectors whose coordinates are the numbers of a `GatedLoss`, each in a unit of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from autorobustloss.errors import ConfigError, unknown_name
from autorobustloss.losses.gated.core import TERMS, Gate
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.search.space import Coordinate, SearchSpace

COORDINATES = {
    "q": Coordinate(0.25, 0.0, 2.0),
    "r": Coordinate(0.5, 0.0, 5.0),
    "odds": Coordinate(0.5, 0.0, 5.0),
    "own": Coordinate(0.5, 0.0, 2.0),
    "log κ": Coordinate(0.6, -0.7, 4.0),
    "smoothing": Coordinate(0.05, 0.0, 0.5),
    "terms": Coordinate(0.8, -4.0, 4.0),
}
"""A coordinate of 1 is about as far from 0 for each as a training notices."""

TERMS_UP_TO = (0, 2, 5)
"""How many terms there are up to an order of the polynomial: u and m at order 1, all five at order 2."""


@dataclass(frozen=True)
class GatedSpace(SearchSpace):
    """The space of `GatedLoss`: q, r, odds and own, log κ of its progress, smoothing, the polynomial's coefficients.

    order: of the polynomial in log b: 2 (five coefficients), 1 (two) or 0 (none). Prior and pace stay 0.

    Starts: "ce", cross-entropy, from which nothing is far. "gated": r = odds = own = 1, κ = 15, smoothing 0.1, else 0.

    >>> GatedSpace().method(GatedSpace().start("gated")).options["smoothing"]
    0.1
    """

    name: str = "gated"
    order: int = 2
    default_start: ClassVar[str] = "gated"
    starts: ClassVar[Mapping[str, Gate]] = {
        "ce": Gate(q=0.0, r=0.0, progress=1.0),
        "gated": Gate(q=0.0, r=1.0, odds=1.0, own=1.0, progress=15.0, smoothing=0.1),
    }

    def __post_init__(self) -> None:
        if self.name != "gated":
            raise unknown_name("search space", self.name, ("gated",))
        if self.order not in range(len(TERMS_UP_TO)):
            raise ConfigError(f"got order={self.order} of the gated space, expected 0, 1 or 2")

    @property
    def coordinates(self) -> Sequence[Coordinate]:
        """Return those of `COORDINATES`, the last for each term.

        >>> [GatedSpace(order=order).dimension for order in (0, 1, 2)]
        [6, 8, 11]
        """
        *numbers, terms = COORDINATES.values()
        return (*numbers, *[terms] * TERMS_UP_TO[self.order])

    def loss(self, values: Sequence[float]) -> MethodSpec:
        """Return the method that trains with the gated loss of these numbers."""
        q, r, odds, own, log_kappa, smoothing, *terms = values
        polynomial = (*terms, *[0.0] * len(TERMS))[: len(TERMS)]
        gate = Gate(q, r, polynomial, math.exp(log_kappa), odds=odds, own=own, smoothing=smoothing)
        return MethodSpec.of("gated", **gate._asdict())

    def known(self, name: str) -> Sequence[float]:
        """Return the values of "ce" or "gated"."""
        gate = self.starts[name]
        log_kappa = math.log(gate.progress or math.inf)
        return (gate.q, gate.r, gate.odds, gate.own, log_kappa, gate.smoothing, *gate.terms)
