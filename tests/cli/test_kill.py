"""kill -9 a search at random moments and rerun it: the same loss, bit for bit, and nothing is trained twice."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

COMMAND = ["search", "--workers=2", "--quiet", "--json"]
COMMAND += ["--models=linear,mlp2", "--noise=sym:0.4", "--train-size=300", "--valid-size=100", "--epochs=20"]
COMMAND += ["--generations=4", "--population=4", "--finalists-seeds=1", "--compare=ce", "--compare-seeds=1"]


def start(out):
    return subprocess.Popen(
        [sys.executable, "-m", "autorobustloss", *COMMAND, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def stored(out):
    """Return {key: when it was stored} of a run's store."""
    file = out / "store.sqlite"
    if not file.exists():
        return {}
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        try:
            return dict(database.execute("SELECT key, created FROM results"))
        except sqlite3.OperationalError:  # killed before the table was there
            return {}


@pytest.mark.slow
def test_killed_at_ten_random_moments(tmp_path):
    began = time.monotonic()
    whole = start(tmp_path / "whole")
    out, err = whole.communicate(timeout=300)
    assert whole.returncode == 0, err.decode()
    length = time.monotonic() - began
    draw = random.Random(0)
    seen: dict[str, object] = {}
    kills = 0
    for _ in range(10):
        process = start(tmp_path / "killed")
        try:
            process.wait(timeout=draw.uniform(0.25, 0.75) * length)
        except subprocess.TimeoutExpired:
            kills += 1
        os.killpg(process.pid, signal.SIGKILL) if process.poll() is None else None
        process.communicate()
        now = stored(tmp_path / "killed")
        assert all(now[key] == when for key, when in seen.items()), "a finished job was lost or trained again"
        seen = now
    last = start(tmp_path / "killed")
    again, err = last.communicate(timeout=300)
    assert last.returncode == 0, err.decode()
    assert kills >= 3
    now = stored(tmp_path / "killed")
    assert all(now[key] == when for key, when in seen.items())
    assert now.keys() == stored(tmp_path / "whole").keys()
    one, two = json.loads(out), json.loads(again)
    assert one["loss"] == two["loss"]
    assert one["generations"] == two["generations"]
    cards = [json.loads((tmp_path / name / "loss.json").read_text()) for name in ("whole", "killed")]
    assert cards[0]["theta"] == cards[1]["theta"]
