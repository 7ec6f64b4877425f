"""The losses published since 2020 against 50-digit evaluations of the papers' formulas, gradients included."""

import math

import mpmath as mp
import pytest
import torch

from autorobustloss.errors import ConfigError, UnknownNameError
from autorobustloss.losses import create_loss

mp.mp.dps = 50


def softmax(z):
    top = max(z)
    e = [mp.exp(v - top) for v in z]
    total = mp.fsum(e)
    return [v / total for v in e]


def nce(p, y):
    return mp.log(p[y]) / mp.fsum(mp.log(v) for v in p)


def taylor_ce(z, y, order):
    return mp.fsum((1 - softmax(z)[y]) ** n / n for n in range(1, order + 1))


def nfl(z, y, gamma, scale):
    terms = [(1 - v) ** gamma * mp.log(v) for v in softmax(z)]
    return scale * terms[y] / mp.fsum(terms)


def nce_agce(z, y, alpha, beta, a, q):
    p = softmax(z)
    return alpha * nce(p, y) + beta * ((a + 1) ** q - (a + p[y]) ** q) / q


def nce_aul(z, y, alpha, beta, a, q):
    p = softmax(z)
    return alpha * nce(p, y) + beta * ((a - p[y]) ** q - (a - 1) ** q) / q


def nce_ael(z, y, alpha, beta, a):
    p = softmax(z)
    return alpha * nce(p, y) + beta * mp.exp(-p[y] / a)


def anl_ce(z, y, alpha, beta, p_min):
    p = softmax(z)
    a = -mp.log(p_min)
    above = [a + mp.log(max(v, p_min)) for v in p]
    return alpha * nce(p, y) + beta * (1 - above[y] / mp.fsum(above))


def epsilon_softmax(z, m):
    p = softmax(z)
    predicted = p.index(max(p))
    return [(v + (m if k == predicted else 0)) / (m + 1) for k, v in enumerate(p)]


def ce_eps_mae(z, y, alpha, beta, m):
    p = softmax(z)
    distance = mp.fsum(abs((k == y) - v) for k, v in enumerate(p))
    return -alpha * mp.log(epsilon_softmax(z, m)[y]) + beta * distance


def fl_eps_mae(z, y, alpha, beta, m, gamma):
    p = softmax(z)
    distance = mp.fsum(abs((k == y) - v) for k, v in enumerate(p))
    q = epsilon_softmax(z, m)[y]
    return -alpha * (1 - q) ** gamma * mp.log(q) + beta * distance


def jal_ce(z, y, alpha, beta, a):
    p = softmax(z)
    return alpha * nce(p, y) + beta * mp.fsum((a * (k == y) - v) ** 2 for k, v in enumerate(p)) / len(p)


def js(z, y, pi):
    p = softmax(z)
    label = [mp.mpf(k == y) for k in range(len(p))]
    mean = [pi * e + (1 - pi) * v for e, v in zip(label, p)]

    def kl(a, b):
        return mp.fsum(u * mp.log(u / v) for u, v in zip(a, b) if u)

    return (pi * kl(label, mean) + (1 - pi) * kl(p, mean)) / -((1 - pi) * mp.log(1 - pi))


def nls(z, y, rate):
    log_p = [mp.log(v) for v in softmax(z)]
    return -(1 - rate) * log_p[y] - rate / len(z) * mp.fsum(log_p)


def anl_fl(z, y, alpha, beta, gamma, p_min):
    p = softmax(z)
    a = -((1 - p_min) ** gamma) * mp.log(p_min)
    above = [a + (1 - max(v, p_min)) ** gamma * mp.log(max(v, p_min)) for v in p]
    return nfl(z, y, gamma, alpha) + beta * (1 - above[y] / mp.fsum(above))


def jal_fl(z, y, alpha, beta, a, gamma):
    return nfl(z, y, gamma, alpha) + jal_ce(z, y, 0, beta, a)


def biased_mae(z, y, bias):
    return 1 - softmax([v + (bias if k == y else 0) for k, v in enumerate(z)])[y]


def ldr_kl(z, y, lam, margin):
    s = [mp.log1p(mp.exp(v)) for v in z]
    total = mp.fsum(s)
    s = [len(z) * v / total for v in s]
    terms = [mp.exp((v - s[y] + (0 if k == y else margin)) / lam) for k, v in enumerate(s)]
    return lam * mp.log(mp.fsum(terms) / len(z))


CASES = [
    ("taylor_ce", taylor_ce, {"order": 1}),
    ("taylor_ce", taylor_ce, {"order": 2}),
    ("taylor_ce", taylor_ce, {"order": 6}),
    ("nfl", nfl, {"gamma": 0.5, "scale": 1.0}),
    ("nfl", nfl, {"gamma": 2.0, "scale": 10.0}),
    ("nce+agce", nce_agce, {"alpha": 1.0, "beta": 4.0, "a": 6.0, "q": 1.5}),
    ("nce+agce", nce_agce, {"alpha": 0.0, "beta": 1.0, "a": 4.0, "q": 0.2}),
    ("nce+aul", nce_aul, {"alpha": 1.0, "beta": 4.0, "a": 6.3, "q": 1.5}),
    ("nce+aul", nce_aul, {"alpha": 10.0, "beta": 0.015, "a": 6.0, "q": 3.0}),
    ("nce+ael", nce_ael, {"alpha": 1.0, "beta": 4.0, "a": 5.0}),
    ("anl_ce", anl_ce, {"alpha": 5.0, "beta": 5.0, "p_min": 1e-7}),
    ("anl_ce", anl_ce, {"alpha": 0.0, "beta": 1.0, "p_min": 1e-3}),
    ("ce_eps+mae", ce_eps_mae, {"alpha": 0.01, "beta": 5.0, "m": 1e5}),
    ("ce_eps+mae", ce_eps_mae, {"alpha": 1.0, "beta": 0.0, "m": 100.0}),
    ("fl_eps+mae", fl_eps_mae, {"alpha": 0.01, "beta": 5.0, "m": 1e5, "gamma": 0.1}),
    ("fl_eps+mae", fl_eps_mae, {"alpha": 1.0, "beta": 0.0, "m": 10.0, "gamma": 2.0}),
    ("jal_ce", jal_ce, {"alpha": 1.0, "beta": 1.0, "a": 30.0}),
    ("js", js, {"pi": 0.7}),
    ("js", js, {"pi": 0.1}),
    ("js", js, {"pi": 0.9}),
    ("nls", nls, {"rate": -1.0}),
    ("nls", nls, {"rate": -6.0}),
    ("anl_fl", anl_fl, {"alpha": 5.0, "beta": 5.0, "gamma": 0.5, "p_min": 1e-7}),
    ("anl_fl", anl_fl, {"alpha": 0.0, "beta": 1.0, "gamma": 2.0, "p_min": 1e-3}),
    ("jal_fl", jal_fl, {"alpha": 1.0, "beta": 1.0, "a": 30.0, "gamma": 0.5}),
    ("logit_bias", biased_mae, {"bias": 2.4}),
    ("ldr_kl", ldr_kl, {"lam": 10.0, "margin": 0.1}),
    ("ldr_kl", ldr_kl, {"lam": 0.5, "margin": 2.0}),
]

ROWS = [
    ([0.3, -1.2], 0),
    ([0.3, -1.2], 1),
    ([1.5, 0.25, -2.0, 0.75, -0.5], 3),
    ([1.5, 0.25, -2.0, 0.75, -0.5], 0),
    ([30.0, 0.0, 1.0], 0),
    ([30.0, 0.0, 1.0], 2),
    ([-200.0, -201.5, -199.0], 1),
]


@pytest.mark.parametrize(("name", "formula", "options"), CASES)
def test_value_and_gradient_at_fifty_digits(name, formula, options):
    exact = {key: value if isinstance(value, int) else mp.mpf(value) for key, value in options.items()}
    loss = create_loss(name, **options)
    step = mp.mpf(10) ** -20
    for scores, label in ROWS:
        z = [mp.mpf(v) for v in scores]
        logits = torch.tensor([scores], dtype=torch.float64, requires_grad=True)
        value = loss(logits, torch.tensor([label]))
        (slope,) = torch.autograd.grad(value, logits)
        wanted = float(formula(z, label, **exact))
        assert value.item() == pytest.approx(wanted, rel=1e-12, abs=1e-13), scores
        for k in range(len(z)):
            up, down = list(z), list(z)
            up[k] += step
            down[k] -= step
            derivative = (formula(up, label, **exact) - formula(down, label, **exact)) / (2 * step)
            assert slope[0, k].item() == pytest.approx(float(derivative), rel=1e-9, abs=1e-12), (scores, k)


def test_taylor_ce_goes_from_mae_to_cross_entropy():
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.5, 2.0]], dtype=torch.float64)
    labels = torch.tensor([0, 2])
    torch.testing.assert_close(create_loss("taylor_ce", order=1)(logits, labels), create_loss("mae")(logits, labels))
    torch.testing.assert_close(create_loss("taylor_ce", order=60)(logits, labels), create_loss("ce")(logits, labels))


def value_and_grad(name, logits, labels, **options):
    leaf = logits.clone().requires_grad_()
    value = create_loss(name, **options)(leaf, labels)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


def test_js_goes_from_cross_entropy_to_mae():
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.5, 2.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    for pi, other in ((1e-8, "ce"), (1 - 1e-12, "mae")):
        close = {"rtol": 2 / abs(math.log(1 - pi)) if pi > 0.5 else 1e-6, "atol": 0}
        torch.testing.assert_close(value_and_grad("js", logits, labels, pi=pi), value_and_grad(other, logits, labels),
                                   **close)  # fmt: skip


@pytest.mark.parametrize(("of_focal", "of_ce"), [("anl_fl", "anl_ce"), ("jal_fl", "jal_ce")])
def test_focal_losses_at_gamma_0_are_those_of_cross_entropy(of_focal, of_ce):
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.5, 40.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    got = value_and_grad(of_focal, logits, labels, gamma=0.0)
    torch.testing.assert_close(got, value_and_grad(of_ce, logits, labels))


@pytest.mark.parametrize("name", ["anl_fl", "jal_fl"])
def test_focal_losses_legacy_detach_the_focal_factor(name):
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.5, 2.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    value, slope = value_and_grad(name, logits, labels)
    legacy_value, legacy_slope = value_and_grad(name, logits, labels, legacy=True)
    torch.testing.assert_close(legacy_value, value)
    assert (legacy_slope - slope).abs().max() > 1e-3 * slope.abs().max()


def test_anl_fl_legacy_has_the_gradient_of_the_authors_code():
    """NFL and NNFL as their code computes them, focal factors as constants."""
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.5, 2.0], [20.0, 0.0, 1.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1, 1])
    leaf = logits.clone().requires_grad_()

    def parts(log_p):
        terms = -((1 - log_p.detach().exp()) ** 0.5) * log_p
        return terms.gather(1, labels.unsqueeze(1)).squeeze(1), terms.sum(1)

    log_p = leaf.log_softmax(1)
    one, total = parts(log_p)
    floored, floored_total = parts(log_p.clamp_min(math.log(1e-7)))
    a = -((1 - 1e-7) ** 0.5) * math.log(1e-7)
    wanted = (5 * one / total + 5 * (1 - (a - floored) / (3 * a - floored_total))).mean()
    (slope,) = torch.autograd.grad(wanted, leaf)
    torch.testing.assert_close(value_and_grad("anl_fl", logits, labels, legacy=True), (wanted.detach(), slope))


@pytest.mark.parametrize("loss", ["gce(q=0.5)", "nce+mae", "ce", "ldr_kl"])
def test_logit_bias_is_the_loss_of_raised_logits(loss):
    logits = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.5, 2.0]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    raised = logits + 1.5 * torch.nn.functional.one_hot(labels, 3)
    got = value_and_grad("logit_bias", logits, labels, loss=loss, bias=1.5)
    torch.testing.assert_close(got, value_and_grad(loss, raised, labels))


@pytest.mark.parametrize("classes", [2, 10, 11, 100, 5000])
def test_logit_bias_starts_like_ten_classes(classes):
    logits = torch.zeros(3, classes, dtype=torch.float64)
    value, slope = value_and_grad("logit_bias", logits, torch.tensor([0, 1, 0]), reduction="none")
    p = max(1 / classes, 0.1)
    assert value.tolist() == pytest.approx([1 - p] * 3)
    assert slope[1, 1].item() == pytest.approx(-p * (1 - p))


@pytest.mark.parametrize("loss", ["antidote", "gated", "no_such", "mae(", 3])
def test_logit_bias_takes_losses_of_one_sample_only(loss):
    with pytest.raises((ConfigError, UnknownNameError)):
        create_loss("logit_bias", loss=loss)


def test_epsilon_softmax_takes_the_lowest_index_of_a_tie():
    rows = create_loss("ce_eps+mae", alpha=1.0, beta=0.0, m=9.0, reduction="none")
    value = rows(torch.zeros(2, 4), torch.tensor([0, 1]))
    assert value.tolist() == pytest.approx([-math.log(9.25 / 10), -math.log(0.25 / 10)])


def test_epsilon_softmax_legacy_stops_learning_below_its_clamp():
    logits = torch.tensor([[10.0, 0.0]], dtype=torch.float64, requires_grad=True)  # p_y = 4.5e-5, p̂_y = 4.5e-10
    label = torch.tensor([1])
    for name in ("ce_eps+mae", "fl_eps+mae"):
        options = {"alpha": 1.0, "beta": 0.0, "m": 1e5}
        value = create_loss(name, **options, legacy=True)(logits, label)
        assert value.item() == pytest.approx(-math.log(1e-8), rel=1e-6)
        assert (torch.autograd.grad(value, logits)[0] == 0).all()
        assert torch.autograd.grad(create_loss(name, **options)(logits, label), logits)[0][0, 1] < -0.9


def test_fl_eps_legacy_detaches_the_focal_factor():
    logits = torch.tensor([[0.2, 0.0, -0.1]], dtype=torch.float64, requires_grad=True)
    label = torch.tensor([1])
    options = {"alpha": 1.0, "beta": 0.0, "m": 10.0}
    legacy = create_loss("fl_eps+mae", **options, gamma=2.0, legacy=True)(logits, label)
    torch.testing.assert_close(legacy, create_loss("fl_eps+mae", **options, gamma=2.0)(logits, label))
    (slope,) = torch.autograd.grad(legacy, logits)
    (plain,) = torch.autograd.grad(create_loss("ce_eps+mae", **options)(logits, label), logits)
    p_hat = logits.softmax(dim=1)[0, 1].item() / 11
    torch.testing.assert_close(slope, (1 - p_hat) ** 2 * plain)


def test_ldr_kl_scores_are_bounded():
    """Scores have mean 1, so the loss is at most C + margin however large the logits are."""
    logits = 1e4 * torch.eye(5)
    loss = create_loss("ldr_kl", lam=0.1, margin=0.1, reduction="none")
    assert loss(logits, torch.arange(1, 6) % 5).max() <= 5.1
