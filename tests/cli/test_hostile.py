"""Command lines with values that nobody means: each is refused in a line, none is a fault of the command."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autorobustloss.cli import running
from autorobustloss.cli.main import main
from autorobustloss.errors import ConfigError

HUGE = str(10**30)
NUMBERS = [
    *["0", "-1", "1", "3", "1.5", "1e9", "1e300", "nan", "inf", "-inf", "x", "٣", "0x10", "1_0"],
    "",
    HUGE,
    "9" * 5000,
]
NAMES = [
    "",
    "a" * 400,
    "é" * 300,
    "\udcff",
    "\x1b[2J",
    "\0",
    *[",", "ce", "gec", "$x", "<b>", "..", "/", "~", "*", "%s", "{}", "(", "gce(", "gce)", "none.json"],
]
LOSSES = ["gce(q=" + "-" * 8000 + "1)", "gce(q=" + "9" * 400 + ")", "(" * 500, "taylor(theta=[])", "taylor(theta=1)"]
LOSSES += ["gce(q='a')", "gce(q=[[]])", "ce(weight=[1.0])", "ce(ignore_index='a')", "gce(reduction='none')"]
MODELS = ["mlp2(hidden='a')", "mlp2(hidden=1.5)", "mlp2(hidden=10000000000)", "cnn4(channels=5)", "mlp3(hidden=(1,))"]
NOISES = [
    "matrix:[[1]]",
    "matrix:{}",
    *["sym:", "sym:nan", "sym:1e400", "pair:-1", "human:x", "idn:0.2:3", "clean:1"],
    ":" * 50,
]
TEXTS = [*NAMES, *LOSSES, *MODELS, *NOISES]
FLAGS = {
    "train": "loss dataset train-size valid-size test-size models noise only epochs lr batch-size weight-decay "
    "schedule augment patience precision workers seed device",
    "search": "generations population space log-unit order scale start sigma finalists-seeds tasks-per-generation race "
    "fitness rivals compare compare-seeds workers epochs noise seed models",
    "bench": "methods seeds lr format workers epochs noise models batch-size scale only",
}
BASE = ["--dataset=iris", "--models=linear", "--noise=clean", "--epochs=1", "--workers=1", "--quiet"]
SHOW = [("losses", "show"), ("losses", "plot"), ("losses", "export")]


class StopError(ConfigError):
    """Where the trainings would begin."""


@pytest.fixture(autouse=True)
def _no_training(tmp_path, monkeypatch):
    def executor_for(*_):
        raise StopError("here trainings would begin")

    monkeypatch.chdir(tmp_path)
    real = running.executor_for

    def checked(*arguments):
        real(*arguments).close()
        executor_for()

    monkeypatch.setattr(running, "executor_for", checked)


def refused(words, capsys):
    """Run a command line and return the exit code; it is never a fault of the command."""
    capsys.readouterr()
    code = main(list(words))
    err = capsys.readouterr().err
    assert code in (0, 1, 2), words
    assert "fault of arl" not in err, (words, err)
    assert "Traceback" not in err
    assert len(err) < 20_000
    assert all(line.isprintable() for line in err.splitlines() if line.startswith("arl: "))
    return code


@pytest.mark.parametrize(
    "words",
    [
        ("losses", "show", "ce", "--classes", "1"),
        ("losses", "show", "ce", "--classes", "-5"),
        ("losses", "show", "ce", "--classes", "10000000"),
        ("losses", "plot", ""),
        ("losses", "plot", "ce", "--out", "/proc/none/x.png"),
        ("losses", "export", "arl", "--out", "nowhere/x.py"),
        ("losses", "export", "arl", "--out", "nowhere/x.json"),
        ("train", *BASE, "--batch-size", HUGE),
        ("train", *BASE, "--epochs", "1000000000"),
        ("train", *BASE, "--lr", "inf"),
        ("train", *BASE, "--workers", "100000"),
        ("train", *BASE, "--loss", "gce(reduction='none')"),
        ("train", *BASE, "--models", "mlp2(hidden='a')"),
        ("search", *BASE, "--sigma", "1e300"),
        ("search", *BASE, "--sigma", "nan"),
        ("search", *BASE, "--sigma", "1e-300"),
        ("search", *BASE, "--population", "1000000000"),
        ("search", *BASE, "--generations", HUGE),
        ("search", *BASE, "--start", "1e300,0,0,0,0,0,0"),
        ("search", *BASE, "--compare-seeds", HUGE),
        ("search", *BASE, "--compare-seeds", "-1"),
        ("bench", *BASE, "--seeds", "1000000000"),
        ("bench", *BASE, "--lr", "1e400x,1x"),
        *(("train", *BASE, f"--{flag}=,") for flag in ("loss", "only", "lr", "models", "noise", "dataset")),
        ("search", *BASE, "--rivals=,"),
        ("search", *BASE, "--compare="),
        ("bench", *BASE, "--methods="),
        ("bench", "table5", "--scale", "seeds=0"),
        ("bench", "table1", "--scale", "width=nan"),
        ("losses", "plot", "ce", "--out", "\ud800.png"),
        ("report", "r" * 400),
        ("train", "--config", "a\0b"),
        ("\udcff",),
    ],
)
def test_slips_of_the_hand_are_refused(words, capsys):
    assert refused(words, capsys) in (1, 2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(data=st.data())
def test_any_value_of_any_flag_is_taken_or_refused(data, capsys):
    command = data.draw(st.sampled_from(sorted(FLAGS)))
    chosen = data.draw(st.lists(st.sampled_from(FLAGS[command].split()), min_size=1, max_size=2, unique=True))
    values = [data.draw(st.sampled_from(NUMBERS + TEXTS) | st.text(max_size=8)) for _ in chosen]
    assert refused([command, *BASE, *(f"--{flag}={value}" for flag, value in zip(chosen, values))], capsys) in (1, 2)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(command=st.sampled_from(SHOW), text=st.sampled_from(TEXTS) | st.text(max_size=8))
def test_any_loss_is_shown_or_refused(command, text, capsys):
    refused([*command, text, *(["--out", "x.py"] if command[1] == "export" else [])], capsys)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(content=st.sampled_from(
    [b"", b"x", b"\xff\xfe", b"a = " + b"[" * 5000, b"epochs = 1e400", b"epochs = [1, [2]]", b"unknown = 1", b"a.b = 1",
     b"config = 'x.toml'", b'out = "a\\u0000b"', b"epochs = " + b"9" * 5000, b"noise = nan", b"epochs = 1979-05-27",
     b'"" = 1', b"lr = [true]", b"= 1", b"quiet = 'x'"]) | st.binary(max_size=20))  # fmt: skip
def test_any_file_of_flags_is_taken_or_refused(content, capsys, tmp_path):
    (tmp_path / "f.toml").write_bytes(content)
    assert refused(["train", *BASE, "--config", str(tmp_path / "f.toml")], capsys) == 2
