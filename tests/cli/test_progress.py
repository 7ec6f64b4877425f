"""Progress on a terminal is one live line that fits it; piped it is a line now and then; quiet it is nothing."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys

import pytest

from autorobustloss.cli import progress
from autorobustloss.cli.main import main

pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix's")

TINY = ["--models=linear", "--train-size=200", "--valid-size=100", "--workers=1"]
SEARCH = ["search", *TINY, "--noise=sym:0.4", "--generations=3", "--population=4", "--finalists-seeds=1"]
SEARCH += ["--compare=ce", "--compare-seeds=1", "--epochs=100"]  # a generation takes longer than a look at the line
BENCH = ["bench", *TINY, "--epochs=2", "--methods=ce,gce", "--noise=clean,sym:0.4", "--seeds=2"]
TRAIN = ["train", *TINY, "--epochs=2", "--loss=ce,gce,mae"]


def on_a_terminal(words, width, folder):
    """Run a command with its standard error on a pseudo-terminal; return what it printed there, and in plain lines."""
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "LANG": "C.UTF-8"}
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "autorobustloss", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, cwd=folder, env=environment)
    os.close(theirs)
    raw = b""
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # how Linux says that nobody has the other end open
            break
        if not read:
            break
        raw += read
    os.close(ours)
    process.communicate()
    assert process.returncode == 0
    text = raw.decode()
    return text, [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)) if line.strip()]


def test_a_search_is_one_line_that_tells_candidates_best_and_time_left(tmp_path):
    text, lines = on_a_terminal(SEARCH, 80, tmp_path)
    live = [line for line in lines if "trainings" in line]
    assert max(map(len, live)) < 80
    for generation in (1, 2, 3):  # a line each that stays
        assert sum(line.startswith(f"generation   {generation}/3  fitness best 0.") for line in lines) == 1
    assert re.search(r"generation \d/3 · \d+/12 candidates · \d+/\d+ trainings · best 0\.\d{3}", " ".join(live))
    assert re.search(r" · \d:\d\d:\d\d left", " ".join(live))
    assert "\x1b[2K" in text  # what is live is written over


def test_a_benchmark_is_one_line_too(tmp_path):
    _, lines = on_a_terminal(BENCH, 80, tmp_path)
    live = [line for line in lines if "trainings" in line]
    assert max(map(len, live)) < 80
    assert "bench · 8/8 trainings" in live[-1]
    assert re.search(r"best \d+\.\d % \(g?ce\)", live[-1])


def test_quiet_is_silent_on_a_terminal(tmp_path):
    assert on_a_terminal([*TRAIN, "--quiet"], 80, tmp_path) == ("", [])


def test_piped_it_is_a_line_now_and_then(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    real = progress.JobProgress.on_result

    def later(self, *arguments):
        now[0] += 6.0  # seconds for each training
        real(self, *arguments)

    monkeypatch.setattr(progress.JobProgress, "on_result", later)
    assert main(BENCH) == 0
    _, err = capsys.readouterr()
    lines = err.splitlines()
    assert [line.partition(" trainings")[0] for line in lines] == [f"bench · {n}/8" for n in (2, 4, 6, 8)]
    assert all(re.search(r"best \d+\.\d % \(g?ce\)", line) for line in lines)
    assert "\x1b" not in err


def test_piped_and_quick_it_is_silent_but_for_generations(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(SEARCH) == 0
    assert [line[:16] for line in capsys.readouterr().err.splitlines()] == [f"generation   {n}/3" for n in (1, 2, 3)]
    assert main([*SEARCH, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
