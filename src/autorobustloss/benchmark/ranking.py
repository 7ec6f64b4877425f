"""Average ranks and the tests that go with them, as pure functions of a score matrix (tasks × methods).

The procedure is that of Demšar, "Statistical Comparisons of Classifiers over Multiple Data Sets" (JMLR 2006), which
the paper's tables follow. Scores are "higher is better"; rank 1 is the best, ties share the mean of their ranks.
(The paper's Tables 1 to 3 print the rank minus one.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
import scipy  # loads `scipy.stats`, which takes a second, where that is first used
from numpy.typing import ArrayLike, NDArray

from autorobustloss.errors import ConfigError

Floats = NDArray[np.float64]

Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Number = Annotated[float, msgspec.Meta(ge=-1e12, le=1e12)]
"""No table that is read holds a larger one."""

EXACT_UP_TO = 13
"""Up to so many tasks the signed-rank test goes through all assignments of signs, with ties and zeros too."""


@dataclass(frozen=True)
class Friedman:
    """The Friedman test of "all methods are equally good", and the less conservative F of Iman and Davenport.

    f is None where every task ranks the methods alike: it is infinite, its distribution says nothing, and p_f is exact.
    """

    chi2: Number
    p_chi2: Number
    f: Number | None
    p_f: Number
    tasks: Count
    methods: Count


def ranks(scores: ArrayLike) -> Floats:
    """Rank the methods of each task: (N tasks, k methods) -> (N, k), 1 for the highest score, ties averaged.

    >>> ranks([[0.9, 0.7, 0.7], [0.1, 0.2, 0.3]]).tolist()
    [[1.0, 2.5, 2.5], [3.0, 2.0, 1.0]]
    """
    return np.asarray(scipy.stats.rankdata(-_matrix(scores), axis=1), dtype=np.float64)


def average_ranks(scores: ArrayLike) -> Floats:
    """Return the mean over tasks of each method's rank: (N, k) -> (k,)."""
    return np.asarray(ranks(scores).mean(axis=0))


def friedman(scores: ArrayLike) -> Friedman:
    """Test whether average ranks differ by more than chance.

    χ²_F = (k−1) · Σ_j (Σ_i r_ij)² / Σ_ij r_ij² of the ranks less their mean, (k+1)/2, with k−1 degrees of freedom. With
    ties that is Demšar's 12N/(k(k+1)) · (Σ_j R_j² − k(k+1)²/4) divided by 1 − Σ(t³−t)/(N(k³−k)) over groups of t tied
    scores. F_F = (N−1)χ²_F/(N(k−1) − χ²_F) has k−1 and (k−1)(N−1) degrees of freedom (Demšar 2006, section 3.2.2).
    Where every task ranks the methods alike, F_F has a zero beneath it; p is then the probability of that, 1/a^(N−1)
    for the a = k!/Πt! orders that the ranks of a task may take.
    Needs at least 2 tasks and 2 methods.
    """
    centred = ranks(scores)
    n, k = centred.shape
    if n < 2 or k < 2:
        raise ConfigError(f"Friedman test: got {n} tasks and {k} methods, expected at least 2 of each")
    centred -= (k + 1) / 2
    spread = float(np.sum(centred**2))  # 0 where every score is tied everywhere: nothing to tell apart
    chi2 = (k - 1) * float(np.sum(centred.sum(axis=0) ** 2)) / spread if spread else 0.0
    rest = n * (k - 1) - chi2
    f = (n - 1) * chi2 / rest if rest > 1e-9 else None
    ties = np.unique(centred[0], return_counts=True)[1].tolist()
    orders = math.factorial(k) // math.prod(map(math.factorial, ties))
    return Friedman(
        chi2=chi2,
        p_chi2=float(scipy.stats.chi2.sf(chi2, k - 1)),
        f=f,
        p_f=float(orders) ** (1 - n) if f is None else float(scipy.stats.f.sf(f, k - 1, (k - 1) * (n - 1))),
        tasks=n,
        methods=k,
    )


def critical_difference(methods: int, tasks: int, alpha: float = 0.05) -> float:
    """Return how far two average ranks must be apart to differ significantly (Nemenyi's test).

    CD = q_α √(k(k+1)/(6N)), q_α the quantile of the Studentised range over √2 (Demšar 2006, section 3.2.2).

    >>> round(critical_difference(methods=4, tasks=14), 2)
    1.25
    """
    if methods < 2 or tasks < 1 or not 0 < alpha < 1:
        raise ConfigError(
            f"critical difference: got {methods} methods, {tasks} tasks, alpha={alpha}; "
            "expected at least 2 methods, 1 task, and alpha between 0 and 1"
        )
    q = float(scipy.stats.studentized_range.ppf(1 - alpha, methods, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * tasks)))


def wilcoxon_holm(scores: ArrayLike) -> Floats:
    """Return Holm-adjusted p-values of the pairwise Wilcoxon signed-rank tests: (N, k) -> symmetric (k, k).

    Zero differences are split evenly between the two sides (Demšar 2006, section 3.1.3). The diagonal is 1.
    """
    table = _matrix(scores)
    k = table.shape[1]
    p = {(i, j): _wilcoxon(table[:, i] - table[:, j]) for i, j in itertools.combinations(range(k), 2)}
    adjusted, largest = np.ones((k, k)), 0.0
    for done, ((i, j), value) in enumerate(sorted(p.items(), key=lambda pair: pair[1])):
        largest = max(largest, min(1.0, value * (len(p) - done)))
        adjusted[i, j] = adjusted[j, i] = largest
    return adjusted


def cliques(mean_ranks: Sequence[float] | Floats, difference: float) -> list[tuple[int, ...]]:
    """Return the largest groups of methods whose average ranks lie within the critical difference, best first.

    These are the bars of a critical-difference diagram. Methods are given by index; groups of one are left out.

    >>> cliques([3.143, 2.000, 2.893, 1.964], difference=1.15)
    [(3, 1, 2), (1, 2, 0)]
    """
    order = np.argsort(mean_ranks, kind="stable")
    values = np.asarray(mean_ranks, dtype=np.float64)[order]
    ends = np.searchsorted(values, values + difference, side="left").tolist()
    found = zip(
        range(len(ends)), ends, [0, *ends]
    )  # start and end of the group that begins there, end of the one before
    return [tuple(order[start:end].tolist()) for start, end, before in found if end - start >= 2 and end > before]


def _matrix(scores: ArrayLike) -> Floats:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ConfigError(f"got scores of shape {table.shape}, expected one row per task and one column per method")
    if not np.isfinite(table).all():
        raise ConfigError("got missing or infinite scores; ranks need every method on every task: drop such tasks")
    return table


def _wilcoxon(differences: Floats) -> float:
    """Return the p-value of SciPy's test, but up to 13 tasks without the seconds it takes there for ties and zeros."""
    if not differences.any():
        return 1.0
    if len(differences) > EXACT_UP_TO:
        return float(scipy.stats.wilcoxon(differences, zero_method="zsplit").pvalue)
    ranks, signs = scipy.stats.rankdata(np.abs(differences)), np.sign(differences)
    every = 2 * np.indices((2,) * len(ranks)).reshape(len(ranks), -1) - 1  # all 2ⁿ signs: the null hypothesis
    sums = (ranks * np.abs(signs)) @ every
    return float(min(1.0, 2 * np.mean(sums >= abs(signs @ ranks) - 1e-9)))
