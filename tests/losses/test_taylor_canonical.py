"""The canonical form: what of θ matters, and what does not."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.errors import ConfigError
from autorobustloss.losses import TaylorLoss
from autorobustloss.losses.taylor.form import CanonicalForm, exponents, num_parameters, order_of

DOUBLE = torch.float64
seeds = st.integers(0, 10**6)
orders = st.integers(2, 6)


def random_theta(order, seed):
    return np.random.default_rng(seed).normal(size=num_parameters(order))


def gradient(theta, log_weight=0.0, seed=0, classes=6):
    generator = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(8, classes, dtype=DOUBLE, generator=generator)).requires_grad_()
    TaylorLoss(theta, log_weight, reduction="sum")(logits, torch.arange(8) % classes).backward()
    return logits.grad


def null_space(theta, order):
    """Return directions of θ₂, θ₃, … (at fixed θ₀, θ₁) that move no coefficient of the canonical form."""
    size = num_parameters(order)
    columns = []
    for index in range(2, size):
        unit = np.zeros(size)
        unit[:2], unit[index] = theta[:2], 1.0
        columns.append(CanonicalForm.from_theta(unit).vector(log=False))
    _, singular, rows = np.linalg.svd(np.array(columns).T)
    return rows[int((singular > 1e-9 * singular[0]).sum()) :]


def test_order_of_equation_5():
    assert exponents(4) == ((1, 0), (2, 0), (3, 0), (4, 0), (1, 1), (1, 2), (2, 1), (3, 1), (1, 3), (2, 2))


@given(order=st.integers(2, 9))
def test_every_order_has_its_exponents_once(order):
    pairs = exponents(order)
    assert len(set(pairs)) == len(pairs) == num_parameters(order) - 2
    assert all(a >= 1 and b >= 0 and a + b <= order for a, b in pairs)
    assert order_of(num_parameters(order)) == order


@given(order=orders, seed=seeds)
def test_null_space_moves_no_gradient(order, seed):
    theta = random_theta(order, seed)
    directions = null_space(theta, order)
    # 2 + β(β+1)/2 parameters, two of them the centre, move the gradient in 2β − 2 directions
    assert len(directions) == order * (order + 1) // 2 - (2 * order - 2)
    moved = theta.copy()
    if len(directions):
        moved[2:] += np.random.default_rng(seed).normal(size=len(directions)) @ directions
        assert not np.allclose(moved, theta)
    wanted = gradient(theta)
    torch.testing.assert_close(gradient(moved), wanted, rtol=1e-9, atol=1e-11 * float(wanted.abs().max() + 1))
    forms = [CanonicalForm.from_theta(t).vector() for t in (theta, moved)]
    np.testing.assert_allclose(forms[1], forms[0], rtol=0, atol=1e-12 * max(map(abs, forms[0])))


@given(order=orders, seed=seeds, log_weight=st.sampled_from([0.0, 0.3]))
def test_form_has_the_gradient_of_theta(order, seed, log_weight):
    theta = random_theta(order, seed)
    form = CanonicalForm.from_theta(theta, log_weight)
    wanted = gradient(theta, log_weight)
    scale = float(wanted.abs().max() + max(map(abs, form.vector())))
    torch.testing.assert_close(gradient(form.theta(), log_weight), wanted, rtol=1e-10, atol=1e-13 * scale)


@given(seed=seeds)
def test_slopes_are_those_of_the_loss(seed):
    """∂L/∂z_j = ŷ_j (d_j − Σ ŷ_i d_i) / C."""
    theta = random_theta(4, seed)
    form = CanonicalForm.from_theta(theta, 0.2)
    logits = torch.randn(1, 5, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    TaylorLoss(theta, 0.2)(logits, torch.tensor([1])).backward()
    p = logits.detach().softmax(1)[0].numpy()
    d = form.d0(p)
    d[1] = form.d1(p[1])
    np.testing.assert_allclose(logits.grad[0].numpy(), p * (d - p @ d) / 5, rtol=1e-9, atol=1e-12)


@given(order=orders, seed=seeds)
def test_round_trip(order, seed):
    values = np.random.default_rng(seed).normal(size=2 * order - 1)
    form = CanonicalForm.from_vector(values)
    assert form.order == order
    assert form.vector() == tuple(values)
    assert CanonicalForm.from_vector(form.vector(log=False)) == CanonicalForm.from_vector(values[:-1])
    back = CanonicalForm.from_theta(form.theta(), form.log_weight)
    assert back == form
    assert hash(back) == hash(form)
    # θ holds the difference of the two slopes, so a small coefficient is as exact as the largest one's last digit.
    rounding = 4 * np.finfo(float).eps * np.abs(values).max()
    np.testing.assert_allclose(back.vector(), form.vector(), rtol=0, atol=rounding)


def test_theta_of_order_4_by_hand():
    form = CanonicalForm(a=(1.0, 2.0, 3.0), b=(5.0, 7.0), k=11.0)
    #            θ0   θ1   θ2   b1   2b2   6k    a0   θ7   a1−b1 2(a2−b2)   θ10  θ11
    assert form.theta() == (0.0, 0.0, 0.0, 5.0, 14.0, 66.0, 1.0, 0.0, -3.0, -8.0, 0.0, 0.0)


@given(seed=seeds)
def test_equality_looks_at_twelve_digits_of_the_largest(seed):
    values = np.random.default_rng(seed).normal(size=7)
    values[3] = 100.0
    form = CanonicalForm.from_vector(np.round(values, 6))
    shifted = np.round(values, 6)
    shifted[0] += 3e-12
    assert CanonicalForm.from_vector(shifted) == form
    assert hash(CanonicalForm.from_vector(shifted)) == hash(form)
    shifted[0] += 1e-8
    assert CanonicalForm.from_vector(shifted) != form


def test_equality_at_a_power_of_ten():
    assert CanonicalForm((-1.0,), (), 0.5) == CanonicalForm((-0.9999999999999999,), (), 0.5)
    assert CanonicalForm((-1.0,), (), 0.5) != CanonicalForm((-0.99999,), (), 0.5)


def test_equality_is_blind_to_the_nominal_order():
    third = CanonicalForm(a=(1.0, 2.0), b=(3.0,), k=4.0)
    fourth = CanonicalForm(a=(1.0, 2.0, 4.0), b=(3.0, 4.0), k=0.0)
    assert third == fourth
    assert len({third, fourth}) == 1
    torch.testing.assert_close(gradient(third.theta()), gradient(fourth.theta()))
    assert third != CanonicalForm(a=(1.0, 2.0, 4.0), b=(3.0, 5.0), k=0.0)


def test_equality_separates():
    form = CanonicalForm(a=(-1.0,), b=(), k=0.5)
    others = [form.scaled(2.0), form.scaled(-1.0), form.scaled(10.0), CanonicalForm((-1.0,), (), 0.5, 0.1)]
    assert all(form != other for other in others)
    assert form != "form"
    zero = CanonicalForm(a=(0.0,), b=(), k=0.0)
    assert zero == CanonicalForm(a=(0.0, 0.0), b=(0.0,), k=-0.0)


def test_paper_space_moves_six_directions():
    theta = random_theta(4, 0)
    step, base = 1e-4, np.concatenate([gradient(theta, seed=s).flatten() for s in range(4)])
    columns = []
    for index in range(12):
        moved = theta.copy()
        moved[index] += step
        columns.append((np.concatenate([gradient(moved, seed=s).flatten() for s in range(4)]) - base) / step)
    # the centre moves the gradient within the space that the other ten span
    singular = np.linalg.svd(np.array(columns)[2:].T)[1]
    assert (singular > 1e-6 * singular[0]).sum() == 6


@pytest.mark.parametrize("values", [[], [1.0], [math.nan, 1.0], ["a", "b"], None])
def test_bad_vectors(values):
    with pytest.raises(ConfigError):
        CanonicalForm.from_vector(values)


def test_bad_lengths():
    with pytest.raises(ConfigError, match="3 coefficients a and 1 coefficients b"):
        CanonicalForm(a=(1.0, 2.0, 3.0), b=(1.0,), k=0.0)
