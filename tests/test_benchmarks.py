"""The benchmark: its pure parts, that its yardstick computes what it is compared with, and that each section runs."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.losses import TaylorLoss
from autorobustloss.models import build_model

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


times = st.lists(st.integers(1, 50).map(float), min_size=1, max_size=30)


@given(times, st.integers(1, 8), st.sampled_from([0.0, 0.25, 3.0]), st.sampled_from([0.0, 0.5, 2.0]))
def test_makespan_keeps_its_bounds(jobs, workers, hand_over, commit):
    from benchmarks.simulation import Costs, makespan

    costs = Costs(hand_over, commit, turn=0.125)
    got = makespan(jobs, workers, costs)
    busy = [job + costs.turn for job in jobs]
    assert got >= max(sum(busy) / workers, max(busy), len(jobs) * costs.serial) - 1e-9
    assert got <= sum(busy) + len(jobs) * costs.serial + 1e-9
    if hand_over == commit == 0 and workers == 1:
        assert got == pytest.approx(sum(busy))


def test_makespan_by_hand():
    from benchmarks.simulation import Costs, makespan

    # Hand-overs until 1 and 2, so ends at 11 and 12; the third goes out at 12 and ends at 22. Its commit is the last.
    assert makespan([10, 10, 10], 2, Costs(hand_over=1, commit=0.5)) == 22.5
    # With instant jobs the parent is all there is.
    assert makespan([0.0] * 100, 50, Costs(hand_over=1, commit=2)) == 300


def test_more_workers_help_until_the_serial_part_is_reached():
    from benchmarks.simulation import Costs, generation, saturation

    costs = Costs(hand_over=0.001, commit=0.004, candidate=0.003)
    done = [generation(100, [0.5, 1.0], workers, costs) for workers in (1, 2, 8, 32, 128, 512)]
    assert done[0].speed_up == pytest.approx(1)
    assert all(a.seconds >= b.seconds for a, b in pairwise(done))
    assert done[1].speed_up > 1.9
    assert all(g.seconds >= g.serial for g in done)
    assert saturation(0.75, costs) == 150


def test_ratios_are_taken_within_a_round():
    from benchmarks.timing import Spread, Times, side_by_side

    timed = Times({"a": [1.0, 20.0, 3.0], "b": [2.0, 40.0, 3.0]})
    assert timed.ratio("a", "b") == Spread(0.5, 0.5, 1.0)
    order: list[str] = []
    things = {name: (lambda name=name: order.append(name)) for name in "ab"}
    assert all(len(v) == 3 for v in side_by_side(things, rounds=3, least=0).seconds.values())
    assert order[-6:] == list("ababab")


def test_a_table_reads_the_same_as_text_and_markdown():
    from benchmarks.table import Table, percent, times
    from benchmarks.timing import Spread

    table = Table("T", ["what", "share"], [["x", percent(0.456)], ["y", times(Spread(1.234, 1, 2))]], ["note"])
    assert "| x | 46 % |" in table.markdown()
    assert "1.23× (1.00–2.00)" in table.text()


def test_the_textbook_computes_our_loss():
    from benchmarks.settings import candidates
    from benchmarks.throughput import criterion

    logits, labels = torch.randn(16, 10, dtype=torch.float64) * 3, torch.randint(10, (16,))
    for theta in candidates(4):
        ours = TaylorLoss(theta, scale="max")(logits, labels)
        torch.testing.assert_close(criterion(theta)(logits, labels), ours, rtol=1e-5, atol=1e-6)


def test_the_textbook_cnn_is_our_cnn():
    from benchmarks.throughput import plain_cnn

    ours = build_model("cnn4", (1, 28, 28), 10, seed=0)
    plain = plain_cnn(ours)
    x = torch.randn(5, 1, 28, 28)
    torch.testing.assert_close(plain(x), ours(x), rtol=1e-4, atol=1e-5)


def test_the_textbook_learns():
    from benchmarks import textbook
    from benchmarks.settings import random_images

    torch.manual_seed(0)
    data = random_images(600)
    images = textbook.Images(data.x_train[:, 0].numpy(), data.y_train.numpy(), [textbook.ToTensor()])
    image, label = images[3]
    np.testing.assert_allclose(image[0].numpy() * 255, data.x_train[3, 0].numpy(), atol=1e-3)
    assert label == data.y_train[3]
    model = build_model("linear", (1, 28, 28), 10, seed=0)
    assert textbook.train(model, torch.nn.CrossEntropyLoss(), images, images, epochs=3) > 0.9


@pytest.mark.slow
def test_every_section_runs(tmp_path):
    page = tmp_path / "speed.md"
    page.write_text("before\n<!-- benchmarks: begin -->\nold\n<!-- benchmarks: end -->\nafter\n")
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--json",
        str(tmp_path / "all.json"),
        "--write",
        str(page),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "figures mean nothing" in done.stdout
    data = json.loads((tmp_path / "all.json").read_text())
    assert set(data) == {"machine", "floor", "textbook", "inner", "loss", "written", "overhead", "scale", "card", "ray"}
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert text.count("### ") == sum(len(tables) for name, tables in data.items() if name != "machine")


def test_generations_that_overlap_end_sooner():
    from benchmarks.pipeline import search_seconds

    one, two = [[3.0], [1.0]], [[1.0], [3.0]]
    assert search_seconds([one, one], workers=2, ahead=0) == 6
    assert search_seconds([one, one], workers=2, ahead=1) == 4
    assert search_seconds([one, two], workers=2, ahead=1) == 6  # the long one is not known before
    assert search_seconds([one, two], workers=2, ahead=2) == 4
    assert search_seconds([one, two], workers=1, ahead=2) == 8


@given(st.lists(st.lists(times, min_size=2, max_size=2), min_size=1, max_size=4), st.integers(1, 6))
def test_overlap_keeps_the_bounds_of_any_schedule(generations, workers):
    from benchmarks.pipeline import search_seconds

    jobs = [job for generation in generations for candidate in generation for job in candidate]
    for ahead in (0, 1, 2):
        assert sum(jobs) + 1e-9 >= search_seconds(generations, workers, ahead) >= max(sum(jobs) / workers, max(jobs))


def test_economy_counts_the_steps_to_the_plain_searchs_level():
    from benchmarks import economy

    unit = economy.steps_per_candidate()
    budget = economy.CANDIDATES * unit
    plain = [[share * budget, value] for share, value in ((0.25, 0.40), (0.5, 0.47), (0.75, 0.50), (1.0, 0.53))]
    fast = [[0.1 * budget, 0.45], [0.2 * budget, 0.51], [0.34 * budget, 0.55]]
    slow = [[0.1 * budget, 0.30], [0.34 * budget, 0.49]]
    curves = {("plain", 0): plain, ("canonical space", 0): fast, ("race", 0): slow}
    rows = {line.split("|")[1].strip(): line for line in economy.table_of(curves, unit).splitlines()}
    assert rows["canonical space"].endswith("| 0.20 | 0.20 |")  # the level is the mean of 47, 50 and 53
    assert rows["race"].endswith("| - | not reached |")
    assert f"{100 * economy.value_at(plain, budget / 3):.1f}" in rows["plain"]


@pytest.mark.slow
def test_the_judges_of_labels_are_compared_on_equal_terms():
    pytest.importorskip("cleanlab")
    from benchmarks import labels

    from autorobustloss.runs import Store

    setting = labels.Setting("digits", "sym:0.2", 300, "linear", 60, draws=1)
    with Store(":memory:") as store:
        found = labels.table("", store, 1, (setting,))
        assert len(store) == 5 * len(labels.JUDGES)
        assert found == labels.table("", store, 1, (setting,))  # all of it is kept
    assert [row[1] for row in found.rows] == [labels.REGRESSION, *labels.JUDGES]
    assert all(float(row[4].strip("*")) > 0.8 for row in found.rows)
    assert found.rows[0][0].startswith("digits, 300, sym:0.2, ")
