"""A search replays from its store, whatever the last bits of what CMA-ES computes (see `search.strategy`)."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cmaes import CMA

from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.errors import ConfigError, StoreError
from autorobustloss.losses import create_loss
from autorobustloss.losses.cards import load_card
from autorobustloss.runs import Result, Runtime, SerialExecutor, Store, Task
from autorobustloss.search import SearchConfig, Space, run_search
from autorobustloss.search import config as config_module
from autorobustloss.search.card import make_card
from autorobustloss.search.strategy import Strategy
from autorobustloss.training import History, TrainingProtocol

SCRIPT = Path(__file__).parents[2] / "searches" / "replay.py"
SHIPPED = runpy.run_path(str(SCRIPT))
DIGITS = load_dataset("digits")
SPEC = DataSpec("digits", train_size=200, valid_size=50, fingerprint=DIGITS.fingerprint)
TASKS = tuple(
    Task(SPEC, noise, "linear", TrainingProtocol(lr=0.1, batch_size=100, epochs=1)) for noise in ("sym:0.4", "clean")
)
KERNELS = {
    "OPENBLAS_CORETYPE": "Prescott",
    "NPY_DISABLE_CPU_FEATURES": "AVX2 AVX512F",
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
}


class MadeUp:
    """Gives each job an accuracy computed from its loss and its noise; some losses diverge."""

    def __init__(self):
        self.jobs = []

    def map(self, jobs, failures=None):
        for job in jobs:
            self.jobs.append(job)
            form = create_loss(job.method.name, **job.method.options).canonical()
            noise = 1e-3 * (job.noise_seed % 97)
            accuracy = round(1 / (1 + (form.k - 1) ** 2 + (form.log_weight - 0.2) ** 2 + noise), 3)
            stopped = "diverged" if abs(form.a[0]) > 4 else ""
            yield job, Result(job.key, History([1], [accuracy], stopped=stopped, steps=1), 0.4, 0.0, "cpu", "here", {})


class Nobody:
    def map(self, jobs, failures=None):
        assert not jobs, f"{len(jobs)} jobs miss the store"
        yield from ()


def disturb(monkeypatch, size, turned=False):
    """Change the last bits of what CMA-ES proposes and of where it stands; and turn its eigenvectors round."""
    generator = np.random.default_rng(0)
    ask, mean, eigh = CMA.ask, CMA.mean.fget, np.linalg.eigh

    def other(point):
        return point * (1 + size * generator.uniform(-1, 1, len(point)))

    def turn(matrix):
        values, vectors = eigh(matrix)
        return values, vectors * generator.choice([-1.0, 1.0], size=len(values))

    monkeypatch.setattr(CMA, "ask", lambda self: other(ask(self)))
    monkeypatch.setattr(CMA, "mean", property(lambda self: other(mean(self))))
    if turned:
        monkeypatch.setattr(np.linalg, "eigh", turn)


def search(config, store, executor):
    return run_search(config, {"digits": 10}, store, executor)


@pytest.mark.parametrize("name", SHIPPED["NAMES"])
def test_a_committed_store_gives_the_card_on_the_shelf(name, monkeypatch):
    disturb(monkeypatch, 1e-13, turned=True)
    outcome, found = SHIPPED["replay"](name)
    shelf = load_card(name)
    assert replace(found, scale=shelf.scale).sha256 == shelf.sha256
    assert found.theta == shelf.theta
    assert outcome.winner.accuracy == shelf.provenance["fitness"]
    assert json.loads(json.dumps([g.to_dict() for g in outcome.generations])) == shelf.provenance["generations"]


@pytest.mark.parametrize("name", [name for name in SHIPPED["SEVERAL"] if name.startswith("second")])
def test_a_search_that_did_not_ship_replays_from_the_seed_on_its_card(name):
    card = load_card(SCRIPT.parent / "attempts" / name / "loss.json")
    found = {seed: SHIPPED["replay"](name, seed)[1].sha256 for seed in (None, *SHIPPED["SEEDS"])}
    assert found[None] == card.sha256 == found[card.provenance["search"]["seed"]]
    assert len(set(found.values())) == 3


@pytest.mark.parametrize(
    "kernels",
    [
        KERNELS,
        pytest.param({"OPENBLAS_CORETYPE": "Nehalem"}, marks=pytest.mark.slow),
        pytest.param({"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}, marks=pytest.mark.slow),
    ],
)
def test_committed_stores_replay_on_other_kernels(kernels):
    environment = {**os.environ, **kernels, "OMP_NUM_THREADS": "1"}
    run = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.split() == [
        word for name in SHIPPED["NAMES"] for word in (f"{name}:", load_card(name).sha256)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        SearchConfig(TASKS, Space("canonical+power"), population=6, generations=30, sigma=1.0),
        SearchConfig(TASKS, Space("canonical+log"), population=9, generations=20, start="sce", race=0.5),
        SearchConfig(TASKS, Space("paper", scale=None), population=8, generations=12, fitness="odds"),
        SearchConfig(TASKS, Space("canonical", order=2), population=12, generations=12, fitness="rank"),
    ],
    ids=lambda config: f"{config.space.name}",
)
@pytest.mark.parametrize(("size", "turned", "adapted"), [(1e-15, False, False), (1e-13, True, True)])
def test_a_new_run_replays_with_other_last_bits(config, size, turned, adapted, monkeypatch):
    """Over many generations, with candidates that are rejected, diverge or lie out of bounds."""
    monkeypatch.setattr(config_module, "LEARNING_RATE_ADAPTATION_FROM", 0 if adapted else 10**9)
    with Store(":memory:") as store:
        one = search(config, store, MadeUp())
        disturb(monkeypatch, size, turned)
        assert search(config, store, Nobody()) == one


def test_without_its_store_it_would_not(monkeypatch):
    """So the disturbances above are some; there are as many candidates as dimensions, whose directions tell little."""
    config = SearchConfig(TASKS, Space("canonical+power"), population=8, generations=3)
    executors = MadeUp(), MadeUp()
    for executor, disturbed in zip(executors, (False, True)):
        with Store(":memory:") as store, monkeypatch.context() as patch:
            if disturbed:
                disturb(patch, 1e-13)
            search(config, store, executor)
    assert not {job.key for job in executors[0].jobs} & {job.key for job in executors[1].jobs}


def test_real_trainings_replay_with_other_last_bits(monkeypatch, tmp_path):
    config = SearchConfig(TASKS, population=4, generations=3, finalists_seeds=1)
    with Store(tmp_path / "store.sqlite") as store:
        one = search(config, store, SerialExecutor({"digits": DIGITS}, Runtime(exact=True)))
        disturb(monkeypatch, 1e-13)
        two = search(config, store, Nobody())
    assert two == one
    card = make_card(config, two, "again")
    assert card.sha256 == make_card(config, one, "first").sha256
    assert one.origin.exact is card.provenance["exact"] is True
    assert card.provenance["processor"] == one.origin.processor[0] != "unknown"
    assert card.provenance["blas"] == one.origin.blas[0] != "unknown"


def test_a_run_goes_on_elsewhere_and_comes_back(monkeypatch):
    """Killed in generation 3, gone on with other last bits, replayed here: each trains only what is not stored."""
    config = SearchConfig(TASKS, population=5, generations=6)

    class Killed(MadeUp):
        def map(self, jobs, failures=None):
            for done in super().map(jobs, failures):
                if len(self.jobs) > 5 * len(TASKS) * 2 + 3:
                    raise KeyboardInterrupt
                yield done

    with Store(":memory:") as store:
        with pytest.raises(KeyboardInterrupt):
            search(config, store, Killed())
        before = len(store)
        with monkeypatch.context() as patch:
            disturb(patch, 1e-13, turned=True)
            elsewhere = MadeUp()
            there = search(config, store, elsewhere)
        assert len(store) == before + len(elsewhere.jobs)
        here = search(config, store, Nobody())
    assert here == there


def test_candidates_follow_from_the_history_alone():
    """Kept for one history they are not taken for another: other results, another seed, step size or start."""
    config = SearchConfig(TASKS, population=4, generations=1)
    points = Strategy(config.space.start("mae"), 0.5, 4, seed=0).ask()
    with Store(":memory:") as store:
        one, other, same = (config.strategy(store) for _ in range(3))
        assert np.array_equal(one.ask(), points)
        assert np.array_equal(one.ask(), other.ask())
        for strategy, fitness in ((one, [1, 2, 3, 4]), (other, [1, 2, 3, 5]), (same, [1, 2, 3, 4])):
            strategy.tell(strategy.ask(), fitness)
        assert np.array_equal(one.ask(), same.ask())
        assert np.array_equal(one.mean, same.mean)
        assert np.array_equal(one.mean, other.mean), "the same order"
        assert len(_kept(store)) == 3, "another history all the same"
        for changes in ({"seed": 1}, {"sigma": 0.4}, {"start": "zero"}, {"population": 5}):
            assert not np.array_equal(replace(config, **changes).strategy(store).ask(), points)
        assert len(_kept(store)) == 7
        replace(config, finalists_seeds=1, generations=9, fitness="rank").strategy(store)
        assert len(_kept(store)) == 7, "how long, and how candidates are scored, changes none of them"


def test_answers_go_on_from_what_was_kept(monkeypatch):
    """CMA-ES is told the points that the store has, so what it adds to them elsewhere differs by rounding alone."""
    config = SearchConfig(TASKS, population=12, generations=1)
    with Store(":memory:") as store:
        here = config.strategy(store)
        points = here.ask()
        with monkeypatch.context() as patch:
            disturb(patch, 1e-2)
            there = config.strategy(store)
        assert np.array_equal(there.ask(), points)
        there.tell(points, range(12))
    strategy = config.strategy()
    strategy.ask()
    strategy.tell(points, range(12))
    assert there.ask()[-1] == pytest.approx(strategy.ask()[-1], rel=1e-9)


@pytest.mark.parametrize(
    "kept",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"points": [[1, 2]], "mean": [0, 0, 0, 0, 0, 0, 0], "converged": false}',
        json.dumps({"points": [[0.0] * 7] * 4, "mean": [0.0] * 6, "converged": False}),
        json.dumps({"points": [[0.0] * 7] * 4, "mean": [0.0] * 7, "converged": 0}),
        json.dumps({"points": [[0.0] * 7] * 4, "mean": [float("nan")] * 7, "converged": False}),
        json.dumps({"points": [[0.0] * 7] * 4, "mean": [0.0] * 6 + [float("inf")], "converged": False}),
        json.dumps({"points": [[10**400] * 7] * 4, "mean": [0.0] * 7, "converged": False}),
        "[" * 10**5,
        json.dumps({"points": [["a"] * 7] * 4, "mean": [0.0] * 7, "converged": False}),
    ],
)
def test_kept_candidates_that_do_not_read_are_refused(kept):
    config = SearchConfig(TASKS, population=4, generations=1)
    with Store(":memory:") as store:
        config.strategy(store)
        (name,) = _kept(store)
        store._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, kept))
        with pytest.raises(StoreError, match=r"do not read[\s\S]*DELETE FROM meta WHERE name = 'cma-es"):
            config.strategy(store)


def test_beyond_the_range_of_numbers(monkeypatch):
    config = SearchConfig(TASKS)
    monkeypatch.setattr(CMA, "ask", lambda self: np.array([np.inf]))
    with Store(":memory:") as store:
        with pytest.raises(ConfigError, match="beyond the range of numbers"):
            config.strategy(store)
        assert _kept(store) == []


def _kept(store):
    return [name for (name,) in store._rows("SELECT name FROM meta", ())]


@pytest.mark.slow
def test_the_command_replays_on_other_kernels(tmp_path):
    """Run here, and again on the processor of another decade: nothing is trained, and it ends at the same loss."""
    command = [sys.executable, "-m", "autorobustloss", "search", "--quiet", "--json", "--models=linear", "--epochs=2"]
    command += ["--train-size=300", "--valid-size=100", "--generations=4", "--compare=ce", "--compare-seeds=1"]
    outcomes = []
    for kernels in ({}, KERNELS):
        run = subprocess.run(
            [*command, f"--out={tmp_path / 'run'}"],
            env={**os.environ, **kernels},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        with Store(tmp_path / "run" / "store.sqlite") as store:
            outcomes.append((json.loads(run.stdout), load_card(tmp_path / "run" / "loss.json"), store.keys()))
    assert outcomes[0] == outcomes[1]
