"""Candidates drawn a generation early: whoever trains first, the search is the same."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.errors import ConfigError
from autorobustloss.losses import create_loss
from autorobustloss.runs import Executor, Result, SerialExecutor, Store, Task
from autorobustloss.search import SearchConfig, run_search
from autorobustloss.search.strategy import Strategy
from autorobustloss.training import History, TrainingProtocol

DIGITS = load_dataset("digits")
SPEC = DataSpec("digits", train_size=300, valid_size=100, fingerprint=DIGITS.fingerprint)
TASKS = tuple(Task(SPEC, noise, "linear", TrainingProtocol(epochs=2)) for noise in ("sym:0.4", "clean"))
CONFIG = SearchConfig(TASKS, population=5, generations=4, finalists_seeds=1, ahead=3)


class Hurried(Executor):
    """Makes accuracies up, in a drawn order, and does a drawn part of what comes ahead; the rest when it is asked."""

    def __init__(self, seed: int, most: int | None = None) -> None:
        self.random, self.most, self.trained, self.early = random.Random(seed), most, [], 0

    def map(self, jobs, failures=None, ahead=()):
        early = self.random.sample(list(ahead), self.random.randint(0, len(ahead)))
        mixed = [*jobs, *early]
        self.early += len(early)
        self.random.shuffle(mixed)
        for job in mixed:
            if self.most is not None and len(self.trained) >= self.most:
                raise KeyboardInterrupt
            k = create_loss("taylor", **job.method.options).canonical().k
            history = History([1], valid_clean=[1 / (1 + (k - 1) ** 2)], train_loss=[0.0], train_accuracy=[0.0])
            self.trained.append(job.key)
            yield job, Result(job.key, history, 0.4, 0.0, "cpu", "here", {})


def search(executor, store=":memory:", config=CONFIG):
    with Store(store) as opened:
        return run_search(config, {"digits": 10}, opened, executor)


@hypothesis_settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_the_outcome_does_not_depend_on_what_was_done_early(seed, ahead):
    config = dataclasses.replace(CONFIG, ahead=ahead)
    plain = search(Hurried(0), config=config)
    executor = Hurried(seed)
    assert search(executor, config=config) == plain
    assert len(executor.trained) == len(set(executor.trained)), "one job was trained twice"


def test_an_executor_that_takes_no_hint_comes_to_the_same_with_real_trainings():
    class Eager(SerialExecutor):
        def map(self, jobs, failures=None, ahead=()):
            return super().map([*ahead, *jobs], failures)

    config = dataclasses.replace(CONFIG, generations=2)
    assert search(Eager({"digits": DIGITS}), config=config) == search(SerialExecutor({"digits": DIGITS}), config=config)


@pytest.mark.parametrize("moment", [3, 12, 25])
def test_killed_and_run_again(tmp_path, moment):
    store = tmp_path / "store.sqlite"
    first, second = Hurried(1, most=moment), Hurried(2)
    with pytest.raises(KeyboardInterrupt):
        search(first, store)
    assert search(second, store) == search(Hurried(3))
    assert not set(first.trained) & set(second.trained)
    assert first.early + second.early > 0


def test_candidates_early_are_those_of_the_next_generation():
    strategy = Strategy(np.zeros(3), 0.5, 6, seed=0, ahead=2)
    for _ in range(4):
        early, points = strategy.early(), strategy.ask()
        assert len(early) == 2
        assert len(points) == 6
        strategy.tell(points, [-float(np.sum((p - 1) ** 2)) for p in points])
        assert np.array_equal(strategy.ask()[:2], early)


def test_it_climbs_all_the_same():
    strategy = Strategy(np.zeros(3), 0.5, 10, seed=0, ahead=10)
    for _ in range(60):
        points = strategy.ask()
        strategy.tell(points, [-float(np.sum((p - 1) ** 2)) for p in points])
    assert np.abs(strategy.mean - 1).max() < 1e-3


def test_without_it_nothing_changes():
    assert "ahead" not in dataclasses.replace(CONFIG, ahead=0).to_dict()
    assert CONFIG.to_dict()["ahead"] == 3
    assert Strategy(np.zeros(3), 0.5, 6, seed=0).early() == []


@pytest.mark.parametrize("change", [{"ahead": -1}, {"ahead": 6}, {"race": 0.5}])
def test_what_cannot_be_is_refused(change):
    with pytest.raises(ConfigError, match=r"got ahead=.*expected 0 to the population, and no race"):
        dataclasses.replace(CONFIG, **change)
