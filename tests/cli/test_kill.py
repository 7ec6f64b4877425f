"""kill -9 a search, or a benchmark, and rerun it: the same numbers, and nothing is trained twice."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from autorobustloss.cli.main import main

SEARCH = ["search", "--quiet", "--json", "--models=linear,mlp2", "--noise=sym:0.4", "--epochs=150"]
SEARCH += ["--train-size=300", "--valid-size=100", "--generations=4", "--population=5", "--finalists-seeds=1"]
SEARCH += ["--compare=ce", "--compare-seeds=1"]
BENCH = ["bench", "--quiet", "--json", "--models=linear", "--methods=ce,gce,mae", "--noise=sym:0.4,pair:0.4"]
BENCH += ["--train-size=300", "--valid-size=100", "--epochs=150", "--seeds=2", "--workers=1"]
BENCH_JOBS = 3 * 2 * 2
PATIENCE = 240.0


def start(command, out):
    return subprocess.Popen(
        [sys.executable, "-m", "autorobustloss", *command, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def finish(process):
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def stored(out):
    """Return {key: when it was stored} of a run's store."""
    file = out / "store.sqlite"
    if not file.exists():
        return {}
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30) as database:
        try:
            return dict(database.execute("SELECT key, created FROM results"))
        except sqlite3.OperationalError:  # killed before the table was there
            return {}


def wait_for(process, out, results):
    """Wait until the store holds so many results, or the process has ended; return whether it still runs."""
    deadline = time.monotonic() + PATIENCE
    while len(stored(out)) < results and process.poll() is None:
        assert time.monotonic() < deadline, "the run makes no progress"
        time.sleep(0.02)
    return process.poll() is None


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_a_search_killed_at_three_random_moments(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    draw = random.Random(0)
    seen: dict[str, object] = {}
    for number in range(3):
        process = start([*SEARCH, f"--workers={1 + number % 2}"], killed)
        running = wait_for(process, killed, len(seen) + draw.randint(0, 4))
        time.sleep(draw.uniform(0, 0.3))
        assert running, process.communicate()[1].decode()
        kill(process)
        now = stored(killed)
        assert {key: now.get(key) for key in seen} == seen, "a finished job was lost or trained again"
        seen = now
    again = finish(start([*SEARCH, "--workers=1"], killed))
    uninterrupted = finish(start([*SEARCH, "--workers=2"], whole))
    now = stored(killed)
    assert {key: now.get(key) for key in seen} == seen
    assert now.keys() == stored(whole).keys()
    for part in ("loss", "generations", "finalists"):
        assert again[part] == uninterrupted[part]
    cards = [json.loads((folder / "loss.json").read_text()) for folder in (whole, killed)]
    assert cards[0]["theta"] == cards[1]["theta"]


@pytest.mark.slow
def test_a_benchmark_killed_and_rerun_trains_nothing_twice(tmp_path, capsys):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(BENCH, killed)
    running = wait_for(process, killed, BENCH_JOBS // 3)
    assert running, process.communicate()[1].decode()
    kill(process)
    seen = stored(killed)
    assert BENCH_JOBS // 3 <= len(seen) < BENCH_JOBS
    resumed = finish(start(BENCH, killed))["published"]
    assert main([*BENCH, "--out", str(whole)]) == 0
    uninterrupted = json.loads(capsys.readouterr().out)["published"]
    now = stored(killed)
    assert {key: now.get(key) for key in seen} == seen, "a finished job was lost or trained again"
    assert now.keys() == stored(whole).keys()
    assert len(now) == BENCH_JOBS
    assert resumed["blocks"] == uninterrupted["blocks"]
