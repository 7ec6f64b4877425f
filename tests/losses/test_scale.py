"""The scale rules: what each promises, at every number of classes."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from autorobustloss.errors import ConfigError
from autorobustloss.losses import TaylorLoss
from autorobustloss.losses.taylor.form import CanonicalForm
from autorobustloss.losses.taylor.scale import max_gradient, scale_factor

DOUBLE = torch.float64
forms = st.lists(st.floats(-3, 3), min_size=6, max_size=6).flatmap(
    lambda v: st.floats(0, 1).map(lambda a: CanonicalForm.from_vector([*v, a]))
)


def gradient(loss, logits, labels):
    logits = logits.clone().requires_grad_()
    loss(logits, labels).backward()
    return logits.grad


def build(form, scale):
    return TaylorLoss(form.theta(), form.log_weight, scale)


def on_the_path(t, classes):
    """Return logits with probability t for class 0 and the rest shared equally."""
    p = torch.full((len(t), classes), 0.0, dtype=DOUBLE)
    p[:] = ((1 - t) / (classes - 1)).unsqueeze(1)
    p[:, 0] = t
    return p.log()


@pytest.mark.parametrize("rule", ["init", "max", "geometric"])
def test_a_multiple_of_a_rule(rule):
    form = CanonicalForm((-1.0, 0.3), (0.2,), 0.1, 0.05, 0.4)
    for text, multiple in (("0.3", 0.3), (".5", 0.5), ("2", 2.0), ("", 1.0)):
        assert scale_factor(text + rule, form, 10) == pytest.approx(multiple * scale_factor(rule, form, 10))
    for wrong in ("0" + rule, "-1" + rule, rule + "0.3", "0.3 " + rule):
        with pytest.raises(ConfigError, match="scale"):
            TaylorLoss(form.theta(), scale=wrong)


@given(form=forms, classes=st.integers(2, 100))
def test_init_starts_like_cross_entropy(form, classes):
    assume(form.bracket(classes) > 1e-3)
    logits, labels = torch.full((3, classes), 0.7, dtype=DOUBLE), torch.tensor([0, classes - 1, 1])
    wanted = gradient(F.cross_entropy, logits, labels)
    torch.testing.assert_close(gradient(build(form, "init"), logits, labels), wanted, rtol=1e-9, atol=1e-12)


@given(form=forms, classes=st.integers(2, 100))
def test_start_gradient_is_parallel_to_cross_entropy(form, classes):
    """At uniform predictions it is (d₀ − d₁)/C² · (1/C − onehot), whatever the scale."""
    logits, labels = torch.zeros(1, classes, dtype=DOUBLE), torch.tensor([1])
    wanted = form.bracket(classes) / classes**2 * (1 / classes - F.one_hot(labels, classes).to(DOUBLE))
    torch.testing.assert_close(gradient(build(form, None), logits, labels), wanted, rtol=1e-9, atol=1e-12)


@given(form=forms, classes=st.integers(2, 100))
def test_max_bounds_the_pull_on_the_label(form, classes):
    assume(form.bracket(classes) > 1e-3)
    t = torch.linspace(1 / classes, 1 - 1e-9, 500, dtype=DOUBLE)
    loss = TaylorLoss(form.theta(), form.log_weight, "max", reduction="sum")
    pull = gradient(loss, on_the_path(t, classes), torch.zeros(500, dtype=torch.long))[:, 0]
    assert 0.98 < pull.abs().max() <= 1 + 1e-9


@given(form=forms, classes=st.integers(2, 100))
def test_geometric_is_between(form, classes):
    assume(form.bracket(classes) > 1e-3)
    init, top, between = (scale_factor(rule, form, classes) for rule in ("init", "max", "geometric"))
    assert between == pytest.approx((init * top) ** 0.5)


@given(form=forms, classes=st.integers(2, 20), factor=st.floats(1e-3, 1e3))
@pytest.mark.parametrize("rule", ["init", "max", "geometric"])
def test_rules_forget_the_size_of_the_loss(rule, form, classes, factor):
    assume(form.bracket(classes) > 1e-3)
    whole = factor * scale_factor(rule, form.scaled(factor), classes)
    assert whole == pytest.approx(scale_factor(rule, form, classes), rel=1e-9)


def test_known_factors():
    """Cross-entropy pulls hardest at the start, by 1 − 1/C; MAE at t = 1/2, by 1/4 (both unscaled, without 1/C)."""
    ce, mae = CanonicalForm((0.0,), (), 0.0, 1.0), CanonicalForm((-1.0,), (), 0.0)
    assert scale_factor("init", ce, 10) == pytest.approx(10)
    assert scale_factor("max", ce, 10) == pytest.approx(10 / 0.9)
    assert scale_factor("init", mae, 10) == pytest.approx(100)
    assert scale_factor("max", mae, 10) == pytest.approx(40)
    assert scale_factor(None, mae, 10) == 1.0
    assert scale_factor(3.5, mae, 10) == 3.5


def test_max_gradient_is_exact():
    """d₁ = −ŷ: the pull t²(1 − t)/C is greatest at t = 2/3."""
    assert max_gradient(CanonicalForm((0.0, -1.0), (0.0,), 0.0), 10) == pytest.approx(4 / 270, rel=1e-14)
    # narrow peaks are found too
    sharp = CanonicalForm.from_vector([*np.zeros(7), -1.0, *np.zeros(8)])
    t = np.linspace(0.1, 1, 1_000_001)
    assert max_gradient(sharp, 10) == pytest.approx(np.max(t**8 * (1 - t)) / 10, rel=1e-10)


def test_factor_follows_the_number_of_classes():
    logits, labels = torch.randn(5, 100, dtype=DOUBLE), torch.tensor([0, 1, 2, 3, 1])
    loss = TaylorLoss([0, 0, 0, 0, -1], scale="init")
    for classes in (4, 100, 4):
        wanted = -classes * logits[:, :classes].softmax(1).gather(1, labels.unsqueeze(1)).mean()
        torch.testing.assert_close(loss(logits[:, :classes], labels), wanted)


@pytest.mark.parametrize("rule", ["init", "geometric"])
@pytest.mark.parametrize("theta", [[0, 0, 0, 0, 1.0], [0.0] * 12])
def test_no_pull_no_scale(rule, theta):
    loss = TaylorLoss(theta, scale=rule)
    with pytest.raises(ConfigError, match="does not pull towards the label at uniform predictions of 3 classes"):
        loss(torch.zeros(2, 3), torch.tensor([0, 1]))
    TaylorLoss(theta)(torch.zeros(2, 3), torch.tensor([0, 1]))


@pytest.mark.parametrize("rule", ["init", "max", "geometric", "0.4max"])
@pytest.mark.parametrize("theta", [[0, 0, 0, 0, 1.0], [0.0] * 5])
def test_every_rule_needs_a_pull_towards_the_label(rule, theta):
    with pytest.raises(ConfigError, match="does not pull towards the label at uniform predictions of 3 classes"):
        TaylorLoss(theta, scale=rule)(torch.zeros(2, 3), torch.tensor([0, 1]))


def test_sign_of_the_bracket_may_depend_on_the_classes():
    form = CanonicalForm((0.0, -1.0), (0.0,), 2.0)  # d₀ − d₁ = ŷ: always positive; then shifted by a constant
    shifted = CanonicalForm((0.2, -1.0), (0.0,), 2.0)
    assert form.bracket(10) > 0
    assert shifted.bracket(3) > 0 > shifted.bracket(10)
