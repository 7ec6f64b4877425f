"""Sentences on top of a page say what tables hold, counted here by hand; and nothing that they do not bear."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autorobustloss.benchmark.cells import tabulate
from autorobustloss.benchmark.grid import BenchConfig
from autorobustloss.data import DataSpec
from autorobustloss.errors import ConfigError
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.report.conclusion import LEARNED, of_answers, of_search, of_tables, standings
from autorobustloss.report.sheets import sheets
from autorobustloss.runs.job import Task
from autorobustloss.runs.result import Result
from autorobustloss.training.history import History

METHODS = tuple(MethodSpec.of(name) for name in ("ce", "gce", "mae"))


def table(means, names=None, chance=0.0, tasks=None, seeds=2):
    """Return the table of mean accuracies, a row per method; None for what was not trained."""
    tasks = tasks or [Task(DataSpec(f"data-{i}"), "clean", "mlp2") for i in range(len(means[0]))]
    grid = BenchConfig(METHODS[: len(means)], tuple(tasks), seeds=seeds)
    results = {}
    for entry in grid.entries():
        value = means[METHODS.index(entry.method)][tasks.index(entry.task)]
        if value is not None:
            history = History([1], valid_clean=[value], valid_noisy=[value], test=[value], train_loss=[1.0])
            results[entry.job.key] = Result(entry.job.key, history, 0.0, 1.0, "cpu", "here", {})
    called = dict(zip(METHODS, names or ()))
    return tabulate(grid.entries(), results, names=called, chance=dict.fromkeys(tasks, chance))


def test_the_best_by_how_much_and_on_what():
    found = of_tables([table([[0.5, 0.6, 0.7], [0.8, 0.9, 0.7], [0.4, 0.3, 0.2]])])
    assert found.sentence == (
        "gce is best of 3 methods on 3 tasks (2 seeds): average rank 1.17, 80.0 % test accuracy, 20.0 points ahead of "
        "ce, the next by rank."
    )
    assert "not significant" in found.more  # three tasks tell no three methods apart: the critical difference is 1.91
    assert "gce cannot be told from any other" in found.more


def test_many_tasks_tell_methods_apart():
    found = of_tables([table([[0.5] * 12, [0.8] * 12, [0.3] * 12])])
    # Ranks 1, 2 and 3; with three methods and twelve tasks Demšar's q of 2.343 gives a critical difference of 0.96.
    assert found.more == "gce differs significantly from all others (Nemenyi's test, 5 %, 12 tasks)."


def test_a_higher_mean_of_another_is_said():
    found = of_tables([table([[0.51, 0.51, 0.51, 0.10], [0.50, 0.50, 0.50, 0.90]])])
    assert found.sentence.startswith("ce is best of 2 methods on 4 tasks")
    assert "19.2 points behind gce" in found.sentence
    assert "The highest mean accuracy is that of gce, 60.0 %." in found.more


def test_a_tie_is_a_tie():
    assert of_tables([table([[0.5, 0.6], [0.6, 0.5]])]).sentence.startswith("ce and gce share the best average rank")


@pytest.mark.parametrize(
    ("means", "chance", "said"),
    [
        ([[None], [None]], 0.0, "Nothing is trained yet."),
        ([[0.1], [0.1]], 0.2, "No method is above chance on any task: nothing can be said."),
        ([[0.5, 0.7], [None, None]], 0.0, "ce reaches 60.0 % test accuracy on 2 tasks; it is the only method"),
        ([[0.5, None], [None, 0.5]], 0.0, "The methods have no task in common"),
    ],
)
def test_what_cannot_be_said_is_not(means, chance, said):
    assert of_tables([table(means, chance=chance)]).sentence.startswith(said)


def test_on_one_task_no_test_is_claimed():
    assert "On a single task there is no test" in of_tables([table([[0.5], [0.6]])]).more


def test_dependent_tasks_are_said():
    tasks = [Task(DataSpec("digits"), noise, "mlp2") for noise in ("clean", "sym:0.2", "sym:0.4")]
    assert "the test flatters" in of_tables([table([[0.5, 0.6, 0.7], [0.6, 0.7, 0.8]], tasks=tasks)]).more


def test_a_search_is_honest_where_its_loss_is_behind():
    behind = table([[0.5, 0.4], [0.7, 0.6], [0.2, 0.3]], names=(LEARNED, "gce", "mae"))
    found = of_search(behind, 0.9)
    assert found.sentence == (
        "The learned loss reaches 45.0 % test accuracy on average over 2 tasks (2 seeds), 20.0 points behind gce, the "
        "best known loss here."
    )
    assert found.more.startswith("By average rank it is the 2nd of 3.")
    ahead = table([[0.9, 0.8], [0.7, 0.6], [0.2, 0.3]], names=(LEARNED, "gce", "mae"))
    assert "20.0 points ahead of gce" in of_search(ahead, 0.9).sentence


def test_a_search_without_a_comparison_claims_none():
    assert of_search(None, 0.381).sentence == (
        "The learned loss reaches 38.1 % validation accuracy on fresh noise; how it fares beside known losses was not "
        "tried."
    )


def test_standings_are_over_tasks_that_all_have():
    found = standings(part := table([[0.5, 0.9], [0.6, None]]), part.block())
    assert [(each.name, each.rank, round(each.mean, 1)) for each in found] == [("gce", 1.0, 60.0), ("ce", 2.0, 50.0)]


def test_ranks_quoted_from_a_paper_are_not_ours():
    ours = table([[0.5, 0.4], [0.7, 0.6], [0.9, 0.9]])
    block = ours.block()
    quoted = tuple(replace(cell, n=0) for cell in block.cells[2])
    beside = replace(ours, blocks=(replace(block, cells=(*block.cells[:2], quoted)),))
    assert [each.name for each in standings(beside, beside.block())] == ["gce", "ce"]
    (sheet, *_) = sheets(beside)
    assert [row.name for row in sheet.rows] == ["ce", "gce", "mae"]
    assert [row.quoted for row in sheet.rows] == [False, False, True]
    assert [row.name for row in sheets(ours)[0].rows] == ["mae", "gce", "ce"]


def answer(alike, seeds=2):
    candidates = [
        {"method": name, "valid_noisy": {str(seed): value for seed in range(seeds)}}
        for name, value in (("gce", 0.8), ("ce", 0.7))
    ]
    return {"answers": [{"dataset": "own", "candidates": candidates, "alike": alike}]}


def test_an_answer_on_labels_as_they_come():
    found = of_answers(json.loads(json.dumps(answer(["ce"]))))
    assert "gce is best: it agrees with 80.0 % of the noisy validation labels (2 seeds), 10.0 points ahead of ce" in (
        found.sentence
    )
    assert found.more == "With 2 seeds it cannot be told from ce."
    assert "surely ahead" in of_answers(answer([])).more
    assert "One seed" in of_answers(answer(["ce"], seeds=1)).more


@pytest.mark.parametrize("content", [{}, {"answers": []}, {"answers": [{}]}, answer([], seeds=0), {"answers": 7}])
def test_an_answer_that_is_none_is_refused(content):
    with pytest.raises(ConfigError, match="does not read"):
        of_answers(content)
