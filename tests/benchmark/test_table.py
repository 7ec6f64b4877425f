"""Tables from made-up results: every number of a cell is computed again by hand."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics

import pytest

from autorobustloss.benchmark.bench import run_bench
from autorobustloss.benchmark.cells import accuracy, method_names, tabulate
from autorobustloss.benchmark.grid import BenchConfig
from autorobustloss.benchmark.ranking import average_ranks, critical_difference
from autorobustloss.benchmark.render import RENDERERS, render, to_text
from autorobustloss.benchmark.table import SELECTIONS, Table
from autorobustloss.columns import cells
from autorobustloss.data import DataSpec
from autorobustloss.errors import ConfigError
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs.job import Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.store import Store
from autorobustloss.training.history import History
from autorobustloss.training.protocol import TrainingProtocol

CE, GCE, MAE = (MethodSpec.of(name) for name in ("ce", "gce", "mae"))
TASKS = tuple(Task(DataSpec("digits"), noise, "mlp2", TrainingProtocol()) for noise in ("sym:0.4", "pair:0.4", "clean"))
NOISY = [0.30, 0.50, 0.40]


def result(job, test, noisy=None, stopped="", seconds=2.0, host="here"):
    noisy = NOISY[: len(test)] if noisy is None else noisy
    epochs = list(range(1, len(test) + 1))
    history = History(epochs, valid_clean=test, valid_noisy=noisy, test=test, train_loss=test, stopped=stopped)
    return Result(job.key, history, 0.4, seconds, "cpu", host, {})


def curve(entry):
    """Test accuracies that differ by method, task, seed and learning rate."""
    base = {"ce": 0.3, "gce": 0.5, "mae": 0.4}[entry.method.name] + 0.02 * entry.seed + 0.1 * (entry.task == TASKS[2])
    return [base, base + 0.2, base + 0.1 + 0.05 * (entry.variant == "lr×3")]


def filled(grid, **changes):
    return {e.job.key: result(e.job, curve(e), **changes) for e in grid.entries()}


def test_a_cell_is_the_mean_and_standard_error_over_seeds():
    grid = BenchConfig((CE, GCE), TASKS, seeds=3)
    table = tabulate(grid.entries(), filled(grid))
    values = [curve(e)[-1] for e in grid.entries() if e.method == GCE and e.task == TASKS[1]]
    cell = table.block("last").cells[1][1]
    assert cell.mean == pytest.approx(statistics.mean(values))
    assert cell.error == pytest.approx(statistics.stdev(values) / math.sqrt(3))
    assert cell.n == 3
    assert (
        tabulate(BenchConfig((CE,), TASKS, seeds=1).entries(), filled(BenchConfig((CE,), TASKS, seeds=1)))
        .block()
        .cells[0][0]
        .error
        is None
    )


def test_selection_protocols_pick_their_epoch():
    job = BenchConfig((CE,), TASKS[:1], seeds=1).jobs()[0]
    found = result(job, test=[0.9, 0.7, 0.6], noisy=[0.1, 0.5, 0.4])
    assert {s: accuracy(found, s) for s in SELECTIONS} == {"last": 0.6, "best-noisy-validation": 0.7, "best-test": 0.9}
    with pytest.raises(ConfigError, match="selection"):
        accuracy(found, "median")


def test_a_diverged_run_counts_as_zero_at_the_last_epoch_and_by_its_checkpoints_otherwise():
    grid = BenchConfig((CE,), TASKS[:1], seeds=2)
    good, bad = grid.jobs()
    results = {good.key: result(good, [0.6, 0.8, 0.8]), bad.key: result(bad, [0.4, 0.5], stopped="diverged")}
    table = tabulate(grid.entries(), results)
    assert table.block("last").cells[0][0].mean == pytest.approx(0.4)
    assert table.block("best-test").cells[0][0].mean == pytest.approx((0.8 + 0.5) / 2)
    assert table.block("last").cells[0][0].diverged == 1
    assert "†" in render(table)
    nothing = {bad.key: result(bad, [], stopped="diverged")}
    assert tabulate(grid.entries(), nothing).block("best-test").cells[0][0].mean == 0.0


def test_the_learning_rate_is_chosen_on_noisy_validation_and_never_on_test():
    grid = BenchConfig((CE,), TASKS[:1], seeds=2, views=("tuned",), learning_rates=(0.1, 1.0, 3.0))
    noisy = {"lr×0.1": [0.2, 0.6, 0.1], "lr×1": [0.2, 0.3, 0.5], "lr×3": [0.1, 0.1, 0.1]}
    test = {"lr×0.1": [0.1, 0.4, 0.2], "lr×1": [0.3, 0.3, 0.3], "lr×3": [0.9, 0.9, 0.9]}
    results = {e.job.key: result(e.job, test[e.variant], noisy[e.variant]) for e in grid.entries()}
    table = tabulate(grid.entries(), results)
    last, best = (table.block(s).cells[0][0] for s in ("last", "best-noisy-validation"))
    assert (last.choice, last.mean) == ("lr×1", pytest.approx(0.3))
    assert (best.choice, best.mean) == ("lr×0.1", pytest.approx(0.4))
    assert table.block("best-test").cells[0][0].choice == "lr×0.1"


def test_of_two_learning_rates_the_better_is_chosen():
    grid = BenchConfig((CE,), TASKS[:1], seeds=1, views=("tuned",), learning_rates=(1.0, 3.0))
    results = {e.job.key: result(e.job, [0.5], [0.9 if e.variant == "lr×3" else 0.1]) for e in grid.entries()}
    assert tabulate(grid.entries(), results).block().cells[0][0].choice == "lr×3"


def test_average_ranks_and_tests_are_those_of_the_ranking_module():
    grid = BenchConfig((CE, GCE, MAE), TASKS, seeds=2)
    block = tabulate(grid.entries(), filled(grid)).block()
    scores = [[block.cells[m][t].mean for m in range(3)] for t in range(3)]
    assert block.average_ranks == pytest.approx(average_ranks(scores).tolist())
    assert block.critical_difference == critical_difference(3, 3)
    assert block.friedman.chi2 == pytest.approx(6.0)


@pytest.mark.parametrize(("ahead", "tied"), [(4e-6, True), (-4e-6, True), (2e-5, False)])
def test_means_that_print_alike_share_their_rank(ahead, tied):
    """To a thousandth of a percent: a float's last bits decide nothing, a sample in 50,000 does."""
    grid = BenchConfig((CE, GCE, MAE), TASKS, seeds=1)
    level = {CE: [0.5, 0.3, 0.5], GCE: [0.5 + ahead, 0.4, 0.6], MAE: [0.1, 0.2, 0.3]}
    results = {e.job.key: result(e.job, [level[e.method][TASKS.index(e.task)]]) for e in grid.entries()}
    block = tabulate(grid.entries(), results).block()
    first = 1.5 if tied else 2.0
    assert block.average_ranks == pytest.approx(((first + 4) / 3, (3.0 - first + 2) / 3, 3.0))


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_methods_are_tested_against_the_best_from_two_tasks_on(tasks):
    grid = BenchConfig((CE, GCE, MAE), TASKS[:tasks], seeds=2)
    block = tabulate(grid.entries(), filled(grid)).block()
    assert [p is None for p in block.p_values] == [tasks < 2, True, tasks < 2]
    assert (block.friedman is None) == (tasks < 2)


def test_a_tie_for_the_best_rank_goes_to_the_first_named():
    """The one that the others are tested against, and that has no p-value itself."""
    level = {CE: [0.1, 0.2, 0.3], GCE: [0.5, 0.6, 0.6], MAE: [0.6, 0.5, 0.6]}
    for methods in ((CE, GCE, MAE), (MAE, CE, GCE)):
        grid = BenchConfig(methods, TASKS, seeds=1)
        results = {e.job.key: result(e.job, [level[e.method][TASKS.index(e.task)]]) for e in grid.entries()}
        block = tabulate(grid.entries(), results).block()
        best = [m for m, p in zip(methods, block.p_values) if p is None]
        assert best == [next(m for m in methods if m != CE)]


def test_absent_cells_say_why_and_do_not_spoil_the_ranks():
    tasks = (Task(DataSpec("wine"), "sym:0.4", "mlp2", TrainingProtocol()), *TASKS[1:])
    grid = BenchConfig((CE, GCE, MAE), tasks, seeds=1)
    results = {e.job.key: result(e.job, curve(e)) for e in grid.entries() if e.task != tasks[0] and e.method != MAE}
    table = tabulate(grid.entries(), results, missing={"wine": "data set 'wine' is not there"})
    block = table.block()
    assert block.cells[0][0].reason == "data set 'wine' is not there"
    assert block.cells[2][1].reason == "not trained yet"
    assert (block.cells[0][0].n, block.cells[0][0].mean, block.cells[0][0].diverged) == (0, None, 0)
    assert any("ranks over 2 of 3 tasks" in note for note in table.notes)
    assert f"{table.tasks[0]}: data set 'wine' is not there" in table.notes
    assert block.ranked_tasks == 2
    assert block.average_ranks == (2.0, 1.0, None)
    for form in ("text", "markdown", "latex"):
        text = render(table, form)
        assert "not there" in text
        assert "not trained yet" in text


@pytest.mark.parametrize(("kept", "said"), [(0, False), (1, True), (2, True), (3, False)])
def test_it_is_said_how_many_tasks_the_ranks_are_over(kept, said):
    grid = BenchConfig((CE, GCE), TASKS, seeds=1)
    results = {
        e.job.key: result(e.job, curve(e)) for e in grid.entries() if e.method == CE or e.task in TASKS[:kept]
    } if kept else {}  # fmt: skip
    table = tabulate(grid.entries(), results)
    assert (f"ranks over {kept} of 3 tasks, those without an absent cell" in table.notes) is said


def test_cells_with_seeds_to_come_are_marked():
    grid = BenchConfig((CE, GCE), TASKS, seeds=2)
    results = dict(list(filled(grid).items())[:-1])
    table = tabulate(grid.entries(), results)
    assert [c.incomplete for row in table.block().cells for c in row] == [False] * 5 + [True]
    assert "* some seeds are missing: not trained yet" in render(table)


def test_a_table_of_nothing_still_renders():
    table = tabulate(BenchConfig((CE, GCE), TASKS).entries(), {})
    assert table.block().average_ranks == (None, None)
    assert all(render(table, form) for form in RENDERERS)


def test_cost_is_relative_to_cross_entropy_on_the_same_machine():
    grid = BenchConfig((CE, GCE, MAE), TASKS[:1], seeds=1)
    ce, gce, mae = grid.jobs()
    results = {
        ce.key: result(ce, [0.5], seconds=2.0),
        gce.key: result(gce, [0.5], seconds=3.0),
        mae.key: result(mae, [0.5], seconds=9.0, host="elsewhere"),
    }
    assert tabulate(grid.entries(), results).cost == (1.0, 1.5, None)
    assert tabulate(BenchConfig((GCE, MAE), TASKS[:1], seeds=1).entries(), results).cost == (None, None)


def test_what_has_the_same_name_is_numbered():
    learned = [MethodSpec.of("taylor", theta=[0.0] * 11 + [t], scale="init") for t in (1.0, 2.0)]
    assert method_names([CE, *learned, GCE]) == ["ce", "taylor(scale='init')#1", "taylor(scale='init')#2", "gce"]
    assert method_names([CE, GCE], {CE: "x", GCE: "x"}) == ["x#1", "x#2"]


def test_tasks_that_differ_in_the_protocol_alone_have_names_of_their_own():
    tasks = (TASKS[0], Task(DataSpec("digits"), "sym:0.4", "mlp2", TrainingProtocol(lr=0.3)))
    table = tabulate(BenchConfig((CE,), tasks).entries(), {})
    assert table.tasks == ("digits/mlp2/sym:0.4 lr=0.01", "digits/mlp2/sym:0.4 lr=0.3")


def test_text_is_aligned_and_plain():
    grid = BenchConfig((CE, GCE), TASKS, seeds=2)
    text = render(tabulate(grid.entries(), filled(grid), names={GCE: "a name"}))
    rows = [line for line in text.splitlines() if line.startswith(("ce ", "a name"))]
    assert len(rows) == 2 * (len(SELECTIONS) - 1)  # two of them agree, and are one
    assert all(len(row) == len(other) for row, other in zip(rows[::2], rows[1::2]))
    assert "\x1b" not in text
    assert "60.00 ± 1.00" not in text
    assert "41.00 ± 1.00" in text


def test_csv_and_json_hold_the_numbers():
    grid = BenchConfig((CE, GCE), TASKS, seeds=2)
    table = tabulate(grid.entries(), filled(grid))
    rows = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    assert len(rows) == 2 * 3 * len(SELECTIONS)
    assert float(rows[0]["mean"]) == table.blocks[0].cells[0][0].mean
    read = json.loads(render(table, "json"))
    assert read["blocks"][0]["cells"][0][0]["mean"] == table.blocks[0].cells[0][0].mean
    assert read["methods"] == ["ce", "gce"]


def test_a_table_comes_back_from_json():
    grid = BenchConfig((CE, GCE, MAE), TASKS, seeds=2)
    table = tabulate(grid.entries(), filled(grid))
    assert table.block().friedman.f is None
    assert Table.from_dict(json.loads(render(table, "json"))) == table
    broken = json.loads(render(table, "json"))
    nan = json.loads(render(table, "json"))
    nan["blocks"][0]["friedman"]["f"] = math.nan
    for damage in ({"blocks": [{}]}, {"methods": ["ce"]}, {"blocks": 3}, nan):
        with pytest.raises(ConfigError, match="got a table"):
            Table.from_dict({**broken, **damage})


def test_best_cells_are_bold_and_special_characters_are_escaped():
    grid = BenchConfig((CE, MethodSpec.of("gce", match_scale=True)), TASKS[:1], seeds=1)
    results = {e.job.key: result(e.job, [0.2 + 0.1 * (e.method != CE)]) for e in grid.entries()}
    table = tabulate(grid.entries(), results)
    assert "**30.00**" in render(table, "markdown")
    latex = render(table, "latex")
    assert r"\textbf{30.00}" in latex
    assert r"match\_scale" in latex


def test_unknown_formats_are_named():
    with pytest.raises(ConfigError, match="did you mean 'markdown'"):
        render(tabulate(BenchConfig((CE,), TASKS).entries(), {}), "markdwn")


def test_a_benchmark_trains_what_the_store_lacks(tmp_path):
    class Trainer:
        trained = 0

        def map(self, jobs, failures=None):
            for job in jobs:
                self.trained += 1
                yield job, result(job, [0.1, 0.2, 0.3])

        def close(self):
            pass

    executor = Trainer()
    store = Store(tmp_path / "store.sqlite")
    first = run_bench(BenchConfig((CE, GCE), TASKS, 2), store, executor)
    assert executor.trained == 12
    assert run_bench(BenchConfig((CE, GCE), TASKS, 2), store, executor) == first
    assert executor.trained == 12
    run_bench(BenchConfig((CE, GCE), TASKS, 3), store, executor)
    assert executor.trained == 18


def test_p_values_are_holms_over_all_pairs_against_the_best_rank():
    tasks = tuple(Task(DataSpec("digits"), f"sym:0.{i}", "mlp2", TrainingProtocol()) for i in range(1, 9))
    grid = BenchConfig((CE, GCE, MAE), tasks, seeds=1)
    height = {"ce": 0.3, "gce": 0.5, "mae": 0.4}
    made = {
        e.job.key: result(e.job, [height[e.method.name] + 0.01 * (1 + len(e.method.name)) * tasks.index(e.task)])
        for e in grid.entries()
    }
    table = tabulate(grid.entries(), made)
    block = table.block()
    # Eight differences of one sign: p = 2/2⁸ for each of three pairs, so Holm's factor is 3 for the smallest.
    assert block.p_values == (pytest.approx(3 * 2 / 2**8), None, pytest.approx(3 * 2 / 2**8))
    for form in ("text", "markdown", "latex"):
        assert "0.023" in render(table, form)
        assert "Wilcoxon" in render(table, form)
    assert {row["p_value"] for row in csv.DictReader(io.StringIO(render(table, "csv")))} == {"", "0.0234375"}
    assert Table.from_dict(json.loads(render(table, "json"))) == table
    one = tabulate(BenchConfig((CE, GCE), tasks[:1], seeds=1).entries(), made)
    assert one.block().p_values == (None, None)
    assert "Wilcoxon" not in render(one)


def test_a_failed_job_leaves_its_reason_and_the_rest():
    grid = BenchConfig((CE, GCE), TASKS, seeds=2)
    results = filled(grid)
    whole, partly = ([e.job for e in grid.entries() if e.method == GCE and e.task == t] for t in TASKS[:2])
    failures = {job.key: f"job {job.label} failed: ConfigError: no\nTraceback" for job in (*whole, partly[1])}
    for key in failures:
        del results[key]
    table = tabulate(grid.entries(), results, failures=failures)
    absent, marked, _ = table.block().cells[1]
    assert (absent.mean, absent.reason) == (None, "failed: ConfigError: no")
    assert (marked.n, marked.incomplete, marked.reason) == (1, True, "failed: ConfigError: no")
    assert "–: failed: ConfigError: no\n* some seeds are missing: failed: ConfigError: no\n" in render(table)


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("count", [1, 3, 12, 60])
def test_text_fits_however_many_tasks_and_long_names_there_are(width, count):
    names = [f"data/of a long name/that goes on {'and on ' * (n % 12)}{n}.csv" for n in range(count)]
    tasks = tuple(Task(DataSpec(name), "sym:0.4", "mlp2") for name in names)
    grid = BenchConfig((CE, GCE, MAE), tasks, seeds=2)
    rename = {GCE: "a loss of mine, whose name is longer than any column could be " * 3, MAE: "数字" * 40}
    table = tabulate(grid.entries(), filled(grid, seconds=2.0), names=rename, title="Accuracy " * 20)
    text = to_text(table, width)
    assert max(map(cells, text.splitlines())) <= width
    plain = "".join(text.split())
    for name in (*rename.values(), *(name.rpartition("/")[2] for name in names)):  # what is cut is told in full
        assert "".join(name.split()) in plain
    shown = [f"{100 * c.mean:.2f} ± {100 * c.error:.2f}" for b in table.blocks for row in b.cells for c in row]
    assert text.count(" ± ") >= len(shown) / 3  # equal blocks are one
    assert all(cell in text for cell in shown)
    assert render(table) == to_text(table, 100)
