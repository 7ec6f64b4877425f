"""The paper's tables and figures as experiments, with made-up results; their jobs are real ones."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from autorobustloss.benchmark.render import render
from autorobustloss.data import load_dataset
from autorobustloss.errors import ConfigError, MissingDependencyError, UnknownNameError
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.paper.effort import EFFORTS, Effort
from autorobustloss.paper.experiments import EXPERIMENTS, experiments, run_experiment, targets, zoo_losses
from autorobustloss.paper.numbers import paper_tables
from autorobustloss.paper.tuning import LEARNING_RATE, tuned
from autorobustloss.runs.batch import run_jobs
from autorobustloss.runs.result import Result
from autorobustloss.runs.store import Store
from autorobustloss.training.history import History

SMALL = EFFORTS["small"]
LEARNED = {
    "arl-ar-s80": MethodSpec.of("taylor", theta=[0.5, 0.5, -1.0, *[0.0] * 9], scale="init"),
    "arl-ar-a40": MethodSpec.of("taylor", theta=[0.5, 0.5, -2.0, *[0.0] * 9], scale="init"),
}


class MadeUp:
    """The closer the learning rate is to 0.4, the better; results are a pure function of the job."""

    def __init__(self):
        self.trained = []

    def map(self, jobs, failures=None):
        for job in jobs:
            self.trained.append(job)
            value = 0.9 - abs(job.task.protocol.lr - 0.4) + int(job.key[:2], 16) / 1e5
            history = History([1], [value], [value], [value], steps=10)
            yield job, Result(job.key, history, 0.4, 1.0, "cpu", "here", {})

    def close(self):
        pass


def trained_by(executor, store):
    return lambda jobs: {r.key: r for r in run_jobs(jobs, store, executor)}


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
@pytest.mark.parametrize("effort", [Effort(seeds=1), SMALL], ids=["full", "small"])
def test_every_experiment_runs_and_says_how_it_differs(name, effort, tmp_path):
    for experiment in experiments(name, effort, LEARNED):
        executor = MadeUp()
        table, results = run_experiment(experiment, Store(tmp_path / "s.sqlite"), executor)
        assert set(results) == {job.key for job in executor.trained}
        assert any("not published" in note or "those of ε-softmax" in note for note in table.notes)
        if effort is SMALL:
            assert any(note.startswith("scaled down") for note in table.notes)
        if experiment.paper:
            assert any(method.endswith("(paper)") for method in table.methods)
        assert render(table)


def test_the_field_trains_each_loss_as_its_authors_do():
    """On all images but a few, ANL and JAL with their L1 penalty in place of weight decay, no loss of the paper's."""
    cifar10 = {"cifar10": load_dataset("digits")}  # ten classes as well
    for experiment in experiments("cifar10-field", Effort(), zoo_losses()):
        jobs = experiment.pinned(cifar10).jobs()
        assert "arl" in experiment.rows
        assert len(jobs) == 3 * len(experiment.rows) == 3 * 7
        for job in jobs:
            protocol = job.task.protocol
            assert (job.task.dataset.train_size, job.task.dataset.valid_size, protocol.epochs) == (0, 500, 120)
            assert job.method.options.get("l1", 0) == (5e-5 if job.method.name in ("anl_ce", "jal_ce") else 0)


def test_jobs_know_nothing_of_each_others_scale():
    full, small = (experiments("table1", effort, LEARNED)[0] for effort in (Effort(), SMALL))
    assert not {j.key for j in full.jobs()} & {j.key for j in small.jobs()}
    task = small.tasks[0]
    assert task.protocol.epochs == SMALL.epochs
    assert task.protocol.milestones == (3, 6, 8)
    assert full.tasks[0].protocol.milestones == (60, 120, 160)


def test_the_precision_is_that_of_every_training_and_is_told():
    for experiment in experiments("cifar10-field", replace(SMALL, precision="bfloat16"), zoo_losses()):
        assert {job.task.protocol.precision for job in experiment.jobs()} == {"bfloat16"}
        assert "numbers in bfloat16" in experiment.differs[0]
    with pytest.raises(ConfigError, match="precision"):
        experiments("cifar10-field", replace(SMALL, precision="float16"), zoo_losses())


def test_table1_and_table3_at_the_published_rate_share_jobs():
    first = {job.key for job in experiments("table1", SMALL, LEARNED)[0].jobs()}
    third = {job.key for job in experiments("table3", SMALL, LEARNED)[0].jobs()}
    assert len(first & third) == 8 * 6  # CE, GCE, SCE, NCE+MAE, NFL+MAE and the learned loss


def test_the_printed_row_follows_ours(tmp_path):
    experiment = experiments("table1", SMALL, LEARNED)[0]
    table, _ = run_experiment(experiment, Store(tmp_path / "s.sqlite"), MadeUp())
    block = table.block("last")
    row = table.methods.index("nfl+mae (paper)")
    assert table.methods[row - 1] == "nfl+mae"
    assert [c.mean for c in block.cells[row]] == pytest.approx(
        [0.4191, 0.0254, 0.4506, 0.6936, 0.3766, 0.0603, 0.5443, 0.7225]
    )
    assert block.average_ranks[row] == pytest.approx(4.5)  # printed 3.50, counted from 0
    assert "arl-ar" in table.methods
    assert "arl-dr" not in table.methods
    assert "arl-dr (paper)" in table.methods
    assert "41.91 ± 0.98" in render(table)
    assert "**41.91 ± 0.98**" not in render(table, "markdown")


def test_absent_data_sets_leave_the_rest(tmp_path):
    experiment = experiments("table1", SMALL, LEARNED)[0]
    executor = MadeUp()
    table, _ = run_experiment(
        experiment, Store(tmp_path / "s.sqlite"), executor, missing={"cifar100": "no file cifar100.npz"}
    )
    assert "cifar100" not in {job.task.dataset.name for job in executor.trained}
    absent = [cell for cell in table.block("last").cells[0] if cell.mean is None]
    assert [cell.reason for cell in absent] == ["no file cifar100.npz"] * 2
    assert table.block("last").ranked_tasks == 6


def test_competitors_have_their_authors_values_once_the_data_are_there():
    experiment = experiments("table1", SMALL, LEARNED)[0]
    digits = load_dataset("digits")
    many, few = replace(digits, num_classes=100), digits
    pinned = experiment.pinned({"cifar100": many, "usps": few})
    assert [e.method for e in pinned.entries] == [e.method for e in experiment.entries]
    values = {(e.task.dataset.name, e.method.name): e.job.method.options for e in pinned.entries}
    assert values["cifar100", "sce"] == {"alpha": 6, "beta": 0.1}
    assert values["cifar100", "fw"] == {"outlier_filter": False}
    assert values["cifar10", "sce"] == values["usps", "sce"] == {}
    before = {(e.task.dataset.name, e.method.name): e.job.method for e in experiment.entries}
    assert values["cifar100", "taylor"] == before["cifar100", "taylor"].options


def test_tuning_starts_at_the_authors_values(tmp_path):
    pytest.importorskip("optuna", reason="tuning needs the extra `tune`")
    experiment = experiments("table3", Effort(train_size=2000, epochs=5, seeds=1, trials=1), {})[0]
    experiment = experiment.pinned({"cifar100": replace(load_dataset("digits"), num_classes=100)})
    entries = [e for e in experiment.entries if (e.method.name, e.task.dataset.name) == ("sce", "cifar100")]
    executor = MadeUp()
    tuned(entries, experiment.tune, trained_by(executor, Store(tmp_path / "s.sqlite")))
    assert {job.method for job in executor.trained} == {MethodSpec.of("sce", alpha=6.0, beta=0.1)}


def test_table5_takes_one_learned_loss_per_target(tmp_path):
    target = MethodSpec.of("taylor", theta=[0.5, 0.5, -3.0, *[0.0] * 9])
    experiment = experiments("table5", SMALL, {"mnist/sym:0.8": target})[0]
    own = [entry for entry in experiment.entries if entry.job.method == target]
    assert [(e.task.dataset.name, e.task.noise) for e in own] == [("mnist", "sym:0.8")] * SMALL.seeds
    table, _ = run_experiment(experiment, Store(tmp_path / "s.sqlite"), MadeUp())
    cells = dict(zip(table.tasks, table.block("last").cells[table.methods.index("arl")]))
    assert [task for task, cell in cells.items() if cell.mean is not None] == ["mnist/jocor-net(width=0.25)/sym:0.8"]


def test_searches_are_asked_for_by_the_names_under_which_experiments_take_them():
    found = {target.name: target for target in targets("table5", SMALL)}
    assert len(found) == 8
    assert found["mnist/sym:0.8"].tasks[0].protocol.epochs == SMALL.epochs
    assert found["cifar100/map:0.4"].tasks[0].noise == "map:0.4:legacy"
    own = MethodSpec.of("taylor", theta=[0.0] * 12)
    entries = experiments("table5", SMALL, dict.fromkeys(found, own))[0].entries
    assert [e.task for e in entries if e.job.method == own] == [t.tasks[0] for t in found.values()]
    orders = targets("fig3", SMALL)
    assert [t.order for t in orders] == [2, 3, 4, 5]
    (figure, curves) = experiments("fig3", SMALL, {t.name: MethodSpec.of("gce", q=t.order / 10) for t in orders})
    assert list(figure.rows) == ["ce", "order 2", "order 3", "order 4", "order 5"]
    assert {task.model for task in figure.tasks} == {"linear"}
    assert not any(row.startswith("order") for row in curves.rows)
    assert targets("table1", SMALL) == ()


@pytest.mark.parametrize("name", ["table1", "table3", "fig3", "fig4"])
def test_digits_are_not_mirrored(name):
    for experiment in experiments(name, SMALL, {}):
        for task in experiment.tasks:
            digits = task.dataset.name in ("mnist", "kmnist", "usps")
            assert task.protocol.augment in (("none", "crop") if digits else ("none", "crop-flip")), task


def test_figure4_starts_at_clean_labels():
    tasks = experiments("fig4", SMALL, {})[0].tasks
    assert {t.noise for t in tasks if t.dataset.name == "usps"} == {"clean", *(f"pair:0.{i}" for i in (1, 2, 3, 4))}
    assert {t.noise for t in tasks if t.dataset.name == "fashion_mnist"} >= {"clean", "sym:0.8", "pair:0.4"}


def test_experiments_are_pinned_to_their_data():
    experiment = experiments("fig3", SMALL, {})[1]
    datasets = {"usps": load_dataset("digits")}
    pinned = experiment.pinned(datasets)
    assert {job.task.dataset.fingerprint for job in pinned.jobs()} == {datasets["usps"].fingerprint}
    assert {task.dataset.fingerprint for task in pinned.tasks} == {datasets["usps"].fingerprint}


def test_unknown_names_are_named():
    with pytest.raises(UnknownNameError, match="table1"):
        experiments("tabel1", SMALL, {})


def test_the_numbers_are_whole():
    shapes = {name: (len(table.rows), len(table.columns)) for name, table in paper_tables().items()}
    assert shapes == {
        "table1": (13, 8),
        "table2": (13, 8),
        "table3-sym": (7, 8),
        "table3-asym": (7, 8),
        "table4": (14, 1),
        "table5": (8, 8),
        "cifar10-field-sym": (10, 1),
        "cifar10-field-map": (10, 1),
    }
    for table in paper_tables().values():
        for cells in table.rows.values():
            assert len(cells) == len(table.columns)
            assert all(c.mean is None or 0 < c.mean < 1 for c in cells)


def test_tuning_finds_the_better_learning_rate_and_replays(tmp_path):
    pytest.importorskip("optuna", reason="tuning needs the extra `tune`")
    effort = Effort(train_size=2000, epochs=5, seeds=2, trials=6)
    experiment = experiments("table3", effort, {})[0]
    entries = experiment.entries[:2] + experiment.entries[-2:]
    executor, store = MadeUp(), Store(tmp_path / "s.sqlite")
    ready = tuned(entries, experiment.tune, trained_by(executor, store))
    assert {job.evaluate for job in executor.trained} == {("valid_noisy",)}
    low, high = LEARNING_RATE.low * 0.1, LEARNING_RATE.high * 0.1
    rates = [entry.job.task.protocol.lr for entry in ready]
    assert all(low <= rate <= high for rate in rates)
    tried = {job.task.protocol.lr for job in executor.trained}
    assert 0.1 in tried  # the method as published comes first
    assert all(abs(rate - 0.4) <= abs(0.1 - 0.4) for rate in rates)
    count = len(executor.trained)
    assert tuned(entries, experiment.tune, trained_by(executor, store)) == ready
    assert len(executor.trained) == count
    assert {entry.variant.split("×")[0].rsplit(" ")[-1] for entry in ready} == {"lr"}


def test_tables_are_made_of_the_columns_that_the_paper_prints():
    for name, table in paper_tables().items():
        of = next(known for known in EXPERIMENTS if name.startswith(known))
        (experiment,) = (e for e in experiments(of, SMALL, {}) if e.name == name)
        for column, task in zip(table.columns, experiment.tasks):
            model, dataset, *noise = column
            assert task.model.startswith(model)
            assert task.dataset.name.startswith(dataset)
            assert not noise or task.noise.startswith(noise[0])


def test_without_optuna_the_install_line_is_given(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    experiment = experiments("table3", Effort(train_size=2000, epochs=5, seeds=1, trials=3), {})[0]
    with pytest.raises(MissingDependencyError, match=r"pip install 'autorobustloss\[tune\]'"):
        run_experiment(experiment, Store(tmp_path / "s.sqlite"), MadeUp())
