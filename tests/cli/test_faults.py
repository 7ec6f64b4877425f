"""No traceback reaches a user of the command line, whatever fails beneath it, and whatever its streams are."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from autorobustloss.cli import terminal
from autorobustloss.cli.bench import Failures
from autorobustloss.cli.main import main
from autorobustloss.errors import ConfigError, StoreError, WorkerError
from autorobustloss.registry import LOSSES
from autorobustloss.runs import trainer as running
from autorobustloss.runs.store import Store

ARL = [sys.executable, "-m", "autorobustloss"]
TINY = [
    "--models=linear",
    "--epochs=1",
    "--train-size=100",
    "--valid-size=50",
    "--test-size=50",
    "--workers=1",
    "--quiet",
]


@pytest.fixture(autouse=True)
def _tempdir(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def raising(error, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr(LOSSES, "written", fail)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("got this"), 2, "got this"),
        (StoreError("no store"), 1, "no store"),
        (KeyError("oops"), 1, "KeyError: 'oops' (a fault of arl: please report it"),
        (RuntimeError("a\nb\x1b[2J"), 1, "RuntimeError: a b\\x1b[2J (a fault"),
        (RecursionError("deep"), 1, "RecursionError: deep (a fault"),
        (MemoryError(), 1, "memory ran out"),
        (OSError(28, "No space left on device", "x.npz"), 1, "x.npz: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (terminal.Terminated(), 143, "interrupted"),
        (WorkerError("job failed: KeyError: 1\nTraceback (most recent call last):\n  x\nKeyError: 1"), 1, "job failed"),
    ],
)
def test_every_error_is_one_line_a_next_step_and_a_code(error, code, said, monkeypatch, capsys):
    raising(error, monkeypatch)
    assert main(["losses", "list"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"arl: {said}")
    assert [line[:7] for line in err.splitlines()[1:]] in ([], ["  try: "])
    assert "Traceback" not in err


def test_the_traceback_of_a_fault_is_in_a_file_or_shown_on_demand(monkeypatch, capsys, tmp_path):
    raising(KeyError("oops"), monkeypatch)
    main(["losses", "list"])
    (file,) = tmp_path.glob("arl-error-*.txt")
    assert str(file) in capsys.readouterr().err
    assert "in fail" in file.read_text()
    monkeypatch.setenv(terminal.SHOW, "1")
    main(["losses", "list"])
    assert "in fail" in capsys.readouterr().err
    monkeypatch.delenv(terminal.SHOW)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    main(["losses", "list"])
    assert terminal.SHOW in capsys.readouterr().err


def test_a_job_that_breaks_is_told_without_its_traceback(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(running, "run_method", lambda *_: 1 / 0)
    assert main(["train", *TINY, "--loss=ce"]) == 1
    assert main(["bench", *TINY, "--noise=clean", "--seeds=1", "--methods=ce,mae", "--out", str(tmp_path / "b")]) == 1
    err = capsys.readouterr().err
    assert err.count("ZeroDivisionError") == 2
    assert "Traceback" not in err
    assert "2 trainings failed" in err


def test_an_interrupt_that_a_library_swallowed_still_ends_the_command(monkeypatch, capsys, tmp_path):
    trained = []

    def interrupted(*_):
        trained.append(1)
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise AttributeError("half imported") from None

    monkeypatch.setattr(running, "run_method", interrupted)
    command = ["bench", *TINY, "--noise=clean", "--methods=ce,mae", "--seeds=3", "--out", str(tmp_path / "run")]
    assert main(command) == 130
    assert len(trained) == 1
    assert "the same command goes on" in capsys.readouterr().err
    assert main(["train", *TINY, "--loss=ce"]) == 130
    failures = Failures()
    with terminal.stop_signals():
        failures["key"] = "a failure of its own"
    assert failures


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", [["bench", "--methods=ce,mae,gce", "--seeds=2"], ["train", "--loss=ce,mae,gce"]])
def test_a_signal_without_a_trace_stops_after_the_training_that_it_met(command, sent, code, monkeypatch, tmp_path):
    trained, real = [], running.run_method

    def swallowing(*arguments):
        trained.append(1)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(sent)
        return real(*arguments)

    monkeypatch.setattr(running, "run_method", swallowing)
    store = tmp_path / "store.sqlite"
    monkeypatch.chdir(tmp_path)
    assert main([command[0], *TINY, "--noise=clean", *command[1:], "--store", str(store)]) == code
    assert len(trained) == 1
    with Store(store) as kept:
        assert len(kept) == 1


def test_a_job_imports_nothing_slow():
    code = (
        "import sys; from autorobustloss.cli.main import main; "
        "code = main('train --dataset iris --loss ce,jocor --protocol jocor --epochs 81 --workers 1 --quiet'"
        ".split()); sys.exit(code or 'torch._dynamo' in sys.modules or 'torch._inductor' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_signals_are_as_before_afterwards_and_ignored_ones_stay_so(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    with terminal.stop_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with terminal.stop_signals():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, old)
    thread = threading.Thread(target=lambda: main(["losses", "show", "gec"]))
    thread.start()
    thread.join()


def shell(script, **variables):
    return subprocess.run(
        ["bash", "-c", script, "bash", *ARL],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        timeout=100,
    )


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param('"$@" losses list', 0, marks=pytest.mark.slow),
        ('"$@" losses list | head -1; exit ${PIPESTATUS[0]}', 0),
        ('"$@" search --help | head -1; exit ${PIPESTATUS[0]}', 0),
        ('"$@" losses list > /dev/full', 1),
        ('"$@" search --help > /dev/full', 1),
        ('"$@" losses list >&-', 0),
        ('"$@" losses show gec 2>&-', 2),
    ],
)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_broken_streams_end_in_peace(script, code):
    done = shell(script, PYTHONIOENCODING="ascii")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if code == 1:
        assert "No space left" in done.stderr


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_ends_a_search_that_goes_on_later(tmp_path, sent, code):
    command = ["search", *TINY, "--epochs=300", "--generations=50", "--compare-seeds=0", "--out", str(tmp_path / "run")]
    process = subprocess.Popen([*ARL, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "config.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in err
    assert "goes on from here" in err
