"""Jobs trained together by an executor: which, with what numbers, and what happens when it does not work."""

from __future__ import annotations

import importlib
import os
from dataclasses import replace

import pytest
import torch
from torch import nn

from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.errors import WorkerError
from autorobustloss.methods import MethodSpec
from autorobustloss.models.network import Network
from autorobustloss.registry import MODELS
from autorobustloss.runs import Job, ProcessExecutor, SerialExecutor, Store, Task, run_jobs
from autorobustloss.runs import cohort as cohort_module
from autorobustloss.runs.cohort import by_cohort
from autorobustloss.training import TrainingProtocol

TASK = Task(
    DataSpec("digits", 300, 100, 100), "sym:0.4", "mlp2(hidden=32)", TrainingProtocol(lr=0.1, epochs=6, batch_size=100)
)
POPULATION = [
    Job(TASK, MethodSpec.of("taylor", theta=(0, 0, a, 0, -1), scale="init", **log), evaluate=("valid_clean",))
    for a, log in (
        (0.0, {}),
        (-0.5, {"log_weight": 0.1}),
        (0.5, {"log_weight": 0.5, "log_power": 0.7}),
        (-0.2, {"log_weight": 1.0}),
        (-1.0, {}),
    )
]
BROKEN = replace(POPULATION[0], method=MethodSpec.of("taylor", theta=(0, 0, 0, 0, 1), scale="init"))


@pytest.fixture(scope="module")
def datasets():
    return {"digits": load_dataset("digits")}


@pytest.fixture(scope="module")
def loop(datasets):
    """What each job gives alone."""
    return {job.key: result for job, result in SerialExecutor(datasets).map(POPULATION)}


def check(results, loop):
    """Compare with training alone: to rounding early on, within some samples of a hundred at the end."""
    for job, result in results:
        history, alone = result.history, loop[job.key].history
        assert (result.key, history.epochs, history.steps) == (job.key, alone.epochs, alone.steps)
        assert history.train_loss[0] == pytest.approx(alone.train_loss[0], rel=1e-5)
        assert history.valid_clean == pytest.approx(alone.valid_clean, abs=0.03)
        assert result.noise_rate == loop[job.key].noise_rate


# Which jobs go together


def test_only_jobs_that_differ_in_a_plain_taylor_loss_go_together():
    others = [
        replace(POPULATION[0], method=MethodSpec("ce")),
        replace(POPULATION[0], method=MethodSpec("gce")),
        replace(POPULATION[1], method=MethodSpec.of("taylor", theta=(0, 0, 0, 0, -1), match_scale=True)),
        replace(POPULATION[1], method=MethodSpec.of("taylor", theta=(0, 0, 0, 0, -1), reduction="sum")),
        replace(POPULATION[1], seed=1),
        replace(POPULATION[1], noise_seed=1),
        replace(POPULATION[1], split_seed=1),
        replace(POPULATION[1], evaluate=("test",)),
        replace(POPULATION[1], task=replace(TASK, model="linear")),
    ]
    jobs = [others[0], *POPULATION, *others[1:]]
    units = by_cohort(jobs)
    assert sorted(map(len, units)) == [1] * len(others) + [len(POPULATION)]
    assert tuple(POPULATION) in units
    assert [job for unit in units for job in unit] == jobs


@pytest.mark.parametrize(("parts", "sizes"), [(1, [5]), (2, [3, 2]), (3, [2, 2, 1]), (8, [1] * 5)])
def test_workers_share_a_group(parts, sizes):
    units = by_cohort(POPULATION, parts)
    assert [len(unit) for unit in units] == sizes
    assert [job for unit in units for job in unit] == POPULATION


# Their numbers


def test_together_they_give_the_numbers_they_give_alone(datasets, loop):
    other = replace(POPULATION[0], method=MethodSpec("ce"))
    with SerialExecutor(datasets, cohorts=True) as executor:
        results = list(executor.map([other, *POPULATION]))
    assert [job for job, _ in results] == [other, *POPULATION]
    assert [r.device for _, r in results] == ["cpu"] + ["cpu, cohort of 5"] * 5
    assert {r.exact for _, r in results} == {False}
    check(results[1:], loop)
    assert len({r.wall_time for _, r in results[1:]}) == 1


def test_a_pool_divides_them_among_its_workers(datasets, loop):
    with ProcessExecutor(datasets, workers=2, cohorts=True) as executor:
        results = list(executor.map(POPULATION))
        assert {job.key for job, _ in results} == loop.keys()
        assert sorted(r.device for _, r in results) == ["cpu, cohort of 2"] * 2 + ["cpu, cohort of 3"] * 3
        check(results, loop)


# Where it does not work


class WithDropout(Network):
    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__(nn.Sequential(nn.Flatten(), nn.Dropout(0.1)), nn.Linear(64, num_classes))


@pytest.fixture
def with_dropout(monkeypatch):
    monkeypatch.setitem(MODELS._factories, "with-dropout", WithDropout)
    return [replace(job, task=replace(TASK, model="with-dropout")) for job in POPULATION]


def test_a_network_that_cannot_be_stacked_is_trained_in_the_loop(datasets, with_dropout, monkeypatch):
    expected = {job.key: result.history for job, result in SerialExecutor(datasets).map(with_dropout)}
    with SerialExecutor(datasets, cohorts=True) as executor:
        for again in (False, True):
            results = {job.key: result for job, result in executor.map(with_dropout)}
            assert {key: result.history for key, result in results.items()} == expected
            assert {result.device for result in results.values()} == {"cpu"}
            if not again:  # what was declined is not tried again
                monkeypatch.setattr(cohort_module, "fit_cohort", None)


def test_a_job_that_fails_is_named_and_those_before_it_are_kept(datasets, loop):
    with Store(":memory:") as store:
        with (
            SerialExecutor(datasets, cohorts=True) as executor,
            pytest.raises(WorkerError, match=r"job taylor\(.* failed: .*no scale 'init'"),
        ):
            run_jobs([*POPULATION[:2], BROKEN, *POPULATION[2:]], store, executor)
        assert set(store.keys()) == {job.key for job in POPULATION[:2]}


def test_too_large_a_cohort_is_halved(datasets, loop, monkeypatch):
    sizes = []
    real = cohort_module.fit_cohort

    def small_memory(network, losses, *arguments):
        sizes.append(len(losses))
        if len(losses) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return real(network, losses, *arguments)

    monkeypatch.setattr(cohort_module, "fit_cohort", small_memory)
    with SerialExecutor(datasets, cohorts=True) as executor:
        results = list(executor.map(POPULATION))
    assert sizes == [5, 3, 2, 2]  # and the fifth alone, in the loop
    assert [r.device for _, r in results] == ["cpu, cohort of 2"] * 4 + ["cpu"]
    check(results, loop)


DYING = """
import os, signal
from autorobustloss.runs import Result
from autorobustloss.runs.cohort import CohortTrainer
from autorobustloss.training import History

class Dying(CohortTrainer):
    def __call__(self, job):
        return Result(job.key, History([1], [0.5]), 0.0, 0.1, "alone", "here", {})

    def together(self, unit):
        for job in unit[:2]:
            yield Result(job.key, History([1], [0.5]), 0.0, 0.1, "together", "here", {})
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def dying(tmp_path, monkeypatch):
    (tmp_path / "dying_cohorts.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("dying_cohorts").Dying({})


@pytest.mark.skipif(os.name != "posix", reason="kills processes with POSIX signals")
def test_jobs_of_a_cohort_whose_worker_is_killed_are_trained_one_by_one(dying):
    with ProcessExecutor({}, workers=1, cohorts=True) as executor:
        executor.run = dying
        results = list(executor.map(POPULATION))
    assert [job for job, _ in results] == POPULATION
    assert [r.device for _, r in results] == ["together", "together", "alone", "alone", "alone"]


# Resuming


def test_a_run_that_ended_early_goes_on_where_it_was(datasets, loop):
    with Store(":memory:") as store, SerialExecutor(datasets, cohorts=True) as executor:
        run_jobs(POPULATION[:2], store, executor)
        heard = []
        results = run_jobs(POPULATION, store, executor, lambda job, result, cached: heard.append((job, cached)))
        assert heard == [(job, k < 2) for k, job in enumerate(POPULATION)]
        assert [r.device for r in results] == ["cpu, cohort of 2"] * 2 + ["cpu, cohort of 3"] * 3
        check(zip(POPULATION, results), loop)
        assert run_jobs(POPULATION, store, executor) == results
