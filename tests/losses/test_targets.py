"""Targets that cannot be meant are refused, where values can be looked at, and those that can be are not."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autorobustloss.errors import LossInputError, UnsupportedArgumentError
from autorobustloss.losses import list_losses

NAMES = list_losses()
each_loss = pytest.mark.parametrize("name", NAMES)


def logits(dtype=torch.float32):
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(0)).to(dtype)


def probabilities():
    return torch.randn(4, 5, generator=torch.Generator().manual_seed(1)).softmax(1)


def changed(row):
    target = probabilities()
    target[1] = torch.tensor(row)
    return target


@each_loss
@pytest.mark.parametrize("index", [0, 4, 255])
def test_an_index_to_ignore_among_probabilities(build, name, index):
    """As in PyTorch, which lets a negative index, the default among them, pass: no probability is at such a place."""
    with pytest.raises(UnsupportedArgumentError, match="name no label to ignore"):
        build(name, ignore_index=index)(logits(), probabilities())
    build(name, ignore_index=index)(logits(), torch.tensor([0, 1, 2, 3]))
    for other in (-100, -1):
        build(name, ignore_index=other)(logits(), probabilities())


NO_DISTRIBUTION = {
    "negative": changed([-0.1, 0.3, 0.3, 0.3, 0.2]),
    "several": changed([1.0, 1.0, 0.0, 1.0, 0.0]),
    "none": changed([0.0] * 5),
    "less": changed([0.2, 0.2, 0.2, 0.2, 0.1]),
    "more": changed([0.25] * 5),
    "no number": changed([0.5, math.nan, 0.5, 0.0, 0.0]),
    "infinite": changed([0.5, math.inf, 0.5, 0.0, 0.0]),
    "infinite and negative": changed([0.5, -math.inf, 0.5, 0.0, 0.0]),
    "ignored": torch.full((4, 5), -100.0),
    "ones": torch.ones(4, 5),
    "indices": torch.tensor([[0.0, 1.0, 2.0, 3.0, 4.0]] * 4),
}


@each_loss
def test_numbers_that_are_no_distribution(build, name):
    for target in NO_DISTRIBUTION.values():
        for soft in (target, target.double(), target.bfloat16(), target.clone().requires_grad_()):
            with pytest.raises(LossInputError, match=r"whose rows sum to .*multi-label"):
                build(name)(logits(), soft)
        with pytest.raises(LossInputError, match="rows sum to"):
            build(name)(logits().reshape(4, 5, 1), target.reshape(4, 5, 1))


def test_one_logit_for_two_classes_is_told_what_to_do(build):
    for target in (torch.zeros(4, 1), torch.zeros(4).long()):
        with pytest.raises(LossInputError, match="for two classes give a logit to each"):
            build("gce")(torch.zeros(4, 1), target)


@each_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_what_is_mixed_and_smoothed_and_rounded_passes(build, name, dtype):
    one_hot = torch.eye(5)[[0, 1, 2, 4]].to(dtype)
    smooth = one_hot * 0.9 + 0.1 / 5
    for lam in (0.0, 0.3, 0.7123, 1.0):
        mixed = lam * smooth + (1 - lam) * probabilities().to(dtype)
        for target in (mixed, mixed.float(), 1 - (1 - mixed)):
            assert build(name)(logits(), target).isfinite()
            assert build(name)(logits(torch.bfloat16), target).isfinite()
    rounding = torch.tensor([[-1e-8, 0.5, 0.5, 0.0, 1e-8]] * 4)
    assert build(name)(logits(), rounding).isfinite()
    assert build(name)(logits()[:0], mixed[:0]) == 0


@each_loss
def test_gradients_reach_the_target(build, name):
    target = probabilities().double().requires_grad_()
    loss = build(name)
    (slope,) = torch.autograd.grad(loss(logits(torch.float64), target), target)
    step = 1e-4 * torch.randn(4, 5, generator=torch.Generator().manual_seed(2)).double()
    step -= step.mean(1, keepdim=True)
    up, down = (loss(logits(torch.float64), (target + sign * step).detach()) for sign in (1, -1))
    torch.testing.assert_close((slope * step).sum(), (up - down) / 2, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("name", ["gce", "arl", "ce"])
def test_many_classes_in_low_precision(build, name):
    for dtype in (torch.float16, torch.bfloat16):
        target = torch.randn(8, 2000).softmax(1).to(dtype)
        assert build(name)(torch.randn(8, 2000), target).isfinite()


@given(hnp.arrays("float32", (3, 4), elements=st.floats(0, 1, width=32)))
def test_whatever_sums_to_one_passes_and_nothing_else(build, weights):
    weights = torch.from_numpy(weights) + 1e-3
    build("gce")(torch.zeros(3, 4), weights / weights.sum(1, keepdim=True))
    scaled = weights / weights.sum(1, keepdim=True)
    scaled[1] *= 1.1
    with pytest.raises(LossInputError, match="rows sum to"):
        build("gce")(torch.zeros(3, 4), scaled)


@each_loss
def test_no_look_at_values_under_transforms(build, name):
    """There nobody can look, so whatever it is goes through, as in PyTorch."""
    stacked = torch.stack([probabilities(), torch.ones(4, 5)])
    values = torch.func.vmap(build(name), in_dims=(None, 0))(logits(), stacked)
    torch.testing.assert_close(values[0], build(name)(logits(), probabilities()))
