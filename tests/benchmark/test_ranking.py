"""Ranks and tests against SciPy, against Demšar's worked example, and against the paper's printed ranks."""

from __future__ import annotations

import itertools
import json
from importlib import resources

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special, stats

from autorobustloss.benchmark.ranking import (
    average_ranks,
    cliques,
    critical_difference,
    friedman,
    ranks,
    wilcoxon_holm,
)
from autorobustloss.errors import ConfigError

# Demšar 2006, Table 2: AUC of C4.5 with m and cf at default or tuned, 14 data sets. "voting" prints one tie that the
# ranks show is none: a digit is added.
DEMSAR = [
    [0.763, 0.768, 0.771, 0.798],
    [0.599, 0.591, 0.590, 0.569],
    [0.954, 0.971, 0.968, 0.967],
    [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898],
    [0.936, 0.931, 0.916, 0.931],
    [0.661, 0.668, 0.609, 0.685],
    [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875],
    [1.000, 1.000, 1.000, 1.000],
    [0.940, 0.962, 0.965, 0.962],
    [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975],
    [0.957, 0.978, 0.946, 0.970],
]
UNTIED = np.mean([stats.tiecorrect(row) for row in ranks(DEMSAR)])  # Demšar does not correct for ties
SCORES = arrays(np.float64, st.tuples(st.integers(3, 9), st.integers(3, 7)), elements=st.integers(0, 6).map(float))


def test_demsar_worked_example():
    assert average_ranks(DEMSAR) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    chi2, n, k = friedman(DEMSAR).chi2 * UNTIED, 14, 4
    assert chi2 == pytest.approx(9.28, abs=5e-3)
    assert (n - 1) * chi2 / (n * (k - 1) - chi2) == pytest.approx(3.69, abs=5e-3)
    assert critical_difference(methods=4, tasks=14, alpha=0.10) == pytest.approx(1.12, abs=5e-3)


@pytest.mark.parametrize(
    ("alpha", "methods", "q"),
    [(0.05, k, q) for k, q in [(2, 1.960), (5, 2.728), (8, 3.031), (10, 3.164), (11, 3.219), (12, 3.268), (13, 3.313)]]
    + [(0.10, 7, 2.693), (0.10, 12, 3.030), (0.10, 13, 3.077)],
)
def test_nemenyi_quantiles_are_the_printed_ones(alpha, methods, q):
    expected = q * np.sqrt(methods * (methods + 1) / (6 * 8))
    assert critical_difference(methods, tasks=8, alpha=alpha) == pytest.approx(expected, rel=2e-4)


def test_critical_difference_of_the_papers_tables():
    assert critical_difference(13, 8) == pytest.approx(6.45, abs=5e-3)
    assert critical_difference(13, 16) == pytest.approx(4.56, abs=5e-3)


@given(SCORES)
@settings(deadline=None, max_examples=60)
def test_friedman_equals_scipy_with_and_without_ties(scores):
    if all(len(set(row)) == 1 for row in scores.tolist()):
        assert friedman(scores).p_chi2 == 1.0
        return
    reference = stats.friedmanchisquare(*scores.T)
    ours = friedman(scores)
    assert ours.chi2 == pytest.approx(reference.statistic, rel=1e-9, abs=1e-9)
    assert ours.p_chi2 == pytest.approx(reference.pvalue, rel=1e-7, abs=1e-12)


def test_the_p_value_of_f_has_its_degrees_of_freedom():
    """Demšar's example: F with 3 and 39 degrees of freedom, whose quantile at 0.05 he gives as 2.85."""
    test = friedman(DEMSAR)
    assert test.p_f == pytest.approx(special.betainc(39 / 2, 3 / 2, 39 / (39 + 3 * test.f)))
    assert stats.f.ppf(0.95, 3, 39) == pytest.approx(2.85, abs=5e-3)
    assert (test.tasks, test.methods) == (14, 4)


@given(SCORES)
@settings(deadline=None, max_examples=60)
def test_ranks_sum_to_the_triangle_and_follow_the_scores(scores):
    k = scores.shape[1]
    got = ranks(scores)
    assert got.sum(axis=1) == pytest.approx(k * (k + 1) / 2)
    for row, rank in zip(scores, got, strict=True):
        # The definition, written out: one plus those better, plus half of the others that are equal.
        assert rank.tolist() == [1 + np.sum(row > v) + (np.sum(row == v) - 1) / 2 for v in row]


def test_f_statistic_is_infinite_when_every_task_agrees():
    test = friedman([[3.0, 2.0, 1.0]] * 5)
    assert test.f is None
    assert test.p_f == pytest.approx(1 / 6**4)  # exact: each of the other tasks has one of 3! orders


@pytest.mark.parametrize("table", ["table1", "table2", "table3-sym", "table3-asym", "table5"])
def test_the_papers_average_ranks_follow_from_its_accuracies(table):
    text = (resources.files("autorobustloss.paper") / "numbers.json").read_text(encoding="utf-8")
    data = json.loads(text)["tables"][table]
    rows = [row for row in data["rows"] if None not in row["accuracy"]]
    mean_ranks = average_ranks(np.array([row["accuracy"] for row in rows]).T)
    printed = np.array([row["average_rank"] for row in rows])
    # Tables 1 to 3 count from 0. Table 5 lacks ARL's column, which beat everything but JoCoR in all eight.
    offset = {0: -1.0, 1: 1.0}[data["rank_base"]]
    exact = 0.02 if table in ("table1", "table2", "table5") else 0.07
    kept = [i for i, row in enumerate(rows) if row["method"] != "jocor"]
    assert (mean_ranks + offset)[kept] == pytest.approx(printed[kept], abs=exact)


def test_wilcoxon_holm_steps_down_over_scipys_p_values():
    scores = np.random.default_rng(0).normal(size=(12, 4)) + np.array([0.0, 0.3, 1.5, 3.0])
    pairs = list(itertools.combinations(range(4), 2))
    raw = {pair: stats.wilcoxon(scores[:, pair[0]], scores[:, pair[1]]).pvalue for pair in pairs}
    adjusted = wilcoxon_holm(scores)
    worst = 0.0
    for step, pair in enumerate(sorted(raw, key=raw.__getitem__)):
        worst = max(worst, min(1.0, raw[pair] * (len(pairs) - step)))
        assert adjusted[pair] == pytest.approx(worst)
    assert np.array_equal(adjusted, adjusted.T)
    assert np.diag(adjusted) == pytest.approx(1.0)


@pytest.mark.parametrize("tasks", [2, 5, 8, 13, 14])
def test_wilcoxon_with_ties_and_zeros_is_scipy_s(tasks):
    scores = np.random.default_rng(tasks).integers(0, 4, size=(tasks, 2)) / 4.0
    expected = stats.wilcoxon(scores[:, 0] - scores[:, 1], zero_method="zsplit").pvalue
    assert wilcoxon_holm(scores)[0, 1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_wilcoxon_of_few_tasks_with_ties_counts_what_is_as_far_out(seed):
    """By the definition: the share of all signs of the differences whose sum is at least as far from 0."""
    differences = np.random.default_rng(seed).integers(-3, 4, size=7) / 4
    if not differences.any():
        return
    r = stats.rankdata(np.abs(differences))
    sums = [sum(s * v for s, v, d in zip(signs, r, differences) if d) for signs in itertools.product((-1, 1), repeat=7)]
    observed = abs(sum(np.sign(d) * v for v, d in zip(r, differences)))
    expected = min(1.0, 2 * np.mean([s >= observed for s in sums]))
    scores = np.column_stack([differences, np.zeros(7)])
    assert wilcoxon_holm(scores)[0, 1] == pytest.approx(expected)


def test_wilcoxon_of_what_balances_is_one():
    assert wilcoxon_holm([[0.1, 0.2], [0.2, 0.1]])[0, 1] == 1.0


@pytest.mark.parametrize("tasks", [6, 14, 30])
def test_wilcoxon_of_equal_methods_is_one(tasks):
    scores = np.random.default_rng(0).normal(size=(tasks, 2))
    assert wilcoxon_holm(np.column_stack([scores[:, 0], scores]))[0, 1] == 1.0


@given(st.lists(st.floats(1, 10), min_size=2, max_size=8), st.floats(0.1, 5))
@settings(deadline=None)
def test_cliques_are_the_maximal_groups_within_the_difference(mean_ranks, difference):
    groups = [frozenset(group) for group in cliques(mean_ranks, difference)]
    for i, j in itertools.combinations(range(len(mean_ranks)), 2):
        if abs(abs(mean_ranks[i] - mean_ranks[j]) - difference) < 1e-9:
            continue  # on the edge, rounding decides
        together = any({i, j} <= group for group in groups)
        assert together == (abs(mean_ranks[i] - mean_ranks[j]) < difference)
    assert not any(a < b for a in groups for b in groups)


@pytest.mark.parametrize("scores", [[1.0, 2.0], [[1.0, float("nan")]], np.empty((0, 3))])
def test_incomplete_scores_are_refused(scores):
    with pytest.raises(ConfigError, match="got"):
        average_ranks(scores)


def test_friedman_needs_two_tasks_and_two_methods():
    for scores in ([[1.0, 2.0]], [[1.0], [2.0]]):
        with pytest.raises(ConfigError, match="expected at least 2"):
            friedman(scores)
    assert friedman([[1.0, 2.0], [1.0, 2.0]]).chi2 == pytest.approx(2.0)


@pytest.mark.parametrize("alpha", [1.5, 1.0, 0.0, -0.1])
def test_critical_difference_refuses_nonsense(alpha):
    with pytest.raises(ConfigError, match="alpha"):
        critical_difference(3, 5, alpha=alpha)
