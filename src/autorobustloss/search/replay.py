"""What a search promises when it is run again, and how it keeps it.

A search is a function of its configuration and of the results of its jobs. Run again on a store it ends at the same
loss, to the last bit, on any processor and with any build of NumPy and PyTorch: whatever the store holds is not
trained, only what it lacks is. So a run that was killed goes on where it was, here or elsewhere, and a store is
evidence that anyone can follow to the learned loss without training.

That needs help, because CMA-ES does not give the same candidates everywhere. They are matrix products, whose last bits
differ between processors, and a job's key knows every bit; and they are drawn along eigenvectors, whose signs, and
whose directions where eigenvalues are equal, are up to the library beneath. So what CMA-ES answers is kept in the store
too (`Remembered`), by all that led to it: its settings, and every point and fitness it was told. Nothing is carried
over to another history, and nothing drifts, because CMA-ES is told the points that were kept.

Not promised: the bits of what is trained anew. A machine trains a job to the same bits again, under the same build of
PyTorch. So do machines of its type, for certain only with `exact`, which leaves out the compiled loss that may be
another there. Other processors agree with it to rounding, which a training may amplify up to some points of accuracy: a
search that trains anew there is another sample of the same experiment. So results tell where they come from
(`Result.processor`, `blas` and `exact`), and so do cards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from autorobustloss.errors import ConfigError, StoreError
from autorobustloss.runs.store import Store
from autorobustloss.search.config import SearchConfig


class Remembered:
    """A search's CMA-ES (see `Strategy`), whose answers a store keeps: the first ones given to a history, for ever.

    >>> from autorobustloss.data import DataSpec
    >>> from autorobustloss.runs import Task
    >>> config = SearchConfig((Task(DataSpec("digits"), "clean", "mlp2"),))
    >>> with Store(":memory:") as store:
    ...     here, elsewhere = Remembered(config, store), Remembered(config, store)
    ...     bool(np.array_equal(here.ask(), elsewhere.ask()))
    True
    """

    def __init__(self, config: SearchConfig, store: Store) -> None:
        """Start at the beginning of a search."""
        self._strategy, self._store = config.strategy(), store
        self._shape = (config.population, config.space.dimension)
        start = config.space.start(config.start).tolist()
        settings = [start, float(config.sigma), config.population, config.seed, config.adapt_learning_rate]
        self._come_to(json.dumps(["cma-es", *settings]))

    @property
    def mean(self) -> np.ndarray:
        """Return μ, shape (dimension,)."""
        return self._mean.copy()

    @property
    def converged(self) -> bool:
        """Return whether CMA-ES's own stopping criteria hold."""
        return self._converged

    def ask(self) -> list[np.ndarray]:
        """Return the candidates of the next generation, `population` vectors; the same until they are told."""
        return list(self._points.copy())

    def tell(self, points: Sequence[np.ndarray], fitness: Sequence[float]) -> None:
        """Move the distribution towards the fitter points; every fitness must be finite."""
        self._strategy.tell(points, fitness)
        told = [[float(v) for v in point] for point in points], [float(f) for f in fitness]
        self._come_to(json.dumps([self._history, *told]))

    def _come_to(self, history: str) -> None:
        """Answer for a history: as the store has it, else as CMA-ES does, which draws its candidates in either case."""
        self._history = hashlib.sha256(history.encode()).hexdigest()
        name, strategy = f"cma-es {self._history}", self._strategy
        points = [point.tolist() for point in strategy.ask()]
        answers = {"points": points, "mean": strategy.mean.tolist(), "converged": strategy.converged}
        try:
            text = json.dumps(answers, allow_nan=False)
        except ValueError:
            raise ConfigError(
                f"CMA-ES proposes losses beyond the range of numbers: {points[0]}; try a smaller --sigma"
            ) from None
        text = self._store.keep(name, text)
        try:
            self._points, self._mean, self._converged = _read(text, self._shape)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            raise StoreError(
                f"the store {self._store.path} has candidates of a search that do not read, {name}: {error!r}; restore "
                "it from a copy, or remove them, and they are drawn anew:\n"
                f"  sqlite3 {self._store.path} \"DELETE FROM meta WHERE name = '{name}'\""
            ) from error


def _read(text: str, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return what `Remembered` keeps: points of this shape, their mean, and whether CMA-ES has converged."""
    answers = json.loads(text)
    points, mean = (np.array(answers[name], dtype=float) for name in ("points", "mean"))
    if points.shape != shape or mean.shape != shape[1:] or not (np.isfinite(points).all() and np.isfinite(mean).all()):
        raise ValueError(f"expected {shape[0]} points of {shape[1]} finite numbers, and their mean")
    if not isinstance(answers["converged"], bool):
        raise ValueError(f"converged={answers['converged']!r}")
    return points, mean, answers["converged"]
