"""Early-learning regularisation against the published algorithm, sample by sample, and its own arguments."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from autorobustloss.data.indexed import Indexed
from autorobustloss.errors import ConfigError, LossInputError
from autorobustloss.losses.literature.elr import EarlyLearningLoss


def batches(count=6, rows=4, samples=7, classes=3, spread=3.0):
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        index = torch.randperm(samples, generator=generator)[:rows]
        logits = spread * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
        yield logits, torch.randint(classes, (rows,), generator=generator), index


def value_and_grad(loss, logits, target, index):
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, target, index=index)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


@pytest.mark.parametrize(("beta", "lam"), [(0.7, 3.0), (0.9, 1.0), (0.9, 7.0), (0.0, 0.5)])
@pytest.mark.parametrize("spread", [1.0, 40.0])
def test_value_and_gradient_are_those_of_the_published_algorithm(beta, lam, spread):
    """In NumPy: t ← βt + (1 − β)·p̄, CE + λ·mean log(1 − ⟨t, p⟩), and p's derivative by hand."""
    loss = EarlyLearningLoss(7, 3, beta, lam).double()
    kept = np.zeros((7, 3))
    for logits, labels, index in batches(spread=spread):
        z = logits.numpy()
        e = np.exp(z - z.max(1, keepdims=True))
        free = e / e.sum(1, keepdims=True)
        p = free.clip(1e-4, 1 - 1e-4)
        i = index.numpy()
        kept[i] = beta * kept[i] + (1 - beta) * p / p.sum(1, keepdims=True)
        rest = 1 - (kept[i] * p).sum(1)
        one_hot = np.eye(3)[labels.numpy()]
        cross_entropy = np.log(e.sum(1)) + z.max(1) - (z * one_hot).sum(1)
        wanted = (cross_entropy + lam * np.log(rest)).mean()
        by_p = -lam * kept[i] / rest[:, None] * ((free > 1e-4) & (free < 1 - 1e-4))
        slope = (free - one_hot + free * (by_p - (free * by_p).sum(1, keepdims=True))) / 4
        value, got = value_and_grad(loss, logits, labels, index)
        assert value.item() == pytest.approx(wanted, rel=1e-12)
        np.testing.assert_allclose(got.numpy(), slope, rtol=1e-9, atol=1e-14)
        np.testing.assert_allclose(loss.targets.numpy(), kept, rtol=1e-12)


def test_without_its_pull_it_is_cross_entropy():
    loss = EarlyLearningLoss(7, 3, lam=0.0)
    for logits, labels, index in batches():
        torch.testing.assert_close(loss(logits, labels, index=index), F.cross_entropy(logits, labels))


def test_arguments_of_cross_entropy():
    logits, labels, index = next(batches())
    weight = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)

    def loss(**arguments):
        return EarlyLearningLoss(7, 3, **arguments).double()

    rows = loss(reduction="none")(logits, labels, index=index)
    torch.testing.assert_close(loss(reduction="sum")(logits, labels, index=index), rows.sum())
    torch.testing.assert_close(loss()(logits, labels, index=index, num_items_in_batch=8), rows.sum() / 8)
    weighted = loss(weight=weight)(logits, labels, index=index)
    torch.testing.assert_close(weighted, (weight[labels] * rows).sum() / weight[labels].sum())
    one_hot = F.one_hot(labels, 3).double()
    torch.testing.assert_close(loss(reduction="none")(logits, one_hot, index=index), rows)
    single = loss()(logits[0], labels[0], index=index[0])
    torch.testing.assert_close(single, rows[0])
    half = loss()(logits.bfloat16(), labels, index=index)
    torch.testing.assert_close(half, loss()(logits.bfloat16().float(), labels, index=index))


def test_ignored_samples_are_left_alone():
    logits, labels, index = next(batches())
    labels[1] = -100
    logits[1] = math.inf
    loss, other = (EarlyLearningLoss(7, 3).double() for _ in range(2))
    value, slope = value_and_grad(loss, logits, labels, index)
    counted = labels != -100
    wanted, rest = value_and_grad(other, logits[counted], labels[counted], index[counted])
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(slope[counted], rest)
    assert not slope[1].any()
    assert torch.equal(loss.targets, other.targets)
    assert not loss.targets[index[1]].any()


def test_who_looks_changes_nothing():
    logits, labels, index = next(batches())
    loss = EarlyLearningLoss(7, 3)
    value_and_grad(loss, logits, labels, index)
    before = loss.targets.clone()
    assert before[index].any()
    with torch.no_grad():
        first = loss(logits, labels, index=index)
    loss.eval()
    assert torch.equal(loss(logits, labels, index=index), first)
    assert torch.equal(loss.targets, before)
    fresh = EarlyLearningLoss(7, 3)
    fresh.load_state_dict(loss.state_dict())
    assert torch.equal(fresh.targets, before)
    assert torch.equal(copy.deepcopy(loss).targets, before)
    loss.reset()
    assert not loss.targets.any()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "needs to know which samples"),
        ([0, 1, 2, 3], "got index of list"),
        (torch.arange(3), "expected a place for each sample"),
        (torch.zeros(4), "expected a place for each sample"),
        (torch.tensor([0, 1, 2, 7]), "got places from 0 to 7, expected 0 to 6"),
        (torch.tensor([0, 1, 2, -1]), "got places from -1"),
    ],
)
def test_what_is_no_index(index, message):
    logits, labels, _ = next(batches())
    with pytest.raises(LossInputError, match=message):
        EarlyLearningLoss(7, 3)(logits, labels, index=index)


def test_other_shapes_and_numbers_are_refused():
    with pytest.raises(LossInputError, match=r"expected \(N, 3\)"):
        EarlyLearningLoss(7, 3)(torch.zeros(4, 2), torch.zeros(4).long(), index=torch.arange(4))
    with pytest.raises(LossInputError, match=r"expected \(N, 3\)"):
        EarlyLearningLoss(7, 3)(torch.zeros(4, 3, 2), torch.zeros(4, 2).long(), index=torch.arange(4))
    for wrong in ({"beta": 1.0}, {"lam": -1}, {"num_samples": 0}, {"num_classes": 2.0}):
        with pytest.raises(ConfigError):
            EarlyLearningLoss(**{"num_samples": 7, "num_classes": 3, **wrong})


def test_a_loader_hands_out_the_places():
    x, y = torch.randn(10, 2), torch.arange(10) % 3
    network, loss = torch.nn.Linear(2, 3), EarlyLearningLoss(10, 3)
    for inputs, labels, index in DataLoader(Indexed(TensorDataset(x, y)), batch_size=4, shuffle=True):
        assert torch.equal(x[index], inputs)
        loss(network(inputs), labels, index=index).backward()
    torch.testing.assert_close(loss.targets.sum(1), torch.full((10,), 0.3))
