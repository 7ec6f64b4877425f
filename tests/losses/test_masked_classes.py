"""Classes whose logit is −∞: the limit of the formula, or the class is left out, with a gradient that is finite."""

import contextlib
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.losses import create_loss, kernel, list_losses

NAMES = list_losses()
# Σ_k log p_k has no limit: these leave a masked class out, as if it had never been there.
LEFT_OUT = {name for name in NAMES if name.startswith(("nce", "nfl"))} | {
    *("anl_ce", "anl_fl", "arl", "gated", "jal_ce", "jal_fl", "label_smoothing", "nls")
}
# As at its start a gated loss expects five classes.
ALIKE = (LEFT_OUT - {"arl", "gated"}) | {"bootstrap_soft", "ce", "gce", "huber", "mae", "sce"}
INF = math.inf
LABELS = torch.tensor([0, 1, 2, 2, 0, 1])


def logits(dtype=torch.float64):
    return 2 * torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


def soft_targets(dtype=torch.float64):
    """Return probabilities of the first three classes, some of them certain."""
    soft = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).softmax(1)
    soft[:2] = torch.eye(3, dtype=torch.float64)[:2]
    return torch.cat([soft, torch.zeros(6, 2, dtype=torch.float64)], 1).to(dtype)


def value_and_grad(loss, z, target):
    leaf = z.clone().requires_grad_()
    value = loss(leaf, target)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


def with_mask(z, value, classes=(3, 4)):
    z = z.clone()
    z[:, list(classes)] = value
    return z


each_loss = pytest.mark.parametrize("name", NAMES)
each_target = pytest.mark.parametrize("target", [LABELS, soft_targets()], ids=["hard", "soft"])


@pytest.mark.parametrize("name", sorted(set(NAMES) - LEFT_OUT))
@each_target
def test_the_limit_of_ever_lower_logits(build, name, target):
    loss = build(name, reduction="none")
    value, slope = value_and_grad(loss, with_mask(logits(), -INF), target)
    wanted, limit = value_and_grad(loss, with_mask(logits(), -1e5), target)
    torch.testing.assert_close(value, wanted, rtol=1e-9, atol=1e-9)
    # A heavy-tailed softmax gets there slowly.
    torch.testing.assert_close(slope, limit, rtol=1e-5, atol=1e-9 if name != "bi_tempered" else 1e-4)
    assert (slope[:, 3:] == 0).all()
    assert slope.abs().amax(1).gt(0).any()


@pytest.mark.parametrize("name", sorted(ALIKE))
@each_target
def test_the_same_loss_on_the_classes_that_are_left(build, name, target):
    loss = build(name, reduction="none")
    value, slope = value_and_grad(loss, with_mask(logits(), -INF), target)
    wanted, rest = value_and_grad(loss, logits()[:, :3], target if target.ndim == 1 else target[:, :3])
    torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(slope[:, :3], rest, rtol=1e-9, atol=1e-12)
    assert (slope[:, 3:] == 0).all()
    assert (slope != 0).any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@each_target
def test_finite_in_any_precision_and_by_any_mask(build, name, dtype, target):
    """The lowest float is as common a mask as −∞."""
    target = target.to(dtype) if target.is_floating_point() else target
    loss = build(name)
    exact, slope = value_and_grad(loss, with_mask(logits(dtype).double(), -INF), target)
    for mask in (-INF, torch.finfo(dtype).min):
        for compiled in (True, False):
            with contextlib.nullcontext() if compiled else kernel.left_out():
                value, got = value_and_grad(loss, with_mask(logits(dtype), mask), target)
            torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(got.double(), slope, rtol=2e-2, atol=1e-3 * (1 + slope.abs().max().item()))


@each_loss
def test_other_masks_in_every_row(build, name):
    """Each row has its own; in one a single class is left, which has probability 1."""
    loss, z = build(name, reduction="none"), logits()
    mask = torch.rand(6, 5, generator=torch.Generator().manual_seed(2)) < 0.5
    mask[0] = True
    mask[torch.arange(6), LABELS] = False
    z[mask] = -INF
    value, slope = value_and_grad(loss, z, LABELS)
    assert value.isfinite().all()
    assert slope.isfinite().all()
    assert not slope[mask].any()
    for row in range(0 if loss.batchwise else 6):
        alone = value_and_grad(loss, z[row : row + 1], LABELS[row : row + 1])
        torch.testing.assert_close((value[row : row + 1], slope[row : row + 1]), alone)
    mean, _ = value_and_grad(build(name, weight=torch.ones(5), ignore_index=4), z, LABELS)
    torch.testing.assert_close(mean, value.mean())


@each_loss
def test_a_masked_label_costs_what_probability_0_costs(build, name):
    loss, z = build(name, reduction="none"), logits()
    value, slope = value_and_grad(loss, z.scatter(1, LABELS.unsqueeze(1), -INF), LABELS)
    limit, _ = value_and_grad(loss, z.scatter(1, LABELS.unsqueeze(1), -1e9), LABELS)
    unbounded = limit > 1e5
    assert (value[unbounded] == INF).all()
    tolerance = 2e-2 if name == "bi_tempered" else 1e-6  # whose tail is heavy: p^0.2 is far from 0 there
    torch.testing.assert_close(value[~unbounded], limit[~unbounded], rtol=tolerance, atol=tolerance)
    assert slope.isfinite().all()
    if name == "ce":
        assert unbounded.all()
        assert (slope.gather(1, LABELS.unsqueeze(1)) == -1).all()


@each_loss
def test_under_vmap(build, name):
    loss, z = build(name), with_mask(logits(), -INF)
    expected = value_and_grad(loss, z, LABELS)
    both = torch.func.vmap(torch.func.grad_and_value(loss), in_dims=(0, None))(torch.stack([z, z]), LABELS)
    torch.testing.assert_close(both[1][1], expected[0])
    torch.testing.assert_close(both[0][1], expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["arl", "gce", "nfl", "bootstrap_soft", "bi_tempered"])
@each_target
def test_second_derivatives_are_finite(build, name, target):
    loss, z = build(name), with_mask(logits(), -INF).requires_grad_()
    (slope,) = torch.autograd.grad(loss(z, target), z, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), z)
    assert second.isfinite().all()
    assert (second != 0).any()


@given(st.integers(2, 12), st.integers(0, 10**6))
def test_leaving_out_many(build, classes, seed):
    draw = torch.Generator().manual_seed(seed)
    z = 4 * torch.randn(1, classes, generator=draw, dtype=torch.float64)
    mask = torch.rand(classes, generator=draw) < 0.6
    mask[:2] = False
    z[:, mask] = -INF
    for name in ("nce+mae", "nfl", "label_smoothing", "bootstrap_soft", "anl_ce", "gce"):
        got, slope = value_and_grad(build(name), z, torch.tensor([1]))
        wanted, rest = value_and_grad(build(name), z[:, ~mask], torch.tensor([1]))
        torch.testing.assert_close(got, wanted)
        torch.testing.assert_close(slope[:, ~mask], rest)


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("sce", {"alpha": 0.0}),
        ("bootstrap_soft", {"beta": 0.0}),
        ("bootstrap_hard", {"beta": 0.0}),
        ("label_smoothing", {"epsilon": 1.0}),
        ("ce_eps+mae", {"alpha": 0.0}),
        ("fl_eps+mae", {"alpha": 0.0}),
        ("nce+rce", {"alpha": 0.0}),
    ],
)
def test_an_infinite_term_of_weight_0_is_none(build, name, ends):
    z = logits().scatter(1, LABELS.unsqueeze(1), -INF)
    value, slope = value_and_grad(build(name, reduction="none", **ends), z, LABELS)
    assert value.isfinite().all()
    assert slope.isfinite().all()


def test_compiled_code_leaves_out_a_log_term_of_weight_0(monkeypatch):
    """0 times the logarithm of a masked label's probability is no number."""
    from autorobustloss.losses.taylor import ops

    mae = create_loss("taylor", theta=[0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0], scale="init")
    logits, labels = torch.tensor([[0.0, 1.0, -torch.inf], [1.0, 2.0, 3.0]]), torch.tensor([2, 0])
    expected = ops.closed_form(logits, labels, mae.coefficients(3))
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    for found, wanted in zip(ops.closed_form(logits, labels, mae.coefficients(3)), expected):
        torch.testing.assert_close(found, wanted)
