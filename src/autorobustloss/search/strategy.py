"""CMA-ES behind two verbs, ask and tell, with higher fitness better; and what a search promises when it is run again.

A search is a function of its configuration and of the results of its jobs. Run again on a store it ends at the same
loss, to the last bit, on any processor and with any build of NumPy and PyTorch: whatever the store holds is not
trained, only what it lacks is. So a run that was killed goes on where it was, here or elsewhere, and a store is
evidence that anyone can follow to the learned loss without training.

That needs help, because CMA-ES does not give the same candidates everywhere. They are matrix products, whose last bits
differ between processors, and a job's key knows every bit; and they are drawn along eigenvectors, whose signs, and
whose directions where eigenvalues are equal, are up to the library beneath. So what CMA-ES answers is kept in the store
too, by all that led to it: its settings, and every point and fitness it was told. Nothing is carried over to another
history, and nothing drifts, because CMA-ES is told the points that were kept.

Not promised: the bits of what is trained anew. A machine trains a job to the same bits again, under the same build of
PyTorch. So do machines of its type, for certain only with `exact`, which leaves out the compiled loss that may be
another there. Other processors agree with it to rounding, which a training may amplify up to some points of accuracy: a
search that trains anew there is another sample of the same experiment. So results tell where they come from
(`Result.processor`, `blas` and `exact`), and so do cards.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence

import msgspec
import numpy as np

from autorobustloss.errors import ConfigError, StoreError
from autorobustloss.runs import Store
from autorobustloss.seeding import derive_seed

LEARNING_RATE_ADAPTATION_FROM = 2000
"""Evaluations from which adapting the learning rate pays under noisy fitness; below, a larger population does."""


class _Answers(msgspec.Struct):
    """What CMA-ES says to a history: its candidates, the mean they are drawn around, whether it has converged."""

    points: list[list[float]]
    mean: list[float]
    converged: bool


class Strategy:
    """The search distribution N(μ, Σ) over a space, moved by CMA-ES (Hansen & Ostermeier 1996).

    adapt: whether CMA-ES adapts its learning rate, which pays only for long searches.
    store: keeps the answers, the first ones given to a history, for ever. Without one they are the same for the same
        seed and fitness values on one machine, bit for bit, but not elsewhere.
    ahead: how many candidates of a generation are drawn before the one before it is told, so that their training may
        begin early. Which ones these are is fixed, whoever is trained first, so all that is said above still holds.

    >>> with Store(":memory:") as store:
    ...     here, elsewhere = (Strategy(np.zeros(3), 0.5, 6, seed=0, store=store) for _ in range(2))
    ...     bool(np.array_equal(here.ask(), elsewhere.ask()))
    True
    """

    def __init__(
        self,
        mean: np.ndarray,
        sigma: float,
        population: int,
        seed: int,
        adapt: bool = False,
        store: Store | None = None,
        ahead: int = 0,
    ) -> None:
        if not 4 <= population <= 10_000:
            raise ConfigError(f"got population={population}, expected 4 to 10000; try 12")
        if not 1e-9 <= sigma <= 1e6:  # beyond, the squares that CMA-ES adds up leave what a float can hold
            raise ConfigError(f"got sigma={sigma}, expected a positive number from 1e-9 to 1e6; try 0.5")
        start = [float(v) for v in mean]
        if not max(map(abs, start)) <= 1e9:
            raise ConfigError(f"got a start of {start}, expected numbers of at most 1e9")
        with warnings.catch_warnings():  # cmaes announces its optional plotting and bounds features on import
            warnings.simplefilter("ignore")
            from cmaes import CMA  # here, because it takes a second to import
        self._cma = CMA(
            mean=np.array(start),
            sigma=float(sigma),
            population_size=population,
            seed=derive_seed("cma-es", seed) % 2**32,
            lr_adapt=adapt,
        )
        self._population, self._dimension, self._store = population, len(start), store
        self._points: list[list[float]] = []
        self._come_to(["cma-es", start, float(sigma), population, seed, adapt, *([ahead] if ahead else [])], ahead)

    @property
    def mean(self) -> np.ndarray:
        """Return μ, shape (dimension,)."""
        return np.array(self._answers.mean)

    @property
    def converged(self) -> bool:
        """Return whether CMA-ES's own stopping criteria hold."""
        return self._answers.converged

    def ask(self) -> list[np.ndarray]:
        """Return the candidates of the next generation, `population` vectors; the same until they are told."""
        return [np.array(point) for point in self._points[: self._population]]

    def early(self) -> list[np.ndarray]:
        """Return the first candidates of the generation after that, `ahead` vectors."""
        return [np.array(point) for point in self._points[self._population :]]

    def tell(self, points: Sequence[np.ndarray], fitness: Sequence[float]) -> None:
        """Move the distribution towards the fitter points; every fitness must be finite."""
        values = [float(f) for f in fitness]
        if not np.all(np.isfinite(values)):
            raise ConfigError(f"got fitness {values}, expected finite numbers (map failures to the generation's worst)")
        # Copies: cmaes sorts the list it is given in place.
        self._cma.tell([(np.array(p), -v) for p, v in zip(points, values)])
        self._come_to([self._history, [[float(v) for v in point] for point in points], values])

    def _come_to(self, history: list[object], more: int = 0) -> None:
        """Answer for a history: as the store has it, else as CMA-ES does, which draws its candidates in either case.

        It draws a population, and `more`, behind the candidates that were drawn early.
        """
        self._history = hashlib.sha256(json.dumps(history).encode()).hexdigest()
        points = [self._cma.ask().tolist() for _ in range(self._population + more)]
        answers = {"points": points, "mean": self._cma.mean.tolist(), "converged": bool(self._cma.should_stop())}
        try:
            text = json.dumps(answers, allow_nan=False)
        except ValueError:
            raise ConfigError(
                f"CMA-ES proposes losses beyond the range of numbers: {points[0]}; try a smaller --sigma"
            ) from None
        self._answers = _Answers(**answers)
        if self._store is not None:
            name = f"cma-es {self._history}"
            try:
                self._answers = msgspec.json.decode(self._store.keep(name, text), type=_Answers)
                shape = len(points), self._dimension
                if np.shape(self._answers.points) != shape or len(self._answers.mean) != shape[1]:
                    raise ValueError("expected {} points of {} numbers, and their mean".format(*shape))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise StoreError(
                    f"the store {self._store.path} has candidates of a search that do not read, {name}: {error!r}; "
                    "restore it from a copy, or remove them, and they are drawn anew:\n"
                    f"  sqlite3 {self._store.path} \"DELETE FROM meta WHERE name = '{name}'\""
                ) from error
        self._points = self._points[self._population :] + self._answers.points
