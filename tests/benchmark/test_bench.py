"""The three views of a benchmark, with an executor that makes its results up from the job's key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autorobustloss.benchmark.bench import SWEEP, BenchConfig, load_datasets, pin, run_bench
from autorobustloss.data import DataSpec
from autorobustloss.errors import ConfigError, UnknownNameError
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs.job import Task
from autorobustloss.runs.result import Result
from autorobustloss.runs.store import Store
from autorobustloss.training.history import History

CE, GCE = MethodSpec.of("ce"), MethodSpec.of("gce")
TASKS = (Task(DataSpec("digits"), "sym:0.4", "mlp2"), Task(DataSpec("elsewhere"), "clean", "mlp2"))


class MadeUp:
    """Results that are a pure function of the job, and a count of those made."""

    def __init__(self, stop_after=None):
        self.trained = []
        self.stop_after = stop_after

    def map(self, jobs, failures=None):
        for job in jobs:
            if self.stop_after is not None and len(self.trained) >= self.stop_after:
                raise KeyboardInterrupt
            self.trained.append(job)
            value = int(job.key[:6], 16) / 16**6
            history = History([1, 2], [value, value], [value, value], [value / 2, value], steps=10)
            yield job, Result(job.key, history, 0.4, 1.0, "cpu", "here", {})

    def close(self):
        pass


def test_views_share_their_jobs():
    published = BenchConfig((CE, GCE), TASKS, seeds=2)
    everything = BenchConfig((CE, GCE), TASKS, seeds=2, views=("published", "matched", "tuned"))
    assert len(published.jobs()) == 2 * 2 * 2
    # gce at matched scale, and both methods at three more learning rates, are what the other views add.
    assert len(everything.jobs()) == 8 + 4 + 2 * 2 * 2 * (len(SWEEP) - 1)
    assert {j.key for j in published.jobs()} < {j.key for j in everything.jobs()}


def test_a_benchmark_is_a_table_per_view(tmp_path):
    config = BenchConfig((CE, GCE), TASKS[:1], seeds=2, views=("published", "tuned"))
    outcome = run_bench(config, Store(tmp_path / "s.sqlite"), MadeUp(), names={GCE: "generalised"})
    assert list(outcome.tables) == ["published", "tuned"]
    assert outcome.tables["published"].methods == ("ce", "generalised")
    assert outcome.tables["tuned"].block().cells[0][0].choice.startswith("lr×")
    assert set(outcome.results) == {job.key for job in config.jobs()}


def test_an_absent_data_set_costs_its_columns_only(tmp_path):
    config = BenchConfig((CE, GCE), TASKS, seeds=1)
    executor = MadeUp()
    datasets, missing = load_datasets([task.dataset.name for task in TASKS], data_dir=tmp_path)
    assert set(datasets) == {"digits"}
    outcome = run_bench(config, Store(tmp_path / "s.sqlite"), executor, missing=missing)
    assert {job.task.dataset.name for job in executor.trained} == {"digits"}
    here, absent = outcome.tables["published"].block().cells[0]
    assert here.mean is not None
    assert absent.mean is None
    assert "elsewhere" in absent.reason


def test_interrupted_and_resumed_is_as_if_never_interrupted(tmp_path):
    config = BenchConfig((CE, GCE), TASKS[:1], seeds=2, views=("published", "matched"))
    store = Store(tmp_path / "s.sqlite")
    with pytest.raises(KeyboardInterrupt):
        run_bench(config, store, MadeUp(stop_after=3))
    second = MadeUp()
    resumed = run_bench(config, store, second)
    assert len(second.trained) == len(config.jobs()) - 3
    assert resumed.tables == run_bench(config, Store(tmp_path / "t.sqlite"), MadeUp()).tables


def test_pinned_tasks_know_the_content_of_their_data():
    datasets, _ = load_datasets(["digits"])
    here, absent = pin(TASKS, datasets)
    assert here.dataset.fingerprint == datasets["digits"].fingerprint
    assert absent == TASKS[1]


def test_authors_values_are_trained_told_and_written_down(tmp_path):
    many = Task(DataSpec("digits[split=26]"), "clean", "mlp2")
    sce = MethodSpec.of("sce")
    config = BenchConfig((CE, sce), (TASKS[0], many), seeds=1, classes={"digits": 10, "digits[split=26]": 26})
    outcome = run_bench(config, Store(tmp_path / "s.sqlite"), MadeUp(), notes=["labels: as they come"])
    assert outcome.tables["published"].notes == (
        "labels: as they come",
        "values: sce alpha=0.1, beta=1 (digits), alpha=6, beta=0.1 (digits[split=26])",
    )
    assert config.to_dict()["values"] == {"digits[split=26]": {"sce": "sce(alpha=6, beta=0.1)"}}
    # A benchmark that has the defaults everywhere is written as it has always been.
    few = BenchConfig((CE, sce), TASKS[:1], seeds=1, classes={"digits": 10})
    assert few.to_dict() == BenchConfig((CE, sce), TASKS[:1], seeds=1).to_dict()
    assert not {"classes", "values"} & few.to_dict().keys()


def test_one_training_under_two_names_is_ranked_once(tmp_path):
    methods = (CE, GCE, MethodSpec.of("gce_truncated"), MethodSpec.of("mae"))
    table = run_bench(BenchConfig(methods, TASKS[:1], seeds=1), Store(tmp_path / "s.sqlite"), MadeUp()).tables[
        "published"
    ]
    for block in table.blocks:
        assert block.average_ranks[2] is None
        assert sorted(r for r in block.average_ranks if r is not None) == [1, 2, 3]
        assert block.cells[2][0].mean is not None
    assert "gce_truncated trains as gce does, and is counted once in ranks" in table.notes


def test_a_task_without_noisy_validation_labels_says_so(tmp_path):
    class Unlabelled(MadeUp):
        def map(self, jobs, failures=None):
            for job, result in super().map(jobs):
                yield job, replace(result, history=replace(result.history, valid_noisy=[]))

    table = run_bench(BenchConfig((CE,), TASKS[:1], seeds=1), Store(tmp_path / "s.sqlite"), Unlabelled()).tables[
        "published"
    ]
    assert table.block("last").cells[0][0].mean is not None
    assert "no noisy validation" in table.block("best-noisy-validation").cells[0][0].reason


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"views": ("publish",)}, UnknownNameError), ({"views": ()}, ConfigError), ({"methods": ()}, ConfigError)],
)
def test_configurations_that_mean_nothing_are_refused(arguments, error):
    with pytest.raises(error):
        BenchConfig(**{"methods": (CE,), "tasks": TASKS, **arguments})
