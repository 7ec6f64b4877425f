"""Pictures show the numbers they are given: the curves are read back from the axes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from autorobustloss.errors import ConfigError
from autorobustloss.losses import create_loss
from autorobustloss.report.benchmark_pictures import (
    critical_difference_diagram,
    feature_map,
    learning_curves,
    noise_sweep,
    order_study,
    tsne,
)
from autorobustloss.report.loss_pictures import losses_picture, search_picture
from autorobustloss.report.style import OKABE_ITO, layout, line_style, new_figure, render, save

LOSSES = {name: create_loss(name) for name in ("ce", "mae", "gce")}
GENERATIONS = [
    SimpleNamespace(number=n, best=0.3 + 0.05 * n, mean=0.2 + 0.05 * n, worst=0.1 + 0.01 * n) for n in range(1, 6)
]


def panels(figure):
    return [axes for axes in figure.get_axes() if axes.get_visible()]


def line(axes, label):
    return next(found for found in axes.get_lines() if found.get_label() == label)


def test_the_picture_of_losses_draws_the_losses_up_to_a_constant():
    figure = losses_picture(LOSSES)
    formulas = {"ce": lambda p: -np.log(p), "mae": lambda p: 1 - p, "gce": lambda p: (1 - p**0.7) / 0.7}
    assert [axes.get_title() for axes in panels(figure)] == list(LOSSES)
    for axes in panels(figure):
        p, drawn = line(axes, "label 1").get_data()
        inner = (p > 0.05) & (p < 0.95)
        expected = formulas[axes.get_title()](p[inner])
        assert np.ptp(drawn[inner] - expected) < 1e-4
        assert np.nanmin(drawn) == 0


def test_a_loss_without_end_does_not_set_the_range():
    axes = panels(losses_picture({"ce": create_loss("ce")}))[0]
    assert axes.get_ylim()[1] < 5
    assert np.all(np.isfinite(axes.get_ylim()))


def test_a_picture_of_no_losses_is_refused():
    with pytest.raises(ConfigError, match="got no losses"):
        losses_picture({})


def test_the_search_picture_holds_the_losses_and_every_generation():
    figure = search_picture(LOSSES, GENERATIONS, learned="gce")
    titles = {axes.get_title(): axes.title.get_fontweight() for axes in panels(figure) if axes.get_title()}
    assert titles == {"ce": "normal", "mae": "normal", "gce": "bold"}
    (axes,) = (axes for axes in panels(figure) if axes.get_xlabel() == "generation")
    for name in ("best", "mean", "worst"):
        x, y = line(axes, name).get_data()
        assert list(x) == [1, 2, 3, 4, 5]
        assert y == pytest.approx([getattr(g, name) for g in GENERATIONS])


def test_curves_are_means_with_bands_over_seeds():
    curves = {"ce": {1: [0.5, 0.7], 2: [0.6, 0.8], 3: [0.9]}, "gce": {1: [0.1], 2: [0.2], 3: [0.3]}}
    axes = panels(learning_curves({"task": curves}))[0]
    assert axes.get_lines()[0].get_ydata() == pytest.approx([60, 70, 90])
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(80.0)  # the standard error of 60 and 80 is 10
    assert len(axes.collections) == 1  # a single seed has no band


def test_noise_sweep_is_in_percent():
    axes = panels(noise_sweep({"setting": {"ce": {0.0: [0.9], 0.4: [0.5]}}}))[0]
    assert list(axes.get_lines()[0].get_xdata()) == [0, 40]
    assert list(axes.get_lines()[0].get_ydata()) == pytest.approx([90, 50])


def test_order_study_has_a_bar_per_loss():
    axes = panels(order_study({"ce": [0.2, 0.4], "order 4": [0.5]}))[0]
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([30, 50])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["ce", "order 4"]
    (whisker,) = axes.collections
    assert np.ptp(whisker.get_segments()[0][:, 1]) == pytest.approx(
        20
    )  # ± the standard error of 20 and 40, which is 10


def test_critical_difference_diagram_names_every_method_and_bar():
    figure = critical_difference_diagram(["a", "b", "c"], [1.2, 2.0, 2.8], 1.0)
    axes = panels(figure)[0]
    texts = " ".join(text.get_text() for text in axes.texts)
    assert all(name in texts for name in ("a  1.20", "b  2.00", "2.80  c", "critical difference 1.00"))
    bars = [found for found in axes.get_lines() if found.get_linewidth() == 3]
    assert [tuple(np.round(bar.get_xdata(), 2)) for bar in bars] == [(1.17, 2.03), (1.97, 2.83)]


def test_tsne_keeps_far_clusters_apart_and_is_seeded():
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    features = draw.normal(size=(40, 5)) + 50 * labels[:, None]
    points = tsne(features)
    assert np.array_equal(points, tsne(features))
    centres = np.array([points[labels == c].mean(axis=0) for c in (0, 1)])
    own = np.linalg.norm(points - centres[labels], axis=1)
    assert np.all(own < np.linalg.norm(points - centres[1 - labels], axis=1))
    figure = feature_map({"ce": (features, labels)})
    assert sum(len(c.get_offsets()) for c in panels(figure)[0].collections) == 40
    with pytest.raises(ConfigError, match="N of at least 4"):
        tsne(features[:2])


def test_saved_pictures_are_of_their_kind_and_reproducible(tmp_path):
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        path = save(losses_picture({"mae": LOSSES["mae"]}), tmp_path / "folder" / f"picture{suffix}")
        assert path.read_bytes().startswith(magic)
        assert path.read_bytes() == render(losses_picture({"mae": LOSSES["mae"]}), suffix)
    with pytest.raises(ConfigError, match=r"ends in \.png"):
        save(new_figure(1, 1), tmp_path / "picture.jpg")


def test_curves_are_told_apart_without_colour():
    styles = [line_style(i) for i in range(56)]
    looks = [(str(s["linestyle"]), s["color"]) for s in styles]
    assert len(set(looks)) == 56
    grey = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in map(to_rgb, OKABE_ITO)]
    for (i, a), (j, b) in itertools.combinations(enumerate(styles[:8]), 2):
        assert a["marker"] != b["marker"], (i, j)
    assert max(grey) < 0.75  # all of them show on white


@pytest.mark.parametrize("count", range(1, 14))
def test_layout_has_room_and_no_empty_row(count):
    rows, columns = layout(count, widest=4)
    assert columns <= 4
    assert count <= rows * columns < count + columns


def test_pictures_need_neither_pyplot_nor_a_display():
    code = (
        "import sys; from autorobustloss.report import benchmark_pictures, loss_pictures; "
        "print('matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_gated_loss_is_a_triangle_of_weights():
    figure = losses_picture({"gated": create_loss("gated"), "ce": create_loss("ce")})
    gate, curve = panels(figure)
    (mesh,) = [c for c in gate.collections if hasattr(c, "get_coordinates")]
    weight = mesh.get_array()
    assert weight.max() == pytest.approx(1.0, abs=1e-3)
    assert weight.mask.any()
    assert (gate.get_xlabel(), gate.get_ylabel()) == ("probability of the label", "of another class")
    assert curve.get_xlabel() == "predicted probability"
    assert figure.legends
    assert not losses_picture({"gated": create_loss("gated", q=0.0, r=0.0)}).legends
