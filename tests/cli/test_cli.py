"""The command line from the outside: exit codes, messages, files."""

import json

import pytest

from autorobustloss.cli.lists import split_list
from autorobustloss.cli.main import main, parse
from autorobustloss.cli.options.search import SearchOptions
from autorobustloss.losses.cards import load_card
from autorobustloss.losses.taylor.form import CanonicalForm

TINY = ["--models=linear", "--epochs=2", "--train-size=200", "--valid-size=100", "--workers=1", "--quiet"]
SEARCH = ["search", *TINY, "--noise=sym:0.4", "--generations=2", "--population=4", "--finalists-seeds=1"]
SMALL_END = ["--compare", "ce,gce(q=0.5)", "--compare-seeds", "1"]


def run(*arguments, capsys):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("command", [[], ["search"], ["train"], ["losses"], ["losses", "show"]])
def test_help_teaches(command, capsys):
    code, text, _ = run(*command, "--help", capsys=capsys)
    assert code == 0
    assert "Usage: arl" in text
    if command in (["search"], ["train"]):
        assert "examples:" in text
        assert "default" in text


def test_a_search_end_to_end(tmp_path, capsys):
    code, out, err = run(*SEARCH, *SMALL_END, "--out", tmp_path / "run", capsys=capsys)
    assert code == 0, err
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {
        "config.json", "loss.json", "store.sqlite", "picture.png", "picture.svg", "table.txt", "table.json",
    }  # fmt: skip
    theta = json.loads((tmp_path / "run" / "loss.json").read_text())["theta"]
    assert len(theta) == 12
    assert load_card(tmp_path / "run" / "loss.json").theta == tuple(theta)
    for name in ("learned", "ce", "gce(q=0.5)", "last epoch"):
        assert name in out
    assert err == ""


def test_a_search_over_gated_losses_end_to_end(tmp_path, capsys):
    folder = tmp_path / "run"
    code, out, err = run(*SEARCH, *SMALL_END, "--space=gated", "--order=1", "--out", folder, capsys=capsys)
    assert (code, err) == (0, "")
    assert "w = min(1, b / b̄)^g" in out
    card = load_card(folder / "loss.json")
    assert card.FAMILY == "gated"
    assert card.terms[2:] == (0.0, 0.0, 0.0)
    assert (folder / "picture.png").exists()
    code, out, _ = run("losses", "show", folder / "loss.json", capsys=capsys)
    assert code == 0
    for said in ("L = mean of w", "m = 1 │", "p = 1", "start gradient", "fitness"):
        assert said in out
    code, out, _ = run("losses", "show", f"ce,{folder / 'loss.json'}", capsys=capsys)
    assert "symmetry gap" in out
    assert run("losses", "show", "--latex", folder / "loss.json", capsys=capsys)[1].startswith(r"-\frac")
    for file in ("copy.json", "code.py", "drawn.png"):
        action = ["plot"] if file == "drawn.png" else ["export"]
        assert run("losses", *action, folder / "loss.json", "--out", tmp_path / file, capsys=capsys)[0] == 0
    assert load_card(tmp_path / "copy.json") == card
    assert "class LearnedLoss" in (tmp_path / "code.py").read_text()
    assert run("report", folder, "--out", tmp_path / "page.html", capsys=capsys)[0] == 0
    code, out, _ = run("search", *SEARCH[1:], *SMALL_END, "--space=gated", "--order=1", "--out", folder, capsys=capsys)
    assert code == 0
    assert load_card(folder / "loss.json") == card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scale=max"], "--scale max with --space gated"),
        (["--log-unit=0.1"], "--log-unit 0.1 with --space gated"),
        (["--order=4"], "order=4"),
        (["--start=mae"], "'mae'"),
    ],
)
def test_flags_that_a_gated_space_has_not(arguments, message, tmp_path, capsys):
    code, _, err = run(*SEARCH, "--space=gated", *arguments, "--out", tmp_path / "run", capsys=capsys)
    assert code == 2
    assert message in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--augment=crop-flip"], "a mirrored digit is another one; use augment='crop'"),
        (["--dataset=wine", "--augment=crop"], "for a table; use augment='none'"),
        (["--dataset=digits[components=9]", "--protocol=lookahead"], "for a table; use augment='none'"),
        (["--augment=flip"], "expected one of none, crop, crop-flip"),
    ],
)
def test_augmentation_that_makes_no_sense_is_refused(arguments, message, tmp_path, capsys):
    code, _, err = run("bench", *TINY, *arguments, "--out", tmp_path / "run", capsys=capsys)
    assert code != 0
    assert message in err
    assert not (tmp_path / "run").exists()


def test_a_preset_crops_digits(capsys):
    code, _, err = run("train", *TINY, "--loss=ce", "--protocol=lookahead", capsys=capsys)
    assert code == 0, err


def test_json_goes_to_stdout_alone(tmp_path, capsys):
    code, out, _ = run(*SEARCH, "--compare-seeds", 0, "--json", "--out", tmp_path, capsys=capsys)
    outcome = json.loads(out)
    assert code == 0
    assert len(outcome["loss"]["theta"]) == 12
    assert set(outcome["finalists"]) == {"mean", "best"}
    assert len(outcome["generations"]) == 2


def test_a_changed_configuration_is_refused_and_loses_nothing(tmp_path, capsys):
    run(*SEARCH, "--compare-seeds", 0, "--out", tmp_path, capsys=capsys)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix in (".json", ".sqlite")}
    code, out, err = run(*SEARCH, "--compare-seeds", 0, "--seed", 7, "--out", tmp_path, capsys=capsys)
    assert code == 1
    assert "seed: 0 there, 7 now" in err
    assert out == ""
    assert before == {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.suffix in (".json", ".sqlite")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--noise", "sym:1.5"], "1.5"),
        (["search", "--noise", "sym:0.95"], "hopeless"),
        (["search", "--noise", "sim:0.5"], "did you mean 'sym'"),
        (["search", "--models", "cnn44"], "did you mean 'cnn4'"),
        (["search", "--dataset", "digit"], "digits"),
        (["search", "--dataset", "wine", "--noise", "sym:0.2", "--models", "cnn4"], "cnn4"),
        (["search", "--space", "cannonical"], "did you mean 'canonical'"),
        (["search", "--compare", "gec"], "did you mean 'gce'"),
        (["search", "--compare", "gce(r=1)"], "q"),
        (["search", "--lr", "fast"], "--lr"),
        (["search", "--population", "2"], "population"),
        (["search", "--train-size", "100000"], "100000"),
        (["search", "--workers", "0"], "workers"),
        (["search", "--exact", "--cohort", "on"], "leave out one of them"),
        (["search", "--scale", "initt"], "init"),
        (["train", "--loss", "taylor(theta=[1, 2, 3])"], "3"),
        (["train", "--loss", "nowhere.json"], "nowhere.json"),
        (["losses", "show", "gec"], "did you mean 'gce'"),
    ],
)
def test_wrong_usage_is_named_before_anything_is_trained_or_written(arguments, message, tmp_path, capsys):
    out = ["--out", str(tmp_path / "run")] if arguments[0] == "search" else []
    code, printed, err = run(*arguments, *out, capsys=capsys)
    assert code in (1, 2)
    assert message in err
    assert "Traceback" not in err
    assert printed == ""
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search", "--generation-count", "3"], "got --generation-count, expected --generations"),
        (["search", "--seed", "x"], "got --seed 'x', expected a whole number"),
        (["search", "--seed", "1.5"], "got --seed '1.5', expected a whole number"),
        (["search", "--sigma", "big"], "got --sigma 'big', expected a number"),
        (["search", "--population"], "got --population without a value"),
        (["search", "--device", "gpu"], "unknown --device 'gpu'; did you mean 'cpu'? Known: auto, cpu, cuda"),
        (["train", "digits"], "got 'digits', expected options only"),
        (["train", "--curves=x"], "got --curves 'x', expected no value"),
        (["train", "--no-curves"], "got --no-curves"),
        (["serach"], "unknown command 'serach'; did you mean 'search'?"),
        (["losses", "lsit"], "unknown command 'lsit'; did you mean 'list'?"),
        (["losses", "show"], "got no LOSS, expected arl losses show LOSS"),
        (["losses", "export", "arl", "--format", "card"], "got no --out"),
        (["losses", "export", "gce", "--format", "julia"], "got format 'julia', expected one of torch"),
        (["losses"], "got no command after 'arl losses'"),
        (["list", "loses"], "unknown KIND 'loses'; did you mean 'losses'?"),
    ],
)
def test_what_cannot_be_meant_is_a_line_of_what_was_got_and_expected(words, message, capsys):
    code, out, err = run(*words, capsys=capsys)
    assert (code, out) == (2, "")
    assert err.startswith(f"arl: {message}")
    assert [line[:7] for line in err.splitlines()[1:]] == ["  try: "]


def test_of_an_option_given_twice_the_last_counts():
    assert parse(["train", "--epochs", "3", "--quiet", "--epochs=5", "--quiet"]).keywords["options"].epochs == 5


def test_config_file_says_what_flags_say(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        'model = ["mlp2", "cnn4"]\nepochs = 3\ntrain_size = 100\nlog-unit = 0.5\nquiet = true\njson = false\n'
    )
    for config in (["--config", str(file)], [f"--config={file}"]):
        for words in (["search", *config, "--epochs", "5"], ["search", "--epochs", "4", *config, "--epochs=5"]):
            options = parse(words).keywords["options"]
            expected = SearchOptions(
                models="mlp2,cnn4", epochs=5, train_size=100, log_unit=0.5, quiet=True, config=str(file)
            )
            assert options == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "got epoch, expected epochs"),
        ("epochs = 1.5", "got --epochs '1.5', expected a whole number"),
        ("epochs = true", "got epochs = True, expected a value"),
        ('quiet = "yes"', "got quiet = 'yes', expected true or false"),
        ('config = "other.toml"', "a file of flags names no other"),
        ("search = 1", "got search"),
        ('device = "gpu"', "did you mean 'cpu'"),
    ],
)
def test_files_of_flags_that_cannot_be_meant(text, message, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(text)
    code, _, err = run("search", "--config", tmp_path / "run.toml", capsys=capsys)
    assert code == 2
    assert message in err


@pytest.mark.parametrize("text", ["models = [", "models = {a = 1}"])
def test_broken_config_files(tmp_path, text, capsys):
    (tmp_path / "run.toml").write_text(text)
    code, _, err = run("search", "--config", tmp_path / "run.toml", capsys=capsys)
    assert code == 2
    assert "run.toml" in err
    assert run("search", "--config", tmp_path / "none.toml", capsys=capsys)[0] == 2
    code, _, err = run("search", "--config", capsys=capsys)
    assert code == 2
    assert "expected --config VALUE" in err


def test_split_list():
    assert split_list("a, b(c=1, d=[2,3]),,e") == ["a", "b(c=1, d=[2,3])", "e"]


def test_only_takes_some_of_the_combinations(capsys):
    flags = ["train", *TINY, "--noise=clean,sym:0.4", "--models=linear,mlp2", "--loss=ce", "--json"]
    code, out, _ = run(*flags, "--only=*/linear/*,digits/mlp2/clean", capsys=capsys)
    assert code == 0
    tasks = [entry["job"]["task"] for entry in json.loads(out)]
    assert [(task["model"], task["noise"]) for task in tasks] == [
        ("linear", "clean"), ("linear", "sym:0.4"), ("mlp2", "clean"),
    ]  # fmt: skip
    code, _, err = run(*flags, "--only=*/linear/*,*/mlp3/*", capsys=capsys)
    assert code in (1, 2)
    assert "--only" in err
    assert "digits/linear/sym:0.4" in err


def test_only_leaves_out_what_could_not_be_trained(capsys):
    flags = ["train", "--dataset=wine[split=7],wine", "--models=linear", "--noise=clean,sym:0.8", "--loss=ce"]
    flags += ["--epochs=1", "--quiet", "--json"]
    code, _, err = run(*flags, capsys=capsys)
    assert code in (1, 2)
    assert "hopeless with 3 classes" in err
    code, out, _ = run(*flags, "--only=wine[split=7]/*,wine/*/clean", capsys=capsys)
    assert code == 0
    tasks = [entry["job"]["task"] for entry in json.loads(out)]
    assert [(task["dataset"]["name"], task["noise"]) for task in tasks] == [
        ("wine[split=7]", "clean"), ("wine[split=7]", "sym:0.8"), ("wine", "clean"),
    ]  # fmt: skip


def test_train_prints_a_table_and_json(capsys):
    code, out, _ = run("train", *TINY, "--loss", "ce,mae", "--noise", "sym:0.4", "--curves", capsys=capsys)
    assert code == 0
    assert out.count("digits/linear/sym:0.4") == 4  # a line of the table and a curve each
    assert "best" in out
    code, out, _ = run("train", *TINY, "--loss", "ce", "--json", capsys=capsys)
    assert json.loads(out)[0]["result"]["history"]["stopped"] == ""


def test_what_a_diverged_training_has_not_is_a_dash(capsys):
    code, out, _ = run("train", *TINY, "--loss", "ce", "--lr", "1e9", capsys=capsys)
    assert code == 0
    assert "diverged" in out
    assert "–" in out
    assert "nan" not in out


def test_losses_list_show_plot_export(tmp_path, capsys):
    code, out, _ = run("losses", "list", capsys=capsys)
    assert code == 0
    assert "gce(q=0.7" in out
    assert {row["name"] for row in json.loads(run("losses", "list", "--json", capsys=capsys)[1])} >= {"ce", "taylor"}
    assert "q" in run("losses", "show", "gce", capsys=capsys)[1]
    mae = "taylor(theta=[0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0], scale='init')"
    assert run("losses", "show", mae, capsys=capsys)[0] == 0
    picture = tmp_path / "losses.png"
    assert run("losses", "plot", f"ce,gce,{mae}", "--out", picture, capsys=capsys)[0] == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert run("losses", "plot", "ce", "--out", tmp_path / "losses.xyz", capsys=capsys)[0] == 2


def test_losses_export_to_a_file_or_the_terminal(tmp_path, capsys):
    for words, holds in (
        (["--format", "jax"], "import jax.numpy"),
        ([], "import torch"),
        (["--format=latex"], r"\frac"),
    ):
        assert holds in run("losses", "export", "gce(q=0.5)", *words, capsys=capsys)[1]
    for file, holds in (("x.py", "import torch"), ("x.tex", r"\frac")):
        assert run("losses", "export", "gce", "--out", tmp_path / file, capsys=capsys)[:2] == (
            0,
            f"{tmp_path / file}\n",
        )
        assert holds in (tmp_path / file).read_text()
    assert run("losses", "export", "gce", "--format", "numpy", "--out", tmp_path / "x", capsys=capsys)[0] == 0
    assert "import numpy" in (tmp_path / "x").read_text()
    code, _, err = run("losses", "export", "gce", "--out", tmp_path / "x.json", capsys=capsys)
    assert code == 2
    assert "expected a learned loss" in err
    assert r"\frac" in run("losses", "show", "gce", "--latex", capsys=capsys)[1]


def test_losses_show_draws_the_pull(capsys):
    code, out, _ = run("losses", "show", "ce", capsys=capsys)
    assert code == 0
    pull = next(line for line in out.splitlines() if "pull at the label" in line).split("label")[1].strip()
    push = next(line for line in out.splitlines() if "push at a wrong class" in line).split("class")[1].strip()
    assert pull == "".join(sorted(pull, reverse=True))  # cross-entropy pulls with 1 - p and pushes with p
    assert push == pull[::-1]
    theta = list(CanonicalForm((-1.0, 3.0), (0.0,), 0.0).theta())
    _, out, _ = run("losses", "show", f"taylor(theta={theta})", capsys=capsys)
    assert "·" in next(line for line in out.splitlines() if "pull" in line)  # it turns at 1/3


def test_losses_show_compares_several(capsys):
    code, out, _ = run("losses", "show", "ce,mae", "--classes=4", capsys=capsys)
    assert code == 0
    assert [line.split() for line in out.splitlines()[:3:2]] == [
        ["at", "4", "classes", "ce", "mae"],
        ["max", "gradient", "0.75", "0.25"],
    ]
    code, out, _ = run("losses", "show", "ce,mae", "--classes=4", "--format=markdown", capsys=capsys)
    assert code == 0
    header, rule, *rows = out.strip().splitlines()
    assert header == "| at 4 classes | ce | mae |"
    assert rule.count("---") == 3
    assert any(row.startswith("| max gradient | 0.75 | 0.25 |") for row in rows)
    code, out, _ = run("losses", "show", "ce,mae", "--json", capsys=capsys)
    assert [entry["loss"] for entry in json.loads(out)] == ["ce", "mae"]
    assert run("losses", "show", ",", capsys=capsys)[0] == 2
