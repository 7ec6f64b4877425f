"""What an estimator trains with: weighted gradients, temperatures, rows held out; against plain PyTorch and grids."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autorobustloss.integrations.fitting import COLDEST, HOTTEST, WeightedObjective, calibrate, create_criterion
from autorobustloss.integrations.targets import FEWEST_VALID, hold_out


@pytest.mark.parametrize("loss", ["ce", "gce", "mae", "sce"])
def test_a_whole_weight_has_the_gradient_of_repeated_rows(loss):
    generator = np.random.default_rng(0)
    x, y = torch.randn(12, 3), torch.randint(4, (12,))
    repeats = generator.integers(1, 4, 12)
    network = nn.Linear(3, 4)
    again = copy.deepcopy(network)
    criterion = create_criterion(loss, 4)
    criterion.reduction = "none"
    objective = WeightedObjective(network, criterion, repeats.astype(float))
    objective.index = torch.arange(12)
    value, logits = objective.loss(x, y, 1)
    value.backward()
    rows = torch.from_numpy(np.repeat(np.arange(12), repeats))
    expected = create_criterion(loss, 4)(again(x[rows]), y[rows])
    expected.backward()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(network.weight.grad, again.weight.grad)
    assert logits.shape == (12, 4)


def test_batches_of_weighted_rows_have_the_whole_gradient_on_average():
    x, y, weights = torch.randn(20, 3), torch.randint(2, (20,)), np.random.default_rng(0).random(20)
    network = nn.Linear(3, 2)
    objective = WeightedObjective(network, nn.CrossEntropyLoss(reduction="none"), weights)
    gradients = []
    for batch in torch.randperm(20).split(5):
        objective.index = batch
        gradients.append(torch.autograd.grad(objective.loss(x[batch], y[batch], 1)[0], network.weight)[0])
    w = torch.from_numpy(weights).float()
    whole = (F.cross_entropy(network(x), y, reduction="none") * w).sum() / w.sum()
    torch.testing.assert_close(torch.stack(gradients).mean(0), torch.autograd.grad(whole, network.weight)[0])


@given(st.integers(0, 10**6), st.floats(0.2, 20), st.integers(2, 5))
@settings(max_examples=25)
def test_no_temperature_of_a_grid_makes_labels_likelier(seed, scale, classes):
    generator = torch.Generator().manual_seed(seed)
    z = scale * torch.randn(60, classes, generator=generator)
    labels = torch.randint(classes, (60,), generator=generator)
    weights = torch.rand(60, generator=generator).numpy()
    temperature, surprise = calibrate(z, labels, weights)
    assert COLDEST <= temperature <= HOTTEST
    for other in np.geomspace(COLDEST, HOTTEST, 60):
        log_p = torch.log_softmax(z.double() / other, 1)
        right = log_p.gather(1, labels[:, None]).squeeze(1)
        wrong = (log_p.sum(1) - right) / (classes - 1)
        losses = -(61 * right + wrong) / 62  # sixty labels, and one more that is right and one that is wrong
        assert surprise <= np.average(losses, weights=weights) + 1e-4


def test_the_temperature_of_labels_drawn_from_softmax_is_found():
    z = 4 * torch.randn(20_000, 3)
    labels = torch.multinomial(torch.softmax(z / 2.5, 1), 1).squeeze(1)
    assert calibrate(z, labels)[0] == pytest.approx(2.5, rel=0.05)


def test_who_is_right_on_all_labels_is_not_taken_to_be_always_right():
    labels = torch.arange(98) % 2
    z = F.one_hot(labels, 2).float() * 50
    temperature, _ = calibrate(z, labels)
    assert torch.softmax(z / temperature, 1).amax(1).mean().item() == pytest.approx(99 / 100, abs=1e-3)


@given(st.integers(0, 1000), st.integers(2, 6), st.floats(0, 0.9))
def test_rows_held_out_are_stratified_and_leave_every_class(seed, classes, fraction):
    random = np.random.default_rng(seed)
    index = np.concatenate([np.arange(classes), random.integers(classes, size=200)])
    counted = random.random(len(index)) < 0.9
    held_out, rows = hold_out(index, counted, fraction, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([held_out, rows])), np.flatnonzero(counted))
    if round(fraction * counted.sum()) < FEWEST_VALID:
        assert not len(held_out)
        return
    share = np.bincount(index[counted], minlength=classes) / counted.sum()
    found = np.bincount(index[held_out], minlength=classes) / len(held_out)
    assert np.abs(share - found).max() <= 2 / len(held_out)
