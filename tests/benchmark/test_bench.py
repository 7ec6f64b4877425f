"""The three views of a benchmark, with an executor that makes its results up from the job's key."""

from __future__ import annotations

import pytest

from autorobustloss.benchmark.bench import SWEEP, BenchConfig, load_datasets, pin, run_bench
from autorobustloss.data.spec import DataSpec
from autorobustloss.errors import ConfigError, UnknownNameError
from autorobustloss.jobs.job import Task
from autorobustloss.jobs.result import Result
from autorobustloss.jobs.store import Store
from autorobustloss.methods.spec import MethodSpec
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


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"views": ("publish",)}, UnknownNameError), ({"views": ()}, ConfigError), ({"methods": ()}, ConfigError)],
)
def test_configurations_that_mean_nothing_are_refused(arguments, error):
    with pytest.raises(error):
        BenchConfig(**{"methods": (CE,), "tasks": TASKS, **arguments})
