"""A grid is a set of jobs that grows without changing."""

from __future__ import annotations

import pytest

from autorobustloss.benchmark.grid import Grid, matched, with_learning_rate
from autorobustloss.data.spec import DataSpec
from autorobustloss.errors import ConfigError
from autorobustloss.jobs.job import Task
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.training.protocol import Protocol

CE, GCE, MAE = (MethodSpec.of(name) for name in ("ce", "gce", "mae"))
TASKS = tuple(Task(DataSpec("digits"), noise, "mlp2", Protocol(lr=0.1)) for noise in ("sym:0.4", "clean"))


def keys(grid):
    return {job.key for job in grid.jobs()}


@pytest.mark.parametrize(
    "larger",
    [
        Grid((CE, GCE), TASKS, seeds=3),
        Grid((CE, GCE, MAE), TASKS, seeds=2),
        Grid((CE, GCE), (*TASKS, Task(DataSpec("digits"), "pair:0.4", "mlp2")), seeds=2),
        Grid((CE, GCE), TASKS, seeds=2, learning_rates=(0.1, 1.0, 3.0)),
    ],
    ids=["seed", "method", "task", "learning rate"],
)
def test_a_larger_grid_is_the_old_jobs_plus_new_ones(larger):
    small = Grid((CE, GCE), TASKS, seeds=2)
    assert keys(small) < keys(larger)
    assert len(keys(larger)) == len(larger.jobs())


def test_methods_of_a_column_and_seed_meet_equal_conditions():
    conditions = {}
    for entry in Grid((CE, GCE, MAE), TASKS, seeds=3).entries():
        job = entry.job
        found = (job.split_seed, job.noise_seed, job.seed, job.task)
        assert conditions.setdefault((entry.task, entry.seed), found) == found
    assert len(set(conditions.values())) == 6


def test_lists_do_as_well_as_tuples():
    grid = Grid([CE, GCE], list(TASKS), learning_rates=[1.0, 3.0])
    assert grid == Grid((CE, GCE), TASKS, learning_rates=(1.0, 3.0))
    assert hash(grid) == hash(Grid((CE, GCE), TASKS, learning_rates=(1.0, 3.0)))


def test_a_learning_rate_is_a_multiple_of_the_tasks_own():
    grid = Grid((CE,), TASKS[:1], seeds=1, learning_rates=(0.1, 3.0))
    assert [e.job.task.protocol.lr for e in grid.entries()] == pytest.approx([0.01, 0.3])
    assert {e.task for e in grid.entries()} == {TASKS[0]}
    assert [e.variant for e in grid.entries()] == ["lr×0.1", "lr×3"]
    assert with_learning_rate(TASKS[0], 2).protocol.lr == pytest.approx(0.2)
    assert with_learning_rate(TASKS[0], 1) is TASKS[0]
    assert [e.variant for e in Grid((CE,), TASKS[:1], seeds=1, learning_rates=(3.0,)).entries()] == [""]


def test_matching_the_scale_leaves_what_is_matched_already():
    learned = MethodSpec.of("taylor", theta=[0.0] * 12, scale="init")
    assert matched(CE) == CE
    assert matched(learned) == learned
    assert matched(GCE) == MethodSpec.of("gce", match_scale=True)
    assert matched(matched(GCE)) == matched(GCE)
    assert {job.method for job in Grid((GCE,), TASKS, match_scale=True).jobs()} == {matched(GCE)}
    assert {job.method for job in Grid((GCE,), TASKS).jobs()} == {GCE}
    shared = keys(Grid((CE, GCE), TASKS)) & keys(Grid((CE, GCE), TASKS, match_scale=True))
    assert shared == keys(Grid((CE,), TASKS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"methods": ()}, "no methods"),
        ({"tasks": ()}, "no tasks"),
        ({"seeds": 0}, "seeds=0"),
        ({"methods": (CE, CE)}, "ce twice"),
        ({"learning_rates": (0.0,)}, "positive"),
        ({"learning_rates": (1.0, 3.0), "evaluate": ("test",)}, "valid_noisy"),
    ],
)
def test_grids_that_mean_nothing_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        Grid(**{"methods": (CE,), "tasks": TASKS, **arguments})
