"""CMA-ES behind two verbs, ask and tell, with higher fitness better."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from autorobustloss.errors import ConfigError
from autorobustloss.seeding import derive_seed

LEARNING_RATE_ADAPTATION_FROM = 2000
"""Evaluations from which adapting the learning rate pays under noisy fitness; below, a larger population does."""


class Strategy:
    """The search distribution N(μ, Σ) over a space, moved by CMA-ES (Hansen & Ostermeier 1996).

    Deterministic on one machine: the same seed and the same fitness values give the same candidates, bit for bit. Other
    processors and libraries give others, so a search keeps them (see `search.replay`).
    """

    def __init__(
        self, mean: np.ndarray, sigma: float, population: int, seed: int, adapt_learning_rate: bool = False
    ) -> None:
        if not 4 <= population <= 10_000:
            raise ConfigError(f"got population={population}, expected 4 to 10000; try 12")
        if not 1e-9 <= sigma <= 1e6:  # beyond, the squares that CMA-ES adds up leave what a float can hold
            raise ConfigError(f"got sigma={sigma}, expected a positive number from 1e-9 to 1e6; try 0.5")
        if not np.abs(mean).max() <= 1e9:
            raise ConfigError(f"got a start of {list(map(float, mean))}, expected numbers of at most 1e9")
        with warnings.catch_warnings():  # cmaes announces its optional plotting and bounds features on import
            warnings.simplefilter("ignore")
            from cmaes import CMA  # here, because it takes a second to import
        self._cma = CMA(
            mean=np.array(mean, dtype=float),
            sigma=float(sigma),
            population_size=population,
            seed=derive_seed("cma-es", seed) % 2**32,
            lr_adapt=adapt_learning_rate,
        )
        self.population = population

    @property
    def mean(self) -> np.ndarray:
        """Return μ, shape (dimension,)."""
        return np.array(self._cma.mean)

    @property
    def converged(self) -> bool:
        """Return whether CMA-ES's own stopping criteria hold."""
        return bool(self._cma.should_stop())

    def ask(self) -> list[np.ndarray]:
        """Return the candidates of the next generation, `population` vectors."""
        return [np.array(self._cma.ask()) for _ in range(self.population)]

    def tell(self, points: Sequence[np.ndarray], fitness: Sequence[float]) -> None:
        """Move the distribution towards the fitter points; every fitness must be finite."""
        values = [float(f) for f in fitness]
        if not np.all(np.isfinite(values)):
            raise ConfigError(f"got fitness {values}, expected finite numbers (map failures to the generation's worst)")
        # Copies: cmaes sorts the list it is given in place.
        self._cma.tell([(np.array(p), -v) for p, v in zip(points, values)])
