"""Executors: one contract for all, and what a pool of processes survives."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.context import SpawnProcess

import pytest
import torch

from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.errors import ConfigError, WorkerError
from autorobustloss.methods import MethodSpec
from autorobustloss.runs import (
    Job,
    ProcessExecutor,
    RayExecutor,
    Runtime,
    SerialExecutor,
    Store,
    Task,
    executor_for,
    run_jobs,
)
from autorobustloss.runs.sharing import SharedDatasets
from autorobustloss.training import History, TrainingProtocol

TASK = Task(DataSpec("digits", 300, 50, 50), "sym:0.4", "mlp2", TrainingProtocol(epochs=2))
JOBS = [Job(TASK, MethodSpec(name), noise_seed=seed, seed=seed) for seed in range(3) for name in ("ce", "gce", "mae")]
KEYS = {job.key for job in JOBS}
BROKEN = Job(TASK, MethodSpec("no-such-loss"))

posix = pytest.mark.skipif(os.name != "posix", reason="kills processes with POSIX signals")


@pytest.fixture(scope="module")
def datasets():
    return {"digits": load_dataset("digits")}


def histories(results) -> dict[str, History]:
    return {job.key: result.history for job, result in results}


# The contract of every executor, with real training


@pytest.fixture(scope="module")
def training_pool(datasets) -> Iterator[ProcessExecutor]:
    with ProcessExecutor(datasets, Runtime(workers=2)) as executor:
        yield executor


@pytest.fixture(scope="module")
def training_cluster(datasets, two_nodes) -> Iterator[RayExecutor]:
    with RayExecutor(datasets, address=two_nodes) as executor:
        yield executor


@pytest.fixture(params=["serial", "training_pool", pytest.param("training_cluster", marks=pytest.mark.slow)])
def executor(request, datasets):
    return SerialExecutor(datasets) if request.param == "serial" else request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def expected(datasets) -> dict[str, History]:
    return histories(SerialExecutor(datasets).map(JOBS))


def test_every_job_comes_back_with_the_same_numbers(executor, expected):
    assert histories(executor.map(JOBS)) == expected
    assert histories(executor.map(JOBS[::-1])) == expected


def test_no_jobs(executor):
    assert list(executor.map([])) == []


def test_a_job_that_raises_is_named(executor):
    message = r"job no-such-loss on digits/mlp2/sym:0\.4, seeds 0/0/0 failed: unknown .*'no-such-loss'"
    with pytest.raises(WorkerError, match=message):
        list(executor.map([BROKEN]))
    assert len(list(executor.map(JOBS[:2]))) == 2


def test_where_failures_are_noted_the_others_go_on(executor, expected):
    failures = {}
    assert histories(executor.map([*JOBS[:2], BROKEN, *JOBS[2:]], failures)) == expected
    assert list(failures) == [BROKEN.key]
    assert "no-such-loss" in failures[BROKEN.key]


def test_closing_early_leaves_the_executor_usable(executor, expected):
    results = executor.map(JOBS)
    next(results)
    results.close()
    assert histories(executor.map(JOBS)) == expected


def test_an_unexpected_error_comes_with_its_traceback(executor):
    job = replace(JOBS[0], task=replace(TASK, protocol=replace(TASK.protocol, batch_size=1.5)))
    with pytest.raises(WorkerError, match=r"(?s)job ce on .* failed: TypeError: .*Traceback.*in fit"):
        list(executor.map([job]))


@pytest.mark.parametrize("model", ["mlp2", "cnn4", "resnet18(width=0.1)"])
def test_a_job_is_eight_frames_from_its_first_matrix_product(datasets, model, monkeypatch):
    """Those of this library, from `run_jobs` to what calls the network's layers, its own `forward` not counted."""

    def reached(*_, **__):
        raise KeyboardInterrupt("reached")

    for owner, name in ((torch, "addmm"), (torch.nn.Conv2d, "forward"), (torch.nn.Linear, "forward")):
        monkeypatch.setattr(owner, name, reached)
    job = replace(JOBS[0], task=replace(TASK, model=model))
    with Store(":memory:") as store, pytest.raises(KeyboardInterrupt, match="reached") as caught:
        run_jobs([job], store, SerialExecutor(datasets))
    files = [frame.filename for frame in traceback.extract_tb(caught.tb)]
    ours = [file for file in files if "autorobustloss" in file and "/models/" not in file]
    assert len(ours) <= 8, ours


# The pool, with jobs that only pretend

PRETEND = """
import os, signal, time
from autorobustloss.runs import Result
from autorobustloss.training import History

def run(unit):
    (job,) = unit
    if job.method.name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if job.method.name == "fail":
        raise RuntimeError("as told")
    time.sleep(job.method.options.get("seconds", 0.05))
    return [Result(job.key, History([1], [job.seed / 7]), 0.0, 0.05, "cpu", str(os.getpid()), dict(os.environ))]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretend")
    (folder / "pretended_training.py").write_text(PRETEND)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("pretended_training").run
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def pool(run) -> Iterator[ProcessExecutor]:
    with ProcessExecutor({}, Runtime(workers=2)) as executor:
        executor.run = run
        yield executor


def pids(pool: ProcessExecutor) -> list[int]:
    return sorted(worker.process.pid for worker in [*pool._idle, *(worker for worker, _ in pool._busy.values())])


def busy(pool: ProcessExecutor) -> list[int]:
    return [worker.process.pid for worker, _ in pool._busy.values() if worker._up.done()]


def job(name: str, **options: object) -> Job:
    return Job(TASK, MethodSpec.of(name, **options))


LONG = job("long", seconds=10_000)


def test_workers_are_started_as_they_are_needed_and_stay(run, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before, threads = dict(os.environ), torch.get_num_threads()
    with ProcessExecutor({}, Runtime(workers=8)) as executor:
        executor.run = run
        assert pids(executor) == []
        ((_, first),) = executor.map(JOBS[:1])
        ((_, second),) = executor.map(JOBS[1:2])
        (pid,) = pids(executor)
        assert [first.host, second.host] == [str(pid)] * 2
        assert first.versions["OMP_NUM_THREADS"] == first.versions["MKL_NUM_THREADS"] == "1"
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert dict(os.environ) == before
    assert torch.get_num_threads() == threads
    if hasattr(signal, "pthread_sigmask"):
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@posix
def test_an_interrupt_waits_until_the_worker_has_all_it_needs(run, monkeypatch):
    """A worker that is started half complains; any thread of this process may be the one that takes the signal."""
    started, real = [], SpawnProcess.start

    def start(process):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        real(process)
        started.append(process)

    monkeypatch.setattr(SpawnProcess, "start", start)
    done = threading.Event()
    bystander = threading.Thread(target=done.wait)
    bystander.start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ProcessExecutor({}, Runtime(workers=2)) as executor:
            executor.run = run
            with pytest.raises(KeyboardInterrupt):
                list(executor.map(JOBS))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
        done.set()
        bystander.join()
    (process,) = started
    assert not process.is_alive()


@posix
def test_a_worker_killed_in_its_job_is_replaced_and_nothing_is_lost(pool):
    killed: list[int] = []
    finished = []
    for each, _ in pool.map(JOBS):
        finished.append(each.key)
        if not killed and busy(pool):
            killed = busy(pool)[:1]
            os.kill(killed[0], signal.SIGKILL)
    assert sorted(finished) == sorted(KEYS)
    assert len(killed) == 1
    assert killed[0] not in pids(pool)


@posix
def test_a_worker_killed_while_idle_is_replaced(pool):
    list(pool.map(JOBS[:4]))
    victim = pids(pool)[0]
    os.kill(victim, signal.SIGKILL)
    assert {each.key for each, _ in pool.map(JOBS)} == KEYS
    assert victim not in pids(pool)


@posix
def test_a_job_whose_worker_dies_twice_is_named(pool):
    with pytest.raises(WorkerError, match=r"ended twice in job die on digits.*\(killed by signal 9\).*fewer workers"):
        list(pool.map([job("die")]))


@posix
def test_noted_failures_and_deaths_cost_their_own_job_only(pool):
    jobs = [job("a"), job("fail"), job("b"), job("die"), job("c")]
    failures = {}
    finished = {each.key for each, _ in pool.map(jobs, failures)}
    assert finished == {each.key for each in jobs if each.method.name not in ("fail", "die")}
    assert "as told" in failures[job("fail").key]
    assert "ended twice" in failures[job("die").key]
    assert busy(pool) == []


def test_a_failure_cancels_the_rest_and_keeps_what_was_finished(pool):
    quick = [job("one"), job("two")]
    start = time.monotonic()
    with Store(":memory:") as store:
        with pytest.raises(WorkerError, match=r"(?s)job fail on .*RuntimeError: as told.*Traceback"):
            run_jobs([*quick, LONG, job("fail")], store, pool)
        assert set(store.keys()) == {each.key for each in quick}
    assert time.monotonic() - start < 60
    assert busy(pool) == []


def test_closing_early_cancels_what_runs_and_leaves_the_pool_usable(pool):
    results = pool.map([JOBS[0], LONG, JOBS[1]])
    next(results)
    results.close()
    assert busy(pool) == []
    assert {each.key for each, _ in pool.map(JOBS)} == KEYS


@posix
def test_workers_leave_interrupts_to_the_parent(pool):
    results = pool.map(JOBS)
    next(results)
    before = pids(pool)
    for pid in before:
        os.kill(pid, signal.SIGINT)
    assert len(list(results)) == len(JOBS) - 1
    assert pids(pool) == before


def test_a_second_map_on_a_busy_pool_is_refused(pool):
    first = pool.map(JOBS[:3])
    next(first)
    with pytest.raises(WorkerError, match="a second map while the first goes on"):
        next(pool.map(JOBS[3:5]))
    assert len(list(first)) == 2


def test_jobs_that_take_long_start_first():
    executor = ProcessExecutor({}, Runtime(workers=2))
    slow, fast, new = (Job(replace(TASK, model=model), MethodSpec("ce")) for model in ("cnn4", "linear", "mlp3"))
    executor._durations._seconds = {(slow.task, "ce"): 9.0, (fast.task, "ce"): 0.1}
    other = replace(fast, seed=5)
    assert executor._durations.longest_first([fast, other, slow, new]) == [new, slow, fast, other]


@pytest.mark.parametrize("workers", [0, -3])
def test_no_workers_is_an_error(workers):
    with pytest.raises(ConfigError, match=f"got {workers} workers, expected 1 to"):
        Runtime(workers=workers)


def test_executor_for(datasets):
    assert isinstance(executor_for(datasets, Runtime(workers=1)), SerialExecutor)
    assert isinstance(executor_for(datasets, Runtime(workers=3)), ProcessExecutor)
    assert isinstance(executor_for(datasets, Runtime("cuda")), SerialExecutor)


# Data that are shared


def test_shared_data_are_the_same_mapping_here(datasets):
    shared = SharedDatasets(datasets)
    assert dict(shared) == datasets
    assert len(shared) == 1


@posix
def test_a_folder_without_space_for_the_data_is_an_error(datasets, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with (
        ProcessExecutor(datasets, Runtime(workers=1)) as executor,
        pytest.raises(WorkerError, match=r"cannot share the data .*No space left on device.*TMPDIR"),
    ):
        list(executor.map(JOBS[:1]))
