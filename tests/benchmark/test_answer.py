"""Which loss for my data: chosen by noisy validation alone, with an honest word on how sure that is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import autorobustloss as arl
from autorobustloss.benchmark.advice import line_of_code, paragraph
from autorobustloss.benchmark.answer import Answer, Candidate, answers, lead, surely_ahead
from autorobustloss.benchmark.grid import BenchConfig
from autorobustloss.data import DataSpec
from autorobustloss.methods import MethodSpec
from autorobustloss.methods.named import named_method
from autorobustloss.runs import Result, Task
from autorobustloss.training import create_protocol
from autorobustloss.training.history import History

TASK = Task(DataSpec("own"), "given", "mlp2", create_protocol("shallow", epochs=4))
CE, GCE, SCE = MethodSpec("ce"), MethodSpec("gce"), MethodSpec("sce")


def results(entries, curve, seconds=4.0):
    """Return made-up results: `curve` gives an entry's noisy-validation curve; the test curve says the opposite."""
    found = {}
    for entry in entries:
        values = curve(entry)
        history = History(list(range(1, len(values) + 1)), [], values, [1 - v for v in values], steps=1)
        found[entry.job.key] = Result(entry.job.key, history, None, seconds, "cpu", "here", {})
    return found


def test_method_epoch_and_learning_rate_are_those_of_the_best_noisy_validation():
    config = BenchConfig((CE, GCE), (TASK,), seeds=3, views=("tuned",), learning_rates=(0.3, 1.0))
    peak = {("ce", 0.3): 0.5, ("ce", 1.0): 0.6, ("gce", 0.3): 0.7, ("gce", 1.0): 0.65}

    def curve(entry):
        top = peak[entry.method.name, round(entry.job.task.protocol.lr / 0.01, 1)] + entry.seed / 100
        return [0.1, top, 0.3, 0.2]

    entries = config.entries("tuned")
    (answer,) = answers(entries, results(entries, curve))
    assert (answer.best.name, answer.best.epoch, answer.rates) == ("gce", 2, 2)
    assert answer.best.task.protocol.lr == pytest.approx(0.003)
    assert answer.best.mean == pytest.approx(0.71)
    assert answer.best.error == pytest.approx(0.01 / math.sqrt(3))
    assert answer.best.seconds == pytest.approx(2)  # two of four epochs
    assert answer.second is not None
    assert (answer.second.name, answer.second.task.protocol.lr) == ("ce", 0.01)
    assert lead(answer.best, answer.second) == (pytest.approx(0.1), pytest.approx(0, abs=1e-12))
    assert answer.alike == ()
    text = paragraph(replace(answer, noise=0.123))
    for said in ("gce, network mlp2, learning rate 0.003 (the best of 2", "stopped after epoch 2 of 4", "71.0 ± 0.6 %",
                 "The runner-up, ce (learning rate 0.01, epoch 2), costs 10.0 ± 0.0 points and takes 1.0 times",
                 "surely ahead of all 1 others", "About 12.3 % of the", 'arl.create_loss("gce")'):  # fmt: skip
        assert said in text


def test_the_best_network_is_a_part_of_the_answer():
    tasks = (TASK, replace(TASK, model="linear"))
    entries = BenchConfig((CE, GCE), tasks, seeds=1).entries()
    height = {("ce", "linear"): 0.9, ("gce", "mlp2"): 0.8}
    (answer,) = answers(entries, results(entries, lambda e: [height.get((e.method.name, e.task.model), 0.1)]))
    assert [(c.name, c.task.model) for c in answer.candidates] == [("ce", "linear"), ("gce", "mlp2")]
    assert "One seed tells no method from another" in paragraph(answer)
    assert "--seeds 3 tells how sure" in paragraph(answer)


def test_only_labels_as_they_come_are_answered_for_each_data_set_once():
    tasks = (TASK, replace(TASK, noise="sym:0.4"), replace(TASK, dataset=DataSpec("other")))
    entries = BenchConfig((CE,), tasks, seeds=1).entries()
    found = answers(entries, results(entries, lambda e: [0.5]))
    assert [answer.dataset for answer in found] == ["own", "other"]
    assert "the only method that was tried" in paragraph(found[0])


def test_without_noisy_validation_labels_or_results_there_is_no_answer():
    entries = BenchConfig((CE,), (TASK,), seeds=2).entries()
    assert answers(entries, {}) == []
    assert answers(entries, {k: replace(r, history=History([1], [], [], [0.5])) for k, r in results(entries, lambda e: [0.5]).items()}) == []  # noqa: E501 # fmt: skip


def test_a_run_that_diverged_counts_as_nothing_from_there_on():
    entries = BenchConfig((CE,), (TASK,), seeds=2).entries()
    (answer,) = answers(entries, results(entries, lambda e: [0.4, 0.9, 0.9][: 3 if e.seed else 1]))
    assert answer.best.epoch == 2
    assert answer.best.scores == {0: 0.0, 1: 0.9}
    (answer,) = answers(entries, results(entries, lambda e: [0.6, 0.9, 0.9][: 3 if e.seed else 1]))
    assert answer.best.epoch == 1


scores = st.lists(st.floats(0, 1), min_size=2, max_size=6)


@given(scores, st.integers(0, 1000))
def test_sure_is_a_paired_t_test(values, seed):
    noise = np.random.default_rng(seed).normal(0.02, 0.02, len(values))
    first = Candidate("a", CE, TASK, 1, dict(enumerate(values)), 1.0)
    other = Candidate("b", GCE, TASK, 1, {i: v - d for i, (v, d) in enumerate(zip(values, noise))}, 1.0)
    test = stats.ttest_rel(list(first.scores.values()), list(other.scores.values()))
    if abs(test.pvalue - 0.05) > 1e-6:
        assert surely_ahead(first, other) == (test.pvalue < 0.05 and np.mean(noise) > 0)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ce", "criterion = torch.nn.CrossEntropyLoss()"),
        ("gce(q=0.5)", 'criterion = arl.create_loss("gce(q=0.5)")'),
        ("arl-ar-s80", 'criterion = arl.create_loss("arl-ar-s80")'),
        ("arl", 'criterion = arl.create_loss("arl")'),
        ("anl_ce(l1=5e-05)", "and 5e-05 times the sum of all |weights| added to it in place of weight decay"),
        ("fw", "arl train --dataset own --model mlp2 --loss fw (more than a loss)"),
        ("gce(match_scale=True)", "arl train --dataset own --model mlp2 --loss 'gce(match_scale=True)'"),
        ("forward(T=[[0.9, 0.1], [0.2, 0.8]])", 'arl.create_loss("forward(T=((0.9, 0.1), (0.2, 0.8)))")'),
    ],
)
def test_the_line_to_paste_runs(text, line):
    name, method = named_method(text)
    shown = line_of_code(Candidate(name, method, TASK, 1, {0: 0.5}, 1.0))
    assert line in shown
    if "create_loss" in shown:
        call = shown.partition(" = ")[2].partition(')"), and')[0].partition(", and")[0]
        import torch

        assert eval(call, {"arl": arl, "torch": torch})(torch.zeros(2, 2), torch.tensor([0, 1])).isfinite()


def test_an_answer_in_json_has_all_candidates():
    entries = BenchConfig((CE, GCE, SCE), (TASK,), seeds=2).entries()
    (answer,) = answers(entries, results(entries, lambda e: [0.5 + len(e.method.name) / 10 + e.seed / 50]))
    shown = answer.to_dict()
    assert [c["method"] for c in shown["candidates"]][2] == "ce"
    assert shown["alike"] == [answer.candidates[1].name]
    assert shown["candidates"][0]["valid_noisy"] == {"0": pytest.approx(0.8), "1": pytest.approx(0.82)}


def test_a_benchmark_in_one_call_answers():
    tasks = arl.make_tasks("digits", noise="given", models="linear", train_size=200, epochs=3, evaluate_every=1)
    outcome = arl.bench(["ce", "gce"], tasks, seeds=2)
    (answer,) = outcome.answers
    curves = {"ce": [], "gce": []}
    for entry in outcome.config.entries():
        curves[entry.method.name].append(outcome.results[entry.job.key].history.valid_noisy)
    means = {method: np.mean(found, axis=0) for method, found in curves.items()}
    assert answer.best.mean == pytest.approx(max(curve.max() for curve in means.values()))
    assert answer.best.epoch == 1 + means[answer.best.name].argmax()
    assert f"Which loss for digits, its labels as they come: {answer.best.name}" in str(outcome)
    assert isinstance(answer, Answer)
