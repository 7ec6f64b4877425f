"""`arl bench` from the outside: views, failures, learned losses, resuming."""

import json
import sqlite3

import numpy as np
import pytest

from autorobustloss.benchmark.grid import BenchConfig
from autorobustloss.benchmark.notes import twins
from autorobustloss.cli import bench
from autorobustloss.cli.main import main
from autorobustloss.cli.methods import read_named_methods
from autorobustloss.cli.paper import search_of
from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.errors import ConfigError
from autorobustloss.losses import TaylorLoss
from autorobustloss.losses.cards import Card, load_card, shelf
from autorobustloss.losses.cards import card as cards
from autorobustloss.paper.effort import EFFORTS
from autorobustloss.paper.experiments import targets, zoo_losses
from autorobustloss.registry import LOSSES
from autorobustloss.runs import trainer as running
from autorobustloss.runs.job import Task
from autorobustloss.runs.store import Store

BENCH = ["bench", "--models=linear", "--epochs=2", "--train-size=200", "--valid-size=100", "--workers=1", "--quiet"]
BENCH += ["--noise=sym:0.4,pair:0.4", "--seeds=1"]
SIZES = {"train": 200, "test": 80}
THETA = [0.0] * 6 + [-1.0] + [0.0] * 5


def run(*arguments, capsys):
    code = main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def jobs(folder):
    with Store(folder / "store.sqlite") as store:
        return [job for job, _ in store.items()]


def test_help_teaches_the_three_views(capsys):
    text = " ".join(run("bench", "--help", capsys=capsys)[1].split())
    assert "--match-scale --lr 0.1x,0.3x,1x,3x" in text
    assert "three tables" in text


@pytest.mark.parametrize("view", ["published", "matched"])
def test_methods_that_are_compared_by_default_are_all_different(view):
    methods = tuple(read_named_methods(",".join([bench.METHODS, *zoo_losses()])).values())
    task = Task(DataSpec("digits"), "clean", "mlp2")
    assert twins(BenchConfig(methods, (task,), views=(view,), classes={"digits": 10}).entries()) == {}


def test_one_run_prints_the_three_views(tmp_path, capsys):
    views = ["--methods=ce,mae", "--match-scale", "--lr=0.3x,1x"]
    code, out, err = run(*BENCH, *views, "--out", tmp_path / "run", capsys=capsys)
    assert code == 0, err
    for title in ("as published", "cross-entropy's gradient at the start", "learning rate it likes best"):
        assert f"{title}" in out
    assert "lr×" in out
    assert {p.name for p in (tmp_path / "run").glob("table-*.json")} == {
        "table-published.json", "table-matched.json", "table-tuned.json",
    }  # fmt: skip
    low, high = sorted({job.task.protocol.lr for job in jobs(tmp_path / "run")})
    assert low == pytest.approx(0.3 * high)


def test_plain_numbers_are_learning_rates_and_may_be_swept(tmp_path, capsys):
    arguments = [*BENCH, "--noise=sym:0.4", "--methods=ce", "--json"]
    tables = json.loads(run(*arguments, "--lr=0.1,0.2", "--out", tmp_path / "a", capsys=capsys)[1])
    assert list(tables) == ["published"]
    assert len(tables["published"]["tasks"]) == 2
    tables = json.loads(run(*arguments, "--lr=0.2,0.5x,1x", "--out", tmp_path / "b", capsys=capsys)[1])
    assert list(tables) == ["published", "tuned"]
    assert {job.task.protocol.lr for job in jobs(tmp_path / "b")} == {0.1, 0.2}


@pytest.mark.parametrize("rates", ["fast", "1xx", "x", "0x"])
def test_wrong_learning_rates_are_named(rates, tmp_path, capsys):
    code, _, err = run(*BENCH, "--methods=ce", "--lr", rates, "--out", tmp_path / "run", capsys=capsys)
    assert code == 2
    assert "expected" in err
    assert not (tmp_path / "run").exists()


def test_factors_are_refused_where_nothing_is_swept(capsys):
    code, _, err = run("train", "--lr", "0.3x", capsys=capsys)
    assert code == 2
    assert "arl bench" in err


@pytest.mark.parametrize("flag", ["--lr=0.3x,1x", "--match-scale", "--seeds=5", "--epochs=3", "--noise=clean"])
def test_a_table_of_the_paper_takes_no_grid_of_ones_own(flag, tmp_path, capsys):
    code, _, err = run("bench", "table1", flag, "--out", tmp_path / "run", capsys=capsys)
    assert code == 2
    assert flag.partition("=")[0] in err
    assert not (tmp_path / "run").exists()


def test_a_table_of_the_paper_takes_a_precision_that_there_is(tmp_path, capsys):
    code, _, err = run("bench", "table1", "--precision=float16", "--out", tmp_path / "run", capsys=capsys)
    assert code == 2
    assert "expected one of float32, bfloat16" in err
    assert not (tmp_path / "run").exists()


def test_a_table_that_the_paper_has_not_is_named_before_its_flags(capsys):
    code, _, err = run("bench", "", "--seeds=5", capsys=capsys)
    assert code == 2
    assert "table1" in err
    assert "--seeds" not in err


@pytest.mark.parametrize("scale", ["width=1e9", "train=1000"])
def test_a_scale_that_does_not_fit_is_refused_before_training(scale, tmp_path, capsys):
    images, labels = np.zeros((80, 16, 16), np.float32), np.arange(80) % 10
    np.savez(tmp_path / "usps.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    command = ["bench", "fig4", "--data-dir", tmp_path, "--workers=1", "--quiet", "--out", tmp_path / "run"]
    code, _, err = run(*command, "--scale", f"train=40,epochs=1,seeds=1,{scale}", capsys=capsys)
    assert code == 2
    assert scale.partition("=")[0] in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("table", ["fig3", "table5"])
def test_what_a_table_searches_has_no_cross_entropy_in_its_space(table):
    data = dict.fromkeys(("mnist", "kmnist", "cifar10", "cifar100"), load_dataset("digits"))
    for target in targets(table, EFFORTS["tiny"]):
        space = search_of(target, EFFORTS["tiny"], data).space
        assert space.dimension == 2 * target.order - 2
        assert space.method(np.ones(space.dimension)).options["log_weight"] == 0


@pytest.mark.slow
def test_table5_searches_its_losses_and_goes_on_from_them(tmp_path, capsys):
    generator = np.random.default_rng(0)
    arrays = {f"x_{part}": generator.random((count, 12, 12), dtype=np.float32) for part, count in SIZES.items()}
    labels = {f"y_{part}": np.arange(count) % 10 for part, count in SIZES.items()}
    np.savez(tmp_path / "mnist.npz", **arrays, **labels)
    scale = "train=80,test=40,epochs=1,seeds=1,width=0.125,generations=1,population=4"
    command = ["bench", "table5", "--data-dir", tmp_path, "--scale", scale, "--workers=1", "--quiet", "--json"]
    code, out, err = run(*command, "--out", tmp_path / "run", capsys=capsys)
    assert code == 0, err
    table = json.loads(out)
    own = dict(zip(table["tasks"], table["blocks"][0]["cells"][table["methods"].index("arl")]))
    assert sum(cell["mean"] is not None for cell in own.values()) == 4
    assert all(cell["mean"] is None for task, cell in own.items() if task.startswith("cifar100"))
    cards = {card.parent.name: load_card(card) for card in (tmp_path / "run").glob("*/loss.json")}
    assert set(cards) == {"mnist-sym-0-2", "mnist-sym-0-5", "mnist-sym-0-8", "mnist-map-0-4"}
    assert {card.provenance["search"]["space"]["name"] for card in cards.values()} == {"canonical"}
    trained = [job.method.options.get("theta") for job in jobs(tmp_path / "run" / "table5")]
    assert {card.theta for card in cards.values()} == set(trained) - {None}
    sizes = {folder.name: len(jobs(folder)) for folder in (tmp_path / "run").iterdir()}
    assert run(*command, "--out", tmp_path / "run", capsys=capsys)[1] == out
    assert sizes == {folder.name: len(jobs(folder)) for folder in (tmp_path / "run").iterdir()}


def test_seed_is_not_taken_for_seeds(capsys):
    code, _, err = run(*BENCH, "--seed", "7", capsys=capsys)
    assert code == 2
    assert "--seed" in err


def test_a_failing_method_costs_its_cells_and_the_exit_code(tmp_path, monkeypatch, capsys):
    real = running.run_method

    def fragile(method, setting):
        if method.name == "mae":
            raise ConfigError("no memory for mae")
        return real(method, setting)

    command = [*BENCH, "--methods=mae,ce,gce", "--out", tmp_path / "run"]
    monkeypatch.setattr(running, "run_method", fragile)
    code, out, err = run(*command, capsys=capsys)
    assert code == 1
    assert "2 trainings failed" in err
    assert "no memory for mae" in err
    assert "–: failed: no memory for mae" in out
    assert {job.method.name for job in jobs(tmp_path / "run")} == {"ce", "gce"}
    assert "no memory for mae" in (tmp_path / "run" / "report.html").read_text()
    retried = []
    monkeypatch.setattr(running, "run_method", lambda m, setting: retried.append(m.name) or real(m, setting))
    code, out, err = run(*command, capsys=capsys)
    assert (code, err) == (0, "")
    assert retried == ["mae", "mae"]
    assert "failed" not in out


def test_a_learned_loss_is_its_numbers_in_the_jobs_and_its_name_in_the_table(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "cards"
    folder.mkdir()
    card = Card.from_loss(TaylorLoss(THETA, scale="max"), name="arl-trial")
    card.save(folder / "arl-trial.json")
    monkeypatch.setattr(shelf, "CARDS", folder)
    monkeypatch.setitem(LOSSES._factories, "arl-trial", cards._factory(folder / "arl-trial.json"))
    command = [*BENCH, "--match-scale", "--out", tmp_path / "run"]
    code, out, err = run(*command, "--methods=ce,arl-trial", capsys=capsys)
    assert code == 0, err
    assert "arl-trial" in out
    assert "taylor" not in out
    learned = [job.method.options for job in jobs(tmp_path / "run") if job.method.name != "ce"]
    assert {(o["theta"], o["scale"]) for o in learned} == {(tuple(THETA), "max")}
    assert {o.get("match_scale", False) for o in learned} == {False, True}
    # The same name with other numbers is another method: nothing of the old one is taken for it.
    Card.from_loss(TaylorLoss([2 * t for t in THETA], scale="max"), name="arl-trial").save(folder / "arl-trial.json")
    code, _, err = run(*command, "--methods=ce,arl-trial", capsys=capsys)
    assert code == 1
    assert "another configuration" in err
    code, _, err = run(*command, f"--methods=arl-trial,{folder / 'arl-trial.json'}", capsys=capsys)
    assert code == 2
    assert "same method" in err
    code, _, err = run(*command, "--methods=arl-trial(theta=[1])", capsys=capsys)
    assert code == 2
    assert "does not take" in err or "theta" in err


def test_one_more_seed_or_method_trains_only_what_is_new(tmp_path, capsys):
    store = tmp_path / "shared.sqlite"

    def stored():
        with sqlite3.connect(store) as database:
            return dict(database.execute("SELECT key, created FROM results"))

    seen, sizes = {}, []
    for number, change in enumerate((["--methods=ce"], ["--methods=ce,mae"], ["--methods=ce,mae", "--seeds=2"])):
        assert run(*BENCH, *change, "--store", store, "--out", tmp_path / str(number), capsys=capsys)[0] == 0
        now = stored()
        assert {key: now[key] for key in seen} == seen
        seen = now
        sizes.append(len(seen))
    assert sizes == [2, 4, 8]


def test_a_default_method_that_cannot_be_taken_of_two_classes_is_left_out(capsys):
    """Whoever names it is told in its cell; nobody named a default."""
    named = read_named_methods(",".join([bench.METHODS, *zoo_losses()]))
    assert named.keys() - bench.those_that_fit(named, {"wine": 3, "digits": 10}).keys() == {"arl-dr-s80"}
    assert "arl-dr-s80 is left out: it cannot be taken of wine, 3 classes" in capsys.readouterr().err
    assert bench.those_that_fit(named, {"digits": 10}) == named
