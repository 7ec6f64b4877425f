"""The analysis of losses: known curves, minima, gradients and gaps, and the screen."""

import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from autorobustloss.losses import GatedLoss, TaylorLoss, create_loss, list_losses
from autorobustloss.losses.analysis import (
    Verdict,
    along_line,
    curves,
    properties,
    screen,
    soft_targets,
    stiffness,
    symmetry_gap,
    triangle,
)
from autorobustloss.losses.taylor.form import CanonicalForm

THETA = [0.4, 0.5, -1.0, 0.5, 0.3, -0.2, -1.0, 0.3, 0.4, 0.2, -0.1, 0.6]
MAE = [0, 0, 0, 0, -1.0]
BRIER = [0, 0, 0, 1.0, -1.0]  # ℓ = ŷ²/2 − ŷy
SIMPLE = [name for name in list_losses() if name not in ("taylor", "forward")]


class TestCurves:
    @pytest.mark.parametrize("name", SIMPLE)
    @pytest.mark.parametrize("show", ["value", "gradient"])
    def test_every_loss_has_finite_curves_and_their_slopes(self, name, show):
        table = curves(create_loss(name), num_points=401)
        assert table["probability"].tolist() == np.linspace(0, 1, 401).tolist()
        for label in (0, 1):
            assert np.isfinite(table[f"{show}_{label}"]).all()

    @pytest.mark.parametrize("loss", [create_loss("gce"), create_loss("sce"), TaylorLoss(THETA, 0.3)], ids=repr)
    @pytest.mark.parametrize("class_wise", [True, False])
    def test_gradient_is_the_slope_of_the_value(self, loss, class_wise):
        table = curves(loss, num_points=2001, class_wise=class_wise)
        inner = slice(100, -100)
        for label in (0, 1):
            slope = np.gradient(table[f"value_{label}"], table["probability"])
            np.testing.assert_allclose(table[f"gradient_{label}"][inner], slope[inner], rtol=1e-3, atol=1e-3)

    def test_cross_entropy(self):
        table = curves(create_loss("ce"), num_points=11)
        p = table["probability"][1:-1]
        np.testing.assert_allclose(table["value_1"][1:-1], -np.log(p), rtol=1e-9)
        np.testing.assert_allclose(table["value_0"][1:-1], -np.log(1 - p), rtol=1e-9)
        np.testing.assert_allclose(table["gradient_1"][1:-1], -1 / p, rtol=1e-9)

    def test_two_classes_of_a_taylor_loss_are_those_of_its_twin(self):
        twin = TaylorLoss([0.0] * 5, 1.0, "init")
        got, wanted = curves(twin, class_wise=False), curves(create_loss("ce"))
        for key in wanted:
            np.testing.assert_allclose(got[key], wanted[key], rtol=1e-9, atol=1e-12)

    @given(seed=st.integers(0, 10**6))
    def test_class_by_class_draws_eq_5_up_to_what_softmax_cancels(self, seed):
        """ℓ(ŷ,1) − ℓ(ŷ,0) is free of the common multiple of ŷ; each alone differs from Eq. 5 by it and a constant."""
        theta = np.random.default_rng(seed).normal(size=12)
        table = curves(TaylorLoss(theta), num_points=9)
        p = np.clip(table["probability"], 1e-6, 1 - 1e-6)
        u = p - theta[0]

        def ell(y):
            v = y - theta[1]
            return (
                theta[2] * u + theta[3] * u**2 / 2 + theta[4] * u**3 / 6 + theta[5] * u**4 / 24
                + theta[6] * u * v + theta[7] * u * v**2 / 2 + theta[8] * u**2 * v / 2
                + theta[9] * u**3 * v / 6 + theta[10] * u * v**3 / 6 + theta[11] * u**2 * v**2 / 4
            )  # fmt: skip

        for label in (1, 0):
            difference = table[f"value_{label}"] - ell(label)
            line = np.polyfit(p, difference, 1)
            np.testing.assert_allclose(difference, np.polyval(line, p), atol=1e-9)
            if label == 1:
                slope = line[0]
        assert line[0] == pytest.approx(slope, abs=1e-8)
        middle = table["gradient_1"][4], table["gradient_0"][4]
        assert middle[0] == pytest.approx(-middle[1], abs=1e-9)

    def test_equal_losses_look_equal(self):
        moved = list(THETA)
        moved[2] += 5.0  # a multiple of ŷ for every class
        a, b = curves(TaylorLoss(THETA)), curves(TaylorLoss(moved))
        for key in a:
            np.testing.assert_allclose(a[key], b[key], atol=1e-12)


class TestNumbers:
    def test_line_by_hand(self):
        t = np.array([0.2, 0.7])
        line = along_line(create_loss("ce"), t, 5, labelled=True)
        np.testing.assert_allclose(line.value, -np.log(t))
        np.testing.assert_allclose(line.slope, -1 / t)
        np.testing.assert_allclose(line.gradient, t - 1)
        line = along_line(create_loss("ce"), t, 5, labelled=False)
        np.testing.assert_allclose(line.value, -np.log((1 - t) / 4))
        np.testing.assert_allclose(line.gradient, t)

    @pytest.mark.parametrize("classes", [2, 10])
    @pytest.mark.parametrize("name", ["ce", "mae", "gce"])
    def test_most_losses_ask_for_certainty(self, name, classes):
        assert soft_targets(create_loss(name), classes) == (1.0, 0.0)

    @pytest.mark.parametrize("classes", [2, 10])
    def test_label_smoothing_is_content_with_its_target(self, classes):
        label, _ = soft_targets(create_loss("label_smoothing", epsilon=0.2), classes)
        assert label == pytest.approx(0.8 + 0.2 / classes, abs=1e-4)

    def test_a_taylor_loss_with_a_soft_target(self):
        """d₁ = ŷ − 0.8 and d₀ = 0 for two classes: least at 0.8 and 0.2."""
        form = CanonicalForm(a=(-0.8, 1.0), b=(0.0,), k=0.0)
        assert soft_targets(TaylorLoss(form.theta()), 2) == (pytest.approx(0.8, abs=1e-4), pytest.approx(0.2, abs=1e-4))

    @pytest.mark.parametrize("classes", [2, 10, 100])
    def test_symmetric_losses_have_no_gap(self, classes):
        for loss in (create_loss("mae"), TaylorLoss(MAE, scale="init"), create_loss("nce")):
            assert symmetry_gap(loss, classes) < 1e-5 * classes
        assert symmetry_gap(create_loss("ce"), classes) > 10

    def test_gap_of_brier_by_hand(self):
        """Σ_k of (Σ ŷ²/2 − ŷ_k)/C is Σ ŷ²/2 − 1/C, between the centre and a corner."""
        assert symmetry_gap(TaylorLoss(BRIER), 4) == pytest.approx((1 - 1 / 4) / 2, abs=1e-4)

    def test_properties_of_cross_entropy(self):
        got = properties(create_loss("ce"), 10)
        assert got["start_gradient"] == pytest.approx(1)
        assert got["max_gradient"] == pytest.approx(0.9)
        assert got["mistake_gradient_90"] == pytest.approx(0.9)
        assert got["mistake_gradient_99"] == pytest.approx(0.99)
        assert (got["soft_target_label"], got["soft_target_other"]) == (1.0, 0.0)

    @pytest.mark.parametrize("name", SIMPLE)
    def test_properties_of_every_loss_are_plain_finite_numbers(self, name):
        for value in properties(create_loss(name), 5).values():
            assert type(value) is float
            assert math.isfinite(value)

    def test_properties_do_not_depend_on_the_scale_of_a_unit(self):
        a, b = (properties(TaylorLoss(THETA, 0.3, s), 10) for s in (1.0, 7.0))
        for key in ("soft_target_label", "mistake_gradient_90", "symmetry_gap"):
            assert a[key] == pytest.approx(b[key], rel=1e-6)
        assert b["max_gradient"] == pytest.approx(7 * a["max_gradient"])

    def test_a_negative_k_turns_the_push_around(self):
        """The paper's first conjecture: less correction where the network is sure that the label is wrong."""
        form = CanonicalForm(a=(-1.0, 0.0, 0.0), b=(0.0, 0.0), k=-1.5)
        assert properties(TaylorLoss(form.theta(), scale="init"), 10)["mistake_gradient_90"] < 0

    def test_the_loss_is_left_alone(self):
        loss = TaylorLoss(THETA, weight=torch.rand(10))
        properties(loss, 10)
        curves(loss)
        assert loss.weight.dtype == torch.float32


class TestScreen:
    def test_good_losses_pass(self):
        for theta, alpha in ((MAE, 0.0), (BRIER, 0.0), ([0.0] * 12, 1.0), (MAE, 0.1)):
            assert screen(TaylorLoss(theta, alpha, "init"), range(2, 101)) == Verdict(True)

    @pytest.mark.parametrize(
        ("candidate", "reason"),
        [
            ([math.nan] * 12, "finite"),
            ([math.inf] + [0.0] * 11, "finite"),
            ([1.0] * 7, "length 7"),
            ([1e300] * 12, "exceed"),
            ([0.0] * 12, "does not pull"),
            ([0, 0, 0, 0, 1.0], "does not pull"),
            ("nonsense", "theta"),
            (CanonicalForm((-1.0,), (), 0.0, -0.01), "no lower bound"),
            (CanonicalForm((-1.0, 0.0), (0.0,), 1e3), "grows"),
            (CanonicalForm((-1e-300,), (), 1e300), ""),
        ],
    )
    def test_bad_candidates_are_rejected_with_a_reason(self, candidate, reason):
        verdict = screen(candidate, [10])
        assert not verdict.ok
        assert reason in verdict.reason

    def test_one_bad_class_count_is_enough(self):
        form = CanonicalForm((0.2, -1.0), (0.0,), 2.0)
        assert screen(form, [3]).ok
        assert not screen(form, [3, 10]).ok
        assert "10 classes" in screen(form, [3, 10]).reason

    @given(values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=0, max_size=20))
    def test_never_raises(self, values):
        verdict = screen(values, [2, 10, 1000])
        assert verdict.ok or verdict.reason

    @given(values=st.lists(st.floats(-5, 5), min_size=7, max_size=7))
    @example(values=[0.0, -1.0919300508115876e-257, 0.0, 0.0, 0.0, 0.0, 0.0])
    @example(values=[-sys.float_info.min, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    @example(values=[0.0, -sys.float_info.min, 0.0, 0.0, 0.0, 0.0, 0.0])
    @example(values=[-1e-292, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    def test_what_passes_can_be_trained_at_every_scale(self, values):
        form = CanonicalForm.from_vector(values)
        if not screen(form, [3, 10]).ok:
            return
        for classes in (3, 10):
            for scale in ("init", "max", "geometric"):
                loss = TaylorLoss(form.theta(), form.log_weight, scale)
                logits = (5 * torch.randn(20, classes)).requires_grad_()
                loss(logits, torch.randint(0, classes, (20,))).backward()
                assert torch.isfinite(logits.grad).all()

    @pytest.mark.parametrize("classes", [2, 10, 100])
    def test_stiffness_by_autograd(self, classes):
        loss = TaylorLoss(THETA, 0.3, reduction="sum")
        t = np.linspace(0, 1, 1002)[1:-1]
        largest = 0.0
        for labelled in (True, False):
            p = torch.tensor(np.repeat((1 - t)[:, None] / (classes - 1), classes, axis=1))
            p[:, 0] = torch.tensor(t)
            logits = p.log().requires_grad_()
            loss(logits, torch.full((1000,), 0 if labelled else 1)).backward()
            largest = max(largest, float(logits.grad.abs().max()))
        start = loss.canonical().bracket(classes) / classes**2 * (1 - 1 / classes)
        assert stiffness(loss.canonical(), classes) == pytest.approx(largest / start, rel=1e-6)


class TestGated:
    def test_properties_are_of_its_gradient(self):
        found = properties(create_loss("gated"), 10)
        assert found["start_gradient"] == pytest.approx(0.9)  # its smoothing is 0.1
        assert (found["soft_target_label"], found["soft_target_other"]) == pytest.approx((0.91, 0.01))
        assert 0 < found["mistake_gradient_99"] < found["mistake_gradient_90"] < 0.1
        assert "symmetry_gap" not in found

    def test_cross_entropy_among_them_has_its_curves(self):
        got, wanted = (
            curves(GatedLoss(0, 0, odds=0, smoothing=0), num_points=4001),
            curves(create_loss("ce"), num_points=4001),
        )
        for label in (0, 1):
            np.testing.assert_allclose(got[f"gradient_{label}"], wanted[f"gradient_{label}"])
            one, other = (t[f"value_{label}"][200:-200] for t in (got, wanted))
            np.testing.assert_allclose(one - one[0], other - other[0], rtol=1e-3, atol=1e-3)

    def test_it_is_drawn_as_it_is_before_training(self):
        loss = create_loss("gated")
        loss(torch.randn(50, 10), torch.randint(10, (50,)))
        assert properties(loss, 10) == properties(create_loss("gated"), 10)

    def test_triangle(self):
        t, weight = triangle(GatedLoss(q=1.0, r=1.0, odds=0.0), num_points=5)
        assert t.tolist() == [0, 0.25, 0.5, 0.75, 1]
        assert np.isnan(weight[3, 2:]).all()
        assert weight[1, 2] == pytest.approx(0.5 * 0.75)
        assert weight[0, 4] == pytest.approx(1.0, abs=1e-5)

    def test_screen(self):
        assert screen(GatedLoss(0, 0, odds=0), [2, 1000]).ok
        assert "contradicted" in screen(GatedLoss(0, 0, odds=0, terms=[1, 0, 0, 0, 0]), [10]).reason
        assert not screen(create_loss("ce"), [10]).ok
