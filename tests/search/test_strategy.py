import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.errors import ConfigError
from autorobustloss.search.fitness import FITNESS, by_stage, mean_accuracy, mean_log_odds, mean_rank
from autorobustloss.search.strategy import Strategy


def sphere(points):
    return [-float(np.sum((p - 1.0) ** 2)) for p in points]


def climb(strategy, generations):
    for _ in range(generations):
        points = strategy.ask()
        strategy.tell(points, sphere(points))
    return strategy.mean


def test_it_finds_the_top():
    assert climb(Strategy(np.zeros(5), 0.5, 12, seed=0), 120) == pytest.approx(np.ones(5), abs=1e-3)


def test_the_same_seed_and_fitness_give_the_same_candidates_bit_for_bit():
    a, b = (climb(Strategy(np.zeros(7), 0.5, 12, seed=3), 9) for _ in range(2))
    assert a.tobytes() == b.tobytes()
    assert a.tobytes() != climb(Strategy(np.zeros(7), 0.5, 12, seed=4), 9).tobytes()


def test_tell_leaves_its_arguments_alone():
    strategy = Strategy(np.zeros(3), 0.5, 6, seed=0)
    points = strategy.ask()
    before = [p.copy() for p in points]
    strategy.tell(points, list(range(6)))
    assert all(np.array_equal(a, b) for a, b in zip(points, before))


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_fitness_must_be_finite(bad):
    strategy = Strategy(np.zeros(3), 0.5, 6, seed=0)
    with pytest.raises(ConfigError, match="finite"):
        strategy.tell(strategy.ask(), [bad, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(("population", "sigma"), [(2, 0.5), (12, 0.0), (12, float("nan"))])
def test_refusals(population, sigma):
    with pytest.raises(ConfigError, match=r"population|sigma"):
        Strategy(np.zeros(3), sigma, population, seed=0)


@pytest.mark.parametrize("name", sorted(FITNESS))
def test_a_failed_candidate_is_the_worst_and_finite(name):
    values = FITNESS[name]([[0.2, 0.3], None, [0.9, 0.8], None])
    assert np.all(np.isfinite(values))
    assert min(values) == values[1] == values[3]
    assert max(values) == values[2]


def test_all_failed():
    assert mean_accuracy([None, None]) == [0.0, 0.0]
    assert len(set(mean_rank([None, None]))) == 1


def test_a_race_ranks_stages_and_ties_what_agrees_to_rounding():
    """Without the rounding 0.1 + 0.2 would be fitter than 0.3, and which of two equal candidates leads be chance."""
    assert 0.1 + 0.2 > 0.3
    fitness = by_stage([[0.9, 0.9], [0.1 + 0.2], [0.3], None, None, [0.7, 0.7]], mean_accuracy)
    assert fitness == [0.9, -0.3, -0.3, -1.3, -1.3, 0.7]
    assert by_stage([[0.1 + 0.2] * 2, [0.3] * 2, [0.9]], mean_accuracy)[:2] == [0.3, 0.3]


scores_of_a_race = st.lists(st.none() | st.lists(st.floats(0, 1), min_size=1, max_size=3), min_size=2, max_size=9)


@pytest.mark.parametrize("name", sorted(FITNESS))
@given(scores=scores_of_a_race)
def test_in_a_race_who_gets_further_is_fitter_and_failures_are_last(name, scores):
    fitness = by_stage(scores, FITNESS[name])
    reached = [0 if s is None else len(s) for s in scores]
    if len(set(reached) - {0}) < 2:
        assert fitness == FITNESS[name](scores)
        return
    assert fitness == [round(v, 12) for v in fitness]
    for i, j in itertools.permutations(range(len(scores)), 2):
        if reached[i] > reached[j]:
            assert fitness[i] >= fitness[j] + 1 - 1e-9
    for stage in set(reached) - {0}:
        members = [i for i, r in enumerate(reached) if r == stage]
        alone = FITNESS[name]([scores[i] for i in members])
        offsets = [fitness[i] - value for i, value in zip(members, alone)]
        assert max(offsets) - min(offsets) < 1e-9, "within a stage it is the fitness itself, moved as a whole"


def test_equal_accuracies_share_their_mean_rank():
    assert mean_rank([[0.5], [0.5], [0.1]]) == [-1.5, -1.5, -3.0]


def test_fitness_without_a_race_is_left_as_it_is():
    scores = [[0.1 + 0.2, 0.5], None, [1 / 3, 0.7]]
    assert by_stage(scores, mean_accuracy) == mean_accuracy(scores)
    assert by_stage([None, None], mean_accuracy) == [0.0, 0.0]


def test_log_odds_are_rounded_for_the_logarithms_of_other_systems():
    (value,) = mean_log_odds([[2 / 3]])
    assert value == round(math.log(2), 12)


def test_log_odds_keep_off_nothing_and_all():
    low, high = mean_log_odds([[0.0], [1.0]])
    assert (low, high) == (pytest.approx(-math.log(999)), pytest.approx(math.log(999)))


def test_mean_rank_does_not_depend_on_how_far_tasks_spread():
    assert mean_rank([[0.1, 0.90], [0.9, 0.91]]) == mean_rank([[0.899, 0.1], [0.9, 0.9]])
