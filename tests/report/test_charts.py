"""Charts are drawn where the numbers are: places are read back and turned into numbers again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.benchmark.curves import Curve, Panel, from_dict, to_json
from autorobustloss.errors import ConfigError
from autorobustloss.report.charts import MOST_LINES, figures, progress_figure, ticks
from autorobustloss.report.sheets import flat, in_words

PANELS = [
    Panel(
        "digits",
        "test",
        (Curve("ce", (1, 2, 4), (0.9, 0.8, 0.5), (0.01, 0.0, 0.02)), Curve("gce", (1, 2), (0.7, 0.75), (0, 0))),
    ),
    Panel("digits", "train_accuracy", (Curve("ce", (1, 2, 4), (0.5, 0.8, 1.0), (0.0, 0.0, 0.0)),)),
    Panel("digits/sym", "sweep", (Curve("ce", (0.0, 0.2, 0.4), (0.9, 0.8, 0.5), (0.0, 0.0, 0.0)),)),
]


def numbers_of(axes, line):
    """Return what a line shows, by the ticks of its panel."""
    places = np.array([point.split(",") for point in line.points.split()], dtype=float)
    (xs, xt), (ys, yt) = (np.array([(float(p), float(t)) for p, t in each]).T for each in (axes.xticks, axes.yticks))
    return np.stack(
        [np.polyval(np.polyfit(s, t, 1), v) for s, t, v in ((xs, xt, places[:, 0]), (ys, yt, places[:, 1]))]
    )


def test_lines_are_where_their_numbers_are():
    by_epoch, swept = figures(PANELS, ["gce", "ce"])
    assert [panel.title for panel in by_epoch.panels] == ["test", "training fit"]
    assert by_epoch.names == ((0, "gce"), (1, "ce"))
    drawn = {line.number: numbers_of(by_epoch.panels[0], line) for line in by_epoch.panels[0].lines}
    assert drawn[1] == pytest.approx(np.array([[1, 2, 4], [90, 80, 50]]), abs=0.3)
    assert drawn[0] == pytest.approx(np.array([[1, 2], [70, 75]]), abs=0.3)
    assert numbers_of(swept.panels[0], swept.panels[0].lines[0])[0] == pytest.approx([0, 20, 40], abs=0.3)
    assert by_epoch.panels[0].yticks == by_epoch.panels[1].yticks, "panels of a task have one scale"


def test_a_place_says_its_values_the_highest_first():
    panel = figures(PANELS, ["gce", "ce"])[0].panels[0]
    assert [zone.text for zone in panel.zones] == [
        "epoch 1: ce 90.0 ± 1.0, gce 70.0",
        "epoch 2: ce 80.0, gce 75.0",
        "epoch 4: ce 50.0 ± 2.0",
    ]
    assert panel.alt == "test: at epoch 4: ce 50.0 ± 2.0"
    ends = [zone.x + zone.width for zone in panel.zones]
    assert ends[:-1] == pytest.approx([zone.x for zone in panel.zones[1:]], abs=0.2)


def test_no_more_lines_than_can_be_told_apart():
    many = Panel("t", "test", tuple(Curve(f"m{i}", (1,), (0.5,), (0.0,)) for i in range(20)))
    (figure,) = figures([many], [f"m{i}" for i in range(20)])
    assert len(figure.panels[0].lines) == MOST_LINES


def test_a_search_of_no_generations_has_no_figure():
    assert progress_figure([]) is None
    assert len(progress_figure([(0.5, 0.4, 0.3)]).panels[0].lines) == 3


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_within(low, width):
    found = ticks(low, low + width)
    assert len(found) <= 7
    assert all(low - 1e-6 * width <= tick <= low + width * (1 + 1e-6) for tick in found)


def test_curves_come_back_from_their_file():
    content = json.loads(to_json(PANELS))
    assert from_dict(content) == PANELS
    for change in (
        {"of": "love"},
        {"curves": [{"method": "x", "x": [2, 1], "mean": [0, 0], "error": [0, 0]}]},
        {"title": 7},
    ):
        with pytest.raises(ConfigError, match="do not read"):
            from_dict({"panels": [{**content["panels"][0], **change}]})


def test_settings_are_words_not_json():
    deep = {}
    place = deep
    for _ in range(5000):
        place["a"] = {}
        place = place["a"]
    assert len(flat(deep)) == 1
    assert flat({}) == [("all", "none")]
    assert in_words(["a", None, 0.1, False]) == "a, not set, 0.1, no"
