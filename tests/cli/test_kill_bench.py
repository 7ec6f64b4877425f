"""kill -9 a benchmark and rerun it: nothing is trained twice, and the table is that of a run that was left alone."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from autorobustloss.cli.main import main

COMMAND = ["bench", "--quiet", "--json", "--models=linear", "--methods=ce,gce,mae", "--noise=sym:0.4,pair:0.4"]
COMMAND += ["--train-size=300", "--valid-size=100", "--epochs=40", "--seeds=2", "--workers=1"]
JOBS = 3 * 2 * 2
PATIENCE = 240.0


def start(out):
    command = [sys.executable, "-m", "autorobustloss", *COMMAND, "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def finish(process):
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err.decode()
    return json.loads(out)["published"]


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


@pytest.mark.slow
def test_killed_and_rerun_it_trains_nothing_twice(tmp_path, capsys):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(killed)
    deadline = time.monotonic() + PATIENCE
    while len(stored(killed)) < JOBS // 3 and process.poll() is None:
        assert time.monotonic() < deadline, "the benchmark makes no progress"
        time.sleep(0.02)
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    assert running, process.communicate()[1].decode()
    process.communicate()
    seen = stored(killed)
    assert JOBS // 3 <= len(seen) < JOBS
    resumed = finish(start(killed))
    assert main([*COMMAND, "--out", str(whole)]) == 0
    uninterrupted = json.loads(capsys.readouterr().out)["published"]
    now = stored(killed)
    assert {key: now.get(key) for key in seen} == seen, "a finished job was lost or trained again"
    assert now.keys() == stored(whole).keys()
    assert len(now) == JOBS
    assert resumed["blocks"] == uninterrupted["blocks"]
