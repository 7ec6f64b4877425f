"""A grid is a set of jobs that grows without changing."""

from __future__ import annotations

import pytest

from autorobustloss.benchmark.grid import Grid, counted_once, matched, values_note, with_learning_rate
from autorobustloss.data import DataSpec
from autorobustloss.errors import ConfigError
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.runs.job import Task
from autorobustloss.training.protocol import TrainingProtocol

CE, GCE, MAE = (MethodSpec.of(name) for name in ("ce", "gce", "mae"))
TASKS = tuple(Task(DataSpec("digits"), noise, "mlp2", TrainingProtocol(lr=0.1)) for noise in ("sym:0.4", "clean"))


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


MANY = Task(DataSpec("digits[split=26]"), "clean", "mlp2", TrainingProtocol(lr=0.1))
SCE, ANL = MethodSpec.of("sce"), MethodSpec.of("anl_ce")


@pytest.mark.parametrize("match_scale", [False, True])
def test_methods_have_their_authors_values_for_the_classes_of_each_task(match_scale):
    classes = {"digits": 10, "digits[split=26]": 26}
    tasks, methods = (TASKS[0], MANY), (SCE, MethodSpec.of("sce", alpha=2), ANL, GCE)
    grid = Grid(methods, tasks, seeds=1, match_scale=match_scale, classes=classes)
    found = {(e.task.dataset.name, e.method): e.job.method.options for e in grid.entries()}
    matched_ = {"match_scale": True} if match_scale else {}
    assert found["digits", SCE] == found["digits", GCE] == found["digits[split=26]", GCE] == matched_
    assert found["digits[split=26]", SCE] == {"alpha": 6, "beta": 0.1, **matched_}
    assert found["digits[split=26]", methods[1]] == {"alpha": 2, **matched_}
    assert found["digits", ANL] == {"l1": 5e-5, **matched_}
    assert found["digits[split=26]", ANL] == {"alpha": 10, "beta": 1, "l1": 5e-7, **matched_}


def test_values_that_are_the_defaults_keep_the_keys():
    methods = (CE, GCE, MAE, SCE, MethodSpec.of("nce+mae"), MethodSpec.of("jocor"), MethodSpec.of("fw"))
    assert keys(Grid(methods, TASKS, classes={"digits": 10})) == keys(Grid(methods, TASKS))


def test_the_values_are_told_and_where_they_differ():
    grid = Grid((CE, GCE, SCE), (*TASKS, MANY), seeds=2, classes={"digits": 10, "digits[split=26]": 26})
    note = values_note(grid.entries(), {m: m.label for m in grid.methods})
    assert note == "values: gce q=0.7; sce alpha=0.1, beta=1 (digits), alpha=6, beta=0.1 (digits[split=26])"
    assert values_note(Grid((CE,), TASKS).entries(), {CE: "ce"}) == ""


def test_rows_that_train_alike_are_counted_once():
    truncated, same = MethodSpec.of("gce_truncated"), MethodSpec.of("sce", alpha=6, beta=0.1)
    tasks = (TASKS[0], MANY)
    classes = {"digits": 10, "digits[split=26]": 26}
    assert counted_once(Grid((CE, GCE, truncated), tasks).entries()) == {truncated: GCE}
    # With ten classes the two are different methods.
    assert counted_once(Grid((SCE, same), tasks, classes=classes).entries()) == {}
    assert counted_once(Grid((SCE, same), (MANY,), classes=classes).entries()) == {same: SCE}
    rce = MethodSpec.of("rce")
    assert counted_once(Grid((MAE, rce), tasks).entries()) == {}
    assert counted_once(Grid((MAE, rce), tasks, match_scale=True).entries()) == {rce: MAE}


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
