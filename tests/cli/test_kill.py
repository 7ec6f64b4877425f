"""kill -9 a search at ten random moments and rerun it: the same loss, bit for bit, and nothing is trained twice."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

COMMAND = ["search", "--quiet", "--json", "--models=linear,mlp2", "--noise=sym:0.4", "--epochs=20"]
COMMAND += ["--train-size=300", "--valid-size=100", "--generations=4", "--population=5", "--finalists-seeds=1"]
COMMAND += ["--compare=ce", "--compare-seeds=1"]
PATIENCE = 240.0


def start(out, workers):
    return subprocess.Popen(
        [sys.executable, "-m", "autorobustloss", *COMMAND, f"--workers={workers}", "--out", str(out)],
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
        assert time.monotonic() < deadline, "the search makes no progress"
        time.sleep(0.1)
    return process.poll() is None


@pytest.mark.slow
def test_killed_at_ten_random_moments(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    draw = random.Random(0)
    seen: dict[str, object] = {}
    for kill in range(10):
        process = start(killed, workers=1 + kill % 2)
        running = wait_for(process, killed, len(seen) + draw.randint(0, 4))
        time.sleep(draw.uniform(0, 0.3))
        assert running, process.communicate()[1].decode()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        now = stored(killed)
        assert {key: now.get(key) for key in seen} == seen, "a finished job was lost or trained again"
        seen = now
    again, uninterrupted = finish(start(killed, workers=1)), finish(start(whole, workers=2))
    now = stored(killed)
    assert {key: now.get(key) for key in seen} == seen
    assert now.keys() == stored(whole).keys()
    for part in ("loss", "generations", "finalists"):
        assert again[part] == uninterrupted[part]
    cards = [json.loads((folder / "loss.json").read_text()) for folder in (whole, killed)]
    assert cards[0]["theta"] == cards[1]["theta"]
