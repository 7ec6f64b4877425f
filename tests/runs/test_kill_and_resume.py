"""Runs that are killed or interrupted: no process stays, nothing finished is trained twice, the numbers are equal."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from autorobustloss.runs import SerialExecutor, Store, run_jobs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes by Linux's /proc"),
]

COUNT = 12
SCRIPT = """
import signal
import sys
import time

import numpy as np

from autorobustloss.data import Dataset
from autorobustloss.data import DataSpec
from autorobustloss.runs import Job, ProcessExecutor, Result, Runtime, Store, Task, run_jobs
from autorobustloss.methods import MethodSpec
from autorobustloss.training import History, TrainingProtocol

draw = np.random.default_rng(0)
x, y = draw.normal(size=(600, 20)).astype("float32"), draw.integers(0, 3, 600)
DATASETS = {"blobs": Dataset.from_arrays(x + y[:, None], y, x[:90] + y[:90, None], y[:90], name="blobs")}
TASK = Task(DataSpec("blobs"), "sym:0.3", "mlp2", TrainingProtocol(epochs=120))
JOBS = [Job(TASK, MethodSpec.of("gce", q=0.5), seed=seed) for seed in range(12)]


def pretend(unit):
    (job,) = unit
    time.sleep(0.2 if job.seed < 4 or sys.argv[2] != "stuck" else 10_000)
    return [Result(job.key, History([1], [job.seed / 7]), 0.0, 0.2, "cpu", "here", {})]


def main(path, kind):
    with Store(path) as store, ProcessExecutor(DATASETS, Runtime(workers=2)) as executor:
        if kind != "train":
            executor.run = pretend
        run_jobs(JOBS, store, executor, lambda job, result, cached: print(job.key, int(cached), flush=True))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests run in the background inherit that it is ignored
    main(*sys.argv[1:])
"""


class Run:
    """A run in a process group of its own, whose processes are found by a mark in their environment."""

    def __init__(self, store: Path, kind: str) -> None:
        script = store.parent / "run.py"
        script.write_text(SCRIPT)
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(store), kind],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "ARL_TEST_MARK": self.mark},
            start_new_session=True,
        )

    def pids(self) -> list[int]:
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit():
                try:
                    environment = (folder / "environ").read_bytes()
                except OSError:
                    continue
                if self.mark.encode() in environment:
                    found.append(int(folder.name))
        return found

    def finish(self) -> tuple[list[tuple[str, bool]], str]:
        """Wait for the end; return the jobs it reported with whether they were in the store, and its messages."""
        output, messages = self.process.communicate(timeout=300)
        lines = [line.split() for line in output.splitlines(keepends=True) if line.endswith("\n")]
        return [(key, cached == "1") for key, cached in lines], messages


@pytest.fixture
def start() -> Iterator[Callable[[Path, str], Run]]:
    """Start runs, and leave none behind when a test fails."""
    runs: list[Run] = []

    def start_run(store: Path, kind: str) -> Run:
        runs.append(Run(store, kind))
        return runs[-1]

    yield start_run
    for run in runs:
        for pid in run.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.process.communicate()


def wait_for(condition: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def keys(path: Path) -> list[str]:
    if not path.exists():
        return []
    with Store(path) as store:
        return store.keys()


def histories(store: Store) -> dict[str, object]:
    return {job.key: (result.history, result.noise_rate) for job, result in store.items()}


def test_killed_again_and_again_then_finished(tmp_path, start):
    """kill -9 of the parent at random moments: its workers end, and the rerun does only what is left."""
    path = tmp_path / "store.sqlite"
    moments = random.Random(0)
    for _ in range(2):
        stored = keys(path)
        run = start(path, "train")
        wait_for(lambda: len(keys(path)) >= len(stored) + 3 or run.process.poll() is not None)  # noqa: B023
        time.sleep(moments.uniform(0, 0.1))
        run.process.kill()
        reported, _ = run.finish()
        wait_for(lambda: not run.pids(), 15)  # noqa: B023
        assert {key for key, cached in reported if cached} == set(stored)
        assert keys(path)[: len(stored)] == stored
        assert {key for key, _ in reported} <= set(keys(path))
    stored = keys(path)
    reported, messages = start(path, "train").finish()
    assert messages == ""
    assert {key for key, cached in reported if cached} == set(stored)
    assert len(reported) == len(keys(path)) == COUNT

    here: dict = {"__name__": "script"}
    exec(SCRIPT, here)
    with Store(path) as store, Store(":memory:") as uninterrupted:
        run_jobs(here["JOBS"], uninterrupted, SerialExecutor(here["DATASETS"]))
        assert histories(store) == histories(uninterrupted)


@pytest.mark.parametrize("moment", ["while the workers start", "in the middle of long jobs"])
def test_workers_end_with_a_parent_that_is_killed(tmp_path, start, moment):
    path = tmp_path / "store.sqlite"
    run = start(path, "stuck")
    if moment == "while the workers start":
        wait_for(lambda: len(run.pids()) >= 4)  # the parent, two workers, and multiprocessing's own helper
    else:
        wait_for(lambda: len(keys(path)) == 4 or run.process.poll() is not None)
        assert run.process.poll() is None, run.finish()
    run.process.kill()
    run.finish()
    wait_for(lambda: not run.pids(), 30)


def test_interrupted_from_the_terminal(tmp_path, start):
    """Ctrl-C reaches every process of the group: the parent ends at once, and its workers with it, in silence."""
    path = tmp_path / "store.sqlite"
    run = start(path, "pretend")
    wait_for(lambda: len(keys(path)) >= 2)
    sent = time.monotonic()
    os.killpg(run.process.pid, signal.SIGINT)
    reported, messages = run.finish()
    assert time.monotonic() - sent < 10
    assert run.process.returncode != 0
    assert messages.count("KeyboardInterrupt") == messages.count("Traceback") == 1
    wait_for(lambda: not run.pids(), 5)
    with Store(path) as store:
        assert {key for key, _ in reported} <= {job.key for job, _ in store.items()}
        assert 2 <= len(store) < COUNT


def test_interrupted_while_the_workers_start(tmp_path, start):
    run = start(tmp_path / "store.sqlite", "pretend")
    wait_for(lambda: len(run.pids()) >= 4)
    os.killpg(run.process.pid, signal.SIGINT)
    _, messages = run.finish()
    assert messages.count("KeyboardInterrupt") == messages.count("Traceback") == 1
    wait_for(lambda: not run.pids(), 5)


def test_a_script_without_a_main_guard_is_told_about_it(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPT.replace('if __name__ == "__main__":', "if True:").replace("workers=2", "workers=1"))
    command = [sys.executable, str(script), str(tmp_path / "store.sqlite"), "pretend"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert run.returncode == 1
    assert 'needs `if __name__ == "__main__":`' in run.stderr.splitlines()[-1]
