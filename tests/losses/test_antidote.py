"""ANTIDOTE against its two definitions, by another optimiser, and at fifty digits."""

import math

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar

from autorobustloss.losses import create_loss
from autorobustloss.losses.literature.antidote import tilted

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(12, 5, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.randint(5, (12,), generator=GENERATOR)
SETTINGS = [(0.27, 0.05), (0.05, 0.05), (1.0, 0.05), (0.27, 2.0), (3.0, 0.05)]


def costs(logits, labels):
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none").numpy()


def dual(cost, delta, kappa):
    """Return max over λ >= 0 of −λδ − τ·log mean exp(−cost/τ)."""

    def negative(log_tau):
        tau = math.exp(log_tau)
        return (tau - kappa) * delta + tau * (np.logaddexp.reduce(-cost / tau) - math.log(len(cost)))

    found = minimize_scalar(negative, bounds=(math.log(kappa), 12.0), method="bounded", options={"xatol": 1e-12})
    return -min(found.fun, negative(math.log(kappa)))


@pytest.mark.parametrize(("delta", "kappa"), SETTINGS)
def test_value_is_the_dual_objective(delta, kappa):
    value = create_loss("antidote", delta=delta, kappa=kappa)(LOGITS, LABELS)
    assert value.item() == pytest.approx(dual(costs(LOGITS, LABELS), delta, kappa), rel=1e-9)


@pytest.mark.parametrize(("delta", "kappa"), SETTINGS)
def test_value_is_the_primal_objective(delta, kappa):
    cost = costs(LOGITS, LABELS)

    def divergence(w):
        return (w * np.log(np.maximum(w, 1e-300) * len(w))).sum()

    found = minimize(
        lambda w: w @ cost + kappa * divergence(w),
        np.full(len(cost), 1 / len(cost)),
        bounds=[(0, 1)] * len(cost),
        constraints=[
            {"type": "eq", "fun": lambda w: w.sum() - 1},
            {"type": "ineq", "fun": lambda w: delta - divergence(w)},
        ],
        options={"ftol": 1e-12, "maxiter": 500},
    )
    value = create_loss("antidote", delta=delta, kappa=kappa)(LOGITS, LABELS)
    assert value.item() == pytest.approx(found.fun, rel=1e-5)


@pytest.mark.parametrize(("delta", "kappa"), SETTINGS)
def test_value_and_gradient_at_fifty_digits(delta, kappa):
    """The value by a root finder for KL = δ; the gradient by differences of it, which follow τ, as weights do not."""
    mp.mp.dps = 50
    n = len(LABELS)

    def objective(z):
        cost = [mp.log(mp.fsum(mp.exp(v) for v in row)) - row[y] for row, y in zip(z, LABELS.tolist())]

        def at(tau):
            e = [mp.exp(-c / tau) for c in cost]
            total = mp.fsum(e)
            kl = mp.fsum(v / total * mp.log(n * v / total) for v in e)
            return kl - delta, -(tau - kappa) * delta - tau * mp.log(total / n)

        low = mp.mpf(kappa)
        if at(low)[0] <= 0:
            return at(low)[1]
        return at(mp.findroot(lambda t: at(t)[0], (low, mp.mpf(100)), solver="anderson", tol=1e-40))[1]

    z = [[mp.mpf(v) for v in row] for row in LOGITS.tolist()]
    leaf = LOGITS.clone().requires_grad_()
    value = create_loss("antidote", delta=delta, kappa=kappa)(leaf, LABELS)
    (slope,) = torch.autograd.grad(value, leaf)
    assert value.item() == pytest.approx(float(objective(z)), rel=1e-12)
    step = mp.mpf(10) ** -15
    for row, k in ((0, 0), (3, int(LABELS[3])), (7, 2), (11, 4)):
        up, down = [list(r) for r in z], [list(r) for r in z]
        up[row][k] += step
        down[row][k] -= step
        wanted = float((objective(up) - objective(down)) / (2 * step))
        assert slope[row, k].item() == pytest.approx(wanted, rel=1e-9, abs=1e-14)


def test_weights_are_powers_of_the_probability():
    loss = create_loss("antidote", reduction="sum")
    leaf = LOGITS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf, LABELS), leaf)
    p = LOGITS.softmax(1)
    plain = p - torch.nn.functional.one_hot(LABELS, 5)
    weight = (slope / plain)[:, 0]
    torch.testing.assert_close(weight.mean(), torch.ones_like(weight.mean()))
    log_p = p.gather(1, LABELS.unsqueeze(1)).squeeze(1).log()
    inverse_tau = (weight[0] / weight[1]).log() / (log_p[0] - log_p[1])
    torch.testing.assert_close(weight, 12 * (inverse_tau * log_p).softmax(0))
    divergence = (weight * weight.log()).mean().item()
    assert divergence == pytest.approx(0.27, rel=1e-9)


def test_a_batch_of_one_and_equal_samples_are_cross_entropy():
    loss, ce = create_loss("antidote"), create_loss("ce")
    torch.testing.assert_close(loss(LOGITS[:1], LABELS[:1]), ce(LOGITS[:1], LABELS[:1]))
    same = LOGITS[:1].repeat(4, 1), LABELS[:1].repeat(4)
    torch.testing.assert_close(loss(*same), ce(*same))


def test_soft_targets_are_weighted_labels():
    """Votes of two for the one, one for the other label, weigh as the sample given twice and once."""
    loss = create_loss("antidote", reduction="sum")
    split = torch.zeros(12, 5, dtype=torch.float64)
    split[torch.arange(12), LABELS] += 2 / 3
    split[torch.arange(12), (LABELS + 1) % 5] += 1 / 3
    as_labels = LOGITS.repeat(3, 1), torch.cat([LABELS, LABELS, (LABELS + 1) % 5])
    torch.testing.assert_close(loss(LOGITS, split), loss(*as_labels) / 3)


def test_gradient_in_the_target_is_that_of_the_objective():
    target = torch.rand(12, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64).softmax(1)
    target.requires_grad_()
    loss = create_loss("antidote")
    (slope,) = torch.autograd.grad(loss(LOGITS, target), target)
    step = torch.zeros(12, 5, dtype=torch.float64)
    step[4, 1], step[4, 3] = 1e-5, -1e-5
    change = (loss(LOGITS, target.detach() + step) - loss(LOGITS, target.detach() - step)) / 2e-5
    assert (slope[4, 1] - slope[4, 3]).item() == pytest.approx(change.item(), rel=1e-6)


def test_a_few_wrong_labels_are_forgotten():
    """Of a batch that is learnt but for a fifth, nearly all of the pull is the others'."""
    logits = 6 * torch.nn.functional.one_hot(LABELS, 5).double()
    labels = LABELS.clone()
    labels[:2] = (labels[:2] + 1) % 5
    leaf = logits.requires_grad_()
    (slope,) = torch.autograd.grad(create_loss("antidote", reduction="sum")(leaf, labels), leaf)
    assert slope[:2].abs().max() < 1e-3
    (plain,) = torch.autograd.grad(create_loss("ce", reduction="sum")(leaf, labels), leaf)
    assert plain[:2].abs().max() > 0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [0.0, 1e-6, 1.0, 1e4, 1e19])
def test_the_search_holds_at_any_scale(dtype, spread):
    cost = (spread * torch.linspace(0, 1, 50, dtype=dtype)).unsqueeze(1)
    tilt = tilted(cost, torch.ones_like(cost), 0.05, 0.27)
    ratio = tilt.log_ratio.exp()
    divergence = (ratio * tilt.log_ratio.masked_fill(ratio == 0, 0.0)).mean().item()
    assert ratio.mean().item() == pytest.approx(1, rel=1e-4)
    assert divergence == pytest.approx(0.27 if spread > 0.1 else divergence, rel=1e-3)
    assert divergence <= 0.2701
