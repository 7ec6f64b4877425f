"""Nothing is claimed that the results do not bear: at chance, of degenerate tests, of costs, of ties, thrice."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.benchmark.cells import tabulate
from autorobustloss.benchmark.chance import chance_levels, guessing
from autorobustloss.benchmark.grid import BenchConfig
from autorobustloss.benchmark.ranking import friedman
from autorobustloss.benchmark.render import best_rows, distinct_tables, footer, render
from autorobustloss.benchmark.table import SELECTIONS, Table
from autorobustloss.cli.main import main
from autorobustloss.data import DataSpec, load_dataset
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.report.bench import rank_figure
from autorobustloss.report.page import Report, page
from autorobustloss.runs.job import Task
from autorobustloss.runs.result import Result
from autorobustloss.training.history import History

CE, GCE, MAE = METHODS = tuple(MethodSpec.of(name) for name in ("ce", "gce", "mae"))
TASKS = tuple(Task(DataSpec(name), "clean", "mlp2") for name in ("digits", "wine", "iris", "breast_cancer"))


def table(means, seeds=1, chance=None, seconds=None):
    """Return the table of accuracies (methods × tasks), the same at every seed."""
    grid = BenchConfig(METHODS[: len(means)], TASKS[: len(means[0])], seeds=seeds)
    results = {}
    for e in grid.entries():
        value = means[METHODS.index(e.method)][TASKS.index(e.task)]
        history = History([1], valid_clean=[value], valid_noisy=[value], test=[value], train_loss=[1.0])
        time = seconds(e) if seconds else 1.0
        results[e.job.key] = Result(e.job.key, history, 0.0, time, "cpu", "here", {})
    return tabulate(grid.entries(), results, chance=dict(zip(TASKS, chance or [])))


@given(st.integers(2, 20), st.integers(20, 3000), st.integers(0, 2**31))
def test_guessing_stays_below_the_level(classes, samples, seed):
    draw = np.random.default_rng(seed)
    labels = draw.choice(classes, size=samples, p=draw.dirichlet(np.ones(classes)))
    level = guessing(torch.as_tensor(labels))
    constant = max(np.mean(labels == c) for c in range(classes))
    assert constant <= level <= 1
    assert np.mean(labels == draw.permutation(labels)) <= level + 0.05
    assert level - constant <= 1.5 / math.sqrt(samples) + 1e-12
    assert guessing(torch.as_tensor(labels), 10) >= level - 1e-12


def test_the_level_is_of_the_test_samples_used():
    digits = load_dataset("digits")
    all_of_it, few = (Task(DataSpec("digits", test_size=size), "clean", "mlp2") for size in (0, 50))
    levels = chance_levels([all_of_it, few, TASKS[1]], {"digits": digits})
    share = torch.bincount(digits.y_test).max().item() / len(digits.y_test)
    assert set(levels) == {all_of_it, few}
    assert levels[few] == pytest.approx(share + 3 * math.sqrt(share * (1 - share) / 50))
    assert levels[all_of_it] < levels[few]


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv"])
def test_where_all_are_at_chance_no_significance_is_printed(form):
    means = [[0.20, 0.21, 0.19, 0.22], [0.22, 0.20, 0.21, 0.18], [0.24, 0.23, 0.23, 0.24]]
    told, silent = table(means), table(means, chance=[0.25] * 4)
    assert "Friedman" in render(told)
    shown = render(silent, form)
    assert "Friedman" not in shown
    assert "Wilcoxon" not in shown
    assert "chance" in shown
    assert footer(silent.block()) == ""
    assert rank_figure(silent) is None
    assert rank_figure(told) is not None
    assert Table.from_dict(json.loads(render(silent, "json"))) == silent
    html = page([Report("", None, (("", "table", (silent,)),))])
    assert "Friedman" not in html
    assert "‡" in html


def test_tasks_on_which_all_are_at_chance_are_left_out_of_ranks():
    good = [[0.9, 0.8, 0.95], [0.7, 0.6, 0.90], [0.5, 0.55, 0.6]]
    noise = [0.20, 0.21, 0.22]  # the other way round
    mixed = table([[*row, value] for row, value in zip(good, noise)], chance=[0.3, 0.3, 0.3, 0.25])
    clean = table(good, chance=[0.3] * 3)
    assert mixed.block().average_ranks == clean.block().average_ranks
    assert mixed.block().friedman == clean.block().friedman
    assert "ranks over 3 of 4 tasks, those without an absent cell and with a method above chance" in mixed.notes
    one_above = table([[0.9, 0.2], [0.2, 0.2], [0.2, 0.9]], chance=[0.3, 0.3])
    assert one_above.block().ranked_tasks == 2


def test_a_test_in_which_all_tasks_agree_has_an_exact_p():
    block = table([[0.9, 0.8], [0.8, 0.7], [0.7, 0.6]]).block()
    assert block.friedman.p_f == pytest.approx(1 / 6)
    text = footer(block)
    assert "inf" not in text
    assert "p = 0;" not in text
    assert "exactly p = 0.17" in text
    assert friedman([[2.0, 1.0]] * 5).p_f == pytest.approx(2 * 0.5**5)
    assert friedman([[2.0, 1.0, 1.0]] * 3).p_f == pytest.approx(1 / 9)
    assert "p < 0.001" in footer(replace(block, friedman=replace(block.friedman, p_chi2=0.0, f=1e9, p_f=0.0)))
    tied = friedman([[1.0, 1.0, 1.0]] * 4)
    assert (tied.chi2, tied.f, tied.p_chi2, tied.p_f) == (0.0, 0.0, 1.0, 1.0)


def test_costs_are_rough_and_left_out_where_the_machine_was_busy():
    def quiet(e):
        return {"ce": 1.0, "gce": 1.237, "mae": 0.9}[e.method.name] * (1 + 0.1 * e.seed)

    def busy(e):
        return quiet(e) * (1, 3)[e.seed]

    means = [[0.9], [0.8], [0.7]]
    steady, unsteady = table(means, seeds=2, seconds=quiet), table(means, seeds=2, seconds=busy)
    assert steady.cost == pytest.approx((1.0, 1.237, 0.9))
    assert "1.2×" in render(steady)
    assert "1.24" not in render(steady)
    assert "rough" in render(steady)
    assert unsteady.cost == (None, None, None)
    assert "no cost" in render(unsteady)
    assert "×" not in render(unsteady)


def test_blocks_and_tables_that_agree_are_one():
    one = table([[0.9, 0.8], [0.7, 0.6]])
    assert len(one.blocks) == len(SELECTIONS)
    for form in ("text", "markdown", "latex"):
        assert render(one, form).count("90.00") == 1
    assert "last epoch; the same at the epoch with the best accuracy on noisy" in render(one)
    assert page([Report("", None, (("", "table", (one,)),))]).count("90.00") == 1
    assert render(one, "csv").count("\nlast,ce") == render(one, "csv").count("\nbest-test,ce") == 2
    other = table([[0.9, 0.8], [0.7, 0.61]])
    again = replace(one, title="again", cost=(1.0, 2.0))
    shown = distinct_tables([one, other, again])
    assert [t.blocks for t in shown] == [one.blocks, other.blocks]
    assert "the same table: again" in shown[0].notes


def test_means_that_print_alike_tie_and_others_do_not():
    # A float's last bits, and whatever else is below a thousandth of a percent, decide no rank.
    equal = table([[0.5, 0.6], [0.5 + 3e-6, 0.6 + 3e-6], [0.4, 0.4]]).block()
    assert equal.average_ranks == (1.5, 1.5, 3.0)
    assert best_rows(equal) == [{0, 1}, {0, 1}]
    near = table([[0.5, 0.6], [0.50002, 0.60002], [0.4, 0.4]]).block()
    assert near.average_ranks == (2.0, 1.0, 3.0)
    assert best_rows(near) == [{0, 1}, {0, 1}]  # printed with two digits
    assert best_rows(table([[0.5], [0.5002]]).block()) == [{1}]


@pytest.mark.parametrize(("classes", "share"), [(2, 0.5), (5, 0.2), (3, 0.8)])
def test_a_benchmark_on_labels_without_meaning_says_so(classes, share, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(3)
    rest = (1 - share) / (classes - 1)
    for name in ("t0", "t1"):
        x = draw.normal(size=(400, 6))
        y = draw.permutation(
            np.repeat(np.arange(classes), [round(400 * share), *[round(400 * rest)] * (classes - 1)])[:400]
        )
        np.savez(f"{name}.npz", x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    command = "--dataset ./t0.npz,./t1.npz --models linear --noise clean --methods ce,mae --seeds 1 --epochs 1"
    assert main(["bench", *command.split(), "--quiet", "--out", "b"]) == 0
    out = capsys.readouterr().out
    assert "every method is at chance on every task" in out
    assert "Friedman" not in out
