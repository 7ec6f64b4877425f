"""The hand-designed losses against golden values of the official code, and against what theory says of them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from autorobustloss.errors import ConfigError, LossInputError
from autorobustloss.losses import create_loss

GOLDEN = Path(__file__).parents[1] / "golden"
BATCHES = json.loads((GOLDEN / "batches.json").read_text())

# Golden file -> the loss, and the switch that reproduces what the official code does on every batch.
FILES = {
    "ce": ("ce", {}),
    "mae": ("mae", {}),
    "gce": ("gce", {"legacy": True}),
    "gce_unclamped": ("gce", {}),
    "gce_truncated": ("gce_truncated", {}),
    "sce": ("sce", {"legacy": True}),
    "rce": ("rce", {"legacy": True}),
    "label_smoothing": ("label_smoothing", {}),
    "huber": ("huber", {}),
    "bootstrap_soft": ("bootstrap_soft", {}),
    "bootstrap_hard": ("bootstrap_hard", {}),
    "bi_tempered": ("bi_tempered", {}),
    "forward": ("forward", {}),
    "nce": ("nce", {}),
    "nfl": ("nfl", {"legacy": True}),
    "nce_mae": ("nce+mae", {}),
    "nfl_mae": ("nfl+mae", {"legacy": True}),
    "nce_rce": ("nce+rce", {"legacy": True}),
    "keras_sce": ("sce", {}),
    "keras_boot_soft": ("bootstrap", {}),
    "keras_boot_hard": ("bootstrap_hard", {}),
    "keras_forward": ("forward", {}),
}


def transition(kind, rate, classes):
    if kind == "sym":
        return np.full((classes, classes), rate / (classes - 1)) + np.eye(classes) * (1 - rate - rate / (classes - 1))
    if kind == "pair":
        return np.eye(classes) * (1 - rate) + np.roll(np.eye(classes), 1, axis=1) * rate
    return np.array(BATCHES["T_matrices"][f"{kind}_C{classes}"])


def value_and_grad(loss, logits, target):
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, target)
    (slope,) = torch.autograd.grad(value.sum(), logits)
    return value.detach(), slope


def noise(rows=8, classes=10, seed=0, spread=2.0):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, classes, (rows,), generator=generator)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("file", FILES)
def test_golden(file, dtype):
    name, switches = FILES[file]
    golden = json.loads((GOLDEN / f"{file}.json").read_text())
    assert golden["cases"]
    for case in golden["cases"]:
        numbers = BATCHES["batches"][case["batch"]]
        tolerance = {**golden["tolerance"], **case.get("tolerance", {})}[dtype]
        options = dict(case["hparams"])
        if "T" in options:
            options = {"T": transition(options["T"], options["r"], numbers["C"])}
        logits = torch.tensor(numbers["logits"], dtype=getattr(torch, dtype))
        labels = torch.tensor(numbers["labels"])
        value, slope = value_and_grad(create_loss(name, **options, **switches), logits, labels)
        rows = create_loss(name, **options, **switches, reduction="none")(logits, labels)
        # The official bi-tempered code writes log_t1(y + 1e-10), which adds 1e-10 to every sample.
        allowed = tolerance["loss_atol"] + (1.1e-10 if name == "bi_tempered" else 0.0)
        assert value.item() == pytest.approx(case["loss"], rel=tolerance["loss_rtol"], abs=allowed), case["batch"]
        assert rows.tolist() == pytest.approx(case["per_sample"], rel=tolerance["loss_rtol"], abs=allowed)
        wanted = torch.tensor(case["grad"], dtype=torch.float64)
        error = (slope.double() - wanted).abs().max().item()
        assert error <= tolerance["grad_atol"] + tolerance["grad_rtol"] * wanted.abs().max().item(), case["batch"]


# Mean of Σ_k |∂ℓ/∂z_k| over samples at initialisation, logits N(0, 0.1²), as measured on the official code.
AT_INITIALISATION = {
    "ce": (1.8, 1.98),
    "label_smoothing": (1.62, 1.78),
    "sce": (1.83, 0.38),
    "rce": (1.65, 0.18),
    "gce": (0.36, 0.079),
    "mae": (0.18, 0.020),
    "huber": (0.18, 0.020),
    "nce": (0.078, 0.0043),
    "nce+mae": (0.26, 0.024),
    "bi_tempered": (0.72, 0.31),
}


@pytest.mark.parametrize("name", AT_INITIALISATION)
@pytest.mark.parametrize("classes", [10, 100])
def test_gradient_size_at_initialisation(name, classes):
    logits, labels = noise(rows=2000, classes=classes, spread=0.1)
    _, slope = value_and_grad(create_loss(name, reduction="sum"), logits, labels)
    wanted = AT_INITIALISATION[name][0 if classes == 10 else 1]
    assert slope.abs().sum(dim=1).mean().item() == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_ce_is_cross_entropy(reduction, weighted, soft):
    logits, labels = noise()
    weight = torch.linspace(0.0, 2.0, 10, dtype=torch.float64) if weighted else None
    target = noise(seed=1)[0].softmax(dim=1) if soft else torch.where(labels == 3, -100, labels)
    wanted = F.cross_entropy(logits, target, weight=weight, reduction=reduction)
    got = create_loss("ce", weight=weight, reduction=reduction)(logits, target)
    torch.testing.assert_close(got, wanted)
    images = logits.reshape(2, 4, 10).movedim(2, 1)
    dense = target.reshape(2, 4, 10).movedim(2, 1) if soft else target.reshape(2, 4)
    wanted = F.cross_entropy(images, dense, weight=weight, reduction=reduction)
    torch.testing.assert_close(create_loss("ce", weight=weight, reduction=reduction)(images, dense), wanted)


LABELWISE = [
    *("ce", "mae", "label_smoothing", "gce", "gce_truncated", "taylor_ce", "rce", "sce", "nce", "nfl", "nce+mae"),
    *("nfl+mae", "nce+rce", "bootstrap_soft", "bootstrap_hard", "nce+agce", "nce+aul", "nce+ael", "anl_ce"),
    *("ce_eps+mae", "fl_eps+mae", "jal_ce", "ldr_kl", "forward", "js", "nls", "anl_fl", "jal_fl", "logit_bias"),
]


@pytest.mark.parametrize("name", LABELWISE)
def test_soft_target_is_the_expected_loss(name):
    logits, _ = noise(classes=4)
    target = noise(classes=4, seed=1)[0].softmax(dim=1)
    options = {"T": transition("pair", 0.3, 4)} if name == "forward" else {}
    loss = create_loss(name, **options, reduction="none")
    of_label = torch.stack([loss(logits, torch.full((8,), c)) for c in range(4)], dim=1)
    torch.testing.assert_close(loss(logits, target), (target * of_label).sum(dim=1))


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=12), st.sampled_from(["mae", "rce", "nce", "nfl", "nce+mae"]))
@settings(max_examples=100, deadline=None)
def test_symmetric_losses_sum_to_a_constant_over_labels(scores, name):
    """Ghosh et al.: Σ_c ℓ(z, c) = const makes a loss robust to symmetric noise."""
    classes = len(scores)
    logits = torch.tensor([scores], dtype=torch.float64).repeat(classes, 1)
    total = create_loss(name, reduction="sum")(logits, torch.arange(classes)).item()
    a = -math.log(1e-4)
    wanted = {"mae": classes - 1, "rce": a * (classes - 1), "nce": 1, "nfl": 1, "nce+mae": classes}[name]
    assert total == pytest.approx(wanted, rel=1e-9)


def test_nfl_legacy_has_the_value_but_not_the_gradient():
    logits, labels = noise()
    value, slope = value_and_grad(create_loss("nfl"), logits, labels)
    legacy_value, legacy_slope = value_and_grad(create_loss("nfl", legacy=True), logits, labels)
    torch.testing.assert_close(legacy_value, value)
    assert (slope - legacy_slope).abs().max() > 1e-3 * slope.abs().max()


def test_gce_still_learns_where_the_published_clamp_stops():
    logits = torch.tensor([[0.0, 20.0]], dtype=torch.float64)
    label = torch.tensor([0])
    p = math.exp(-20) / (1 + math.exp(-20))
    value, slope = value_and_grad(create_loss("gce"), logits, label)
    assert value.item() == pytest.approx((1 - p**0.7) / 0.7, rel=1e-12)
    assert slope[0, 0].item() == pytest.approx(-(p**0.7) * (1 - p), rel=1e-9)
    legacy_value, legacy_slope = value_and_grad(create_loss("gce", legacy=True), logits, label)
    assert legacy_value.item() == pytest.approx((1 - 1e-7**0.7) / 0.7, rel=1e-12)
    assert (legacy_slope == 0).all()


def test_gce_lies_between_cross_entropy_and_mae():
    logits, labels = noise()
    torch.testing.assert_close(create_loss("gce", q=1.0)(logits, labels), create_loss("mae")(logits, labels))
    near = create_loss("gce", q=1e-9)(logits, labels)
    torch.testing.assert_close(near, create_loss("ce")(logits, labels), rtol=1e-7, atol=0)


def test_gce_truncated_prunes_below_k():
    logits = torch.tensor([[0.0, 2.0], [2.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 0])
    p = logits.softmax(dim=1)[:, 0]
    whole = (0.5**0.7 - p**0.7) / 0.7
    torch.testing.assert_close(create_loss("gce_truncated", reduction="none")(logits, labels), whole)
    value, slope = value_and_grad(create_loss("gce_truncated", prune=True, reduction="none"), logits, labels)
    torch.testing.assert_close(value, torch.stack([torch.zeros_like(whole[0]), whole[1]]))
    assert (slope[0] == 0).all()
    assert (slope[1] != 0).all()


def test_sce_rce_legacy_adds_the_clamped_mass():
    logits, labels = torch.tensor([[40.0, 0.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    a = -math.log(1e-4)
    assert create_loss("rce")(logits, labels).item() == pytest.approx(2 * a * math.exp(-40), rel=1e-9)
    assert create_loss("rce", legacy=True)(logits, labels).item() == pytest.approx(2 * a * 1e-7, rel=1e-6)


def test_huber_with_a_linear_part():
    logits, labels = noise(classes=4)
    target = noise(classes=4, seed=1)[0].softmax(dim=1)
    for delta in (0.1, 0.3, 1.0, 5.0):
        for t in (F.one_hot(labels, 4).double(), target):
            u = (logits.softmax(dim=1) - t).abs().numpy()
            wanted = np.where(u <= delta, u**2 / 2, delta * (u - delta / 2)).sum(axis=1)
            got = create_loss("huber", delta=delta, reduction="none")(logits, t)
            np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-12)


def test_label_smoothing_is_pytorchs():
    logits, labels = noise()
    for epsilon in (0.0, 0.1, 1.0):
        wanted = F.cross_entropy(logits, labels, label_smoothing=epsilon)
        torch.testing.assert_close(create_loss("label_smoothing", epsilon=epsilon)(logits, labels), wanted)


def test_bootstrap_with_beta_one_is_cross_entropy():
    logits, labels = noise()
    wanted = create_loss("ce")(logits, labels)
    for name in ("bootstrap", "bootstrap_soft", "bootstrap_hard"):
        torch.testing.assert_close(create_loss(name, beta=1.0)(logits, labels), wanted)


def test_forward_correction():
    logits, labels = noise(classes=4)
    identity = create_loss("forward", T=torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(identity(logits, labels), create_loss("ce")(logits, labels))
    t = transition("pair", 0.4, 4)
    wanted = -np.log((logits.softmax(dim=1).numpy() @ t)[np.arange(8), labels.numpy()])
    got = create_loss("forward", T=t.tolist(), reduction="none")
    np.testing.assert_allclose(got(logits, labels).numpy(), wanted, rtol=1e-12)
    np.testing.assert_allclose(got.hyperparameters()["T"], t)
    with pytest.raises(LossInputError, match="10 classes, expected 4"):
        got(*noise())


def reference_bi_tempered(z, y, t1, t2):
    """The formula of the paper for one row, its normaliser found by a root finder."""

    def log_t(u, t):
        return np.log(u) if t == 1 else (u ** (1 - t) - 1) / (1 - t)

    def exp_t(u, t):
        return np.exp(u) if t == 1 else np.maximum(1 + (1 - t) * u, 0) ** (1 / (1 - t))

    top = z.max()
    lam = brentq(lambda v: exp_t(z - top - v, t2).sum() - 1, 0.0, 1e4, xtol=1e-15, rtol=1e-15)
    p = exp_t(z - top - lam, t2)
    of_y = np.where(y > 0, y * log_t(np.where(y > 0, y, 1.0), t1), 0.0)
    return (of_y - y * log_t(p, t1) - (y ** (2 - t1) - p ** (2 - t1)) / (2 - t1)).sum()


TEMPERATURES = [(0.8, 1.2), (0.5, 4.0), (1.0, 1.5), (0.7, 1.0), (1.0, 1.0), (0.3, 0.6), (0.6, 0.6), (0.0, 2.0)]


@pytest.mark.parametrize(("t1", "t2"), TEMPERATURES)
@pytest.mark.parametrize("smoothing", [0.0, 0.15])
def test_bi_tempered_matches_a_root_finder(t1, t2, smoothing):
    logits, labels = noise(classes=5)
    hard = F.one_hot(labels, 5).double().numpy()
    target = noise(classes=5, seed=1)[0].softmax(dim=1).numpy()
    loss = create_loss("bi_tempered", t1=t1, t2=t2, num_iters=100, label_smoothing=smoothing, reduction="none")
    for y, given_target in ((hard, labels), (target, torch.from_numpy(target))):
        smooth = (1 - 5 / 4 * smoothing) * y + smoothing / 4
        wanted = [reference_bi_tempered(z, row, t1, t2) for z, row in zip(logits.numpy(), smooth)]
        value, slope = value_and_grad(loss, logits, given_target)
        np.testing.assert_allclose(value.numpy(), wanted, rtol=1e-9, atol=1e-12)
        for k in range(5):
            step = np.eye(5)[k] * 1e-5
            up = [reference_bi_tempered(z + step, row, t1, t2) for z, row in zip(logits.numpy(), smooth)]
            down = [reference_bi_tempered(z - step, row, t1, t2) for z, row in zip(logits.numpy(), smooth)]
            wanted_slope = (np.array(up) - np.array(down)) / 2e-5
            np.testing.assert_allclose(slope[:, k].numpy(), wanted_slope, rtol=1e-4, atol=1e-7)


def test_bi_tempered_honours_num_iters():
    logits, labels = noise(classes=100, spread=5.0)
    rows = [create_loss("bi_tempered", t1=0.5, t2=1.5, num_iters=n)(logits, labels).item() for n in (1, 5, 50, 100)]
    assert abs(rows[0] - rows[3]) > abs(rows[1] - rows[3]) > abs(rows[2] - rows[3])


def test_bi_tempered_special_cases():
    logits, labels = noise()
    torch.testing.assert_close(
        create_loss("bi_tempered", t1=1.0, t2=1.0)(logits, labels), create_loss("ce")(logits, labels)
    )
    gce = create_loss("gce", q=0.4, reduction="none")(logits, labels)
    rest = (1 - (logits.softmax(dim=1) ** 1.4).sum(dim=1)) / 1.4
    got = create_loss("bi_tempered", t1=0.6, t2=1.0, reduction="none")(logits, labels)
    torch.testing.assert_close(got, gce - rest)


VARIANTS = [
    ("gce", {"legacy": True}),
    ("gce_truncated", {"prune": True, "k": 0.1}),
    ("huber", {"delta": 0.2}),
    ("sce", {"legacy": True}),
    ("nfl", {"gamma": 0.0}),
    ("nfl", {"gamma": 3.0}),
    ("nfl+mae", {"gamma": 0.05}),
    ("taylor_ce", {"order": 7}),
    ("bootstrap_soft", {"beta": 0.0}),
    ("bootstrap_hard", {"beta": 0.0}),
    ("label_smoothing", {"epsilon": 1.0}),
    ("nce+agce", {"alpha": 0, "beta": 1, "a": 4, "q": 0.2}),
    ("nce+aul", {"alpha": 0, "beta": 1, "a": 3, "q": 0.1}),
    ("nce+aul", {"a": 1.01, "q": 0.1}),
    ("ce_eps+mae", {"m": 0.0}),
    ("fl_eps+mae", {"gamma": 2.0, "m": 1.0}),
    ("ldr_kl", {"lam": 0.5, "margin": 2.0}),
    ("js", {"pi": 0.001}),
    ("js", {"pi": 0.999}),
    ("nls", {"rate": -8.0}),
    ("anl_fl", {"gamma": 2.0, "p_min": 1e-3}),
    ("jal_fl", {"gamma": 0.0}),
    ("logit_bias", {"loss": "gce(q=0.5)", "bias": 3.0}),
    ("bi_tempered", {"t1": 0.2, "t2": 4.0, "num_iters": 60}),
    ("bi_tempered", {"t1": 0.9, "t2": 1.05, "num_iters": 60}),
    ("bi_tempered", {"t1": 0.3, "t2": 0.6, "num_iters": 100}),
    ("bi_tempered", {"t1": 1.0, "t2": 1.0}),
    ("forward", {"T": transition("pair", 0.4, 4)}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_other_hyperparameters_stay_finite_and_true(name, options):
    loss = create_loss(name, **options, reduction="none")
    for big in (1e4, 100.0):
        rows = torch.tensor([[big] * 4, [-big] * 4, [big, -big, -big, -big], [-big, big, big, big], [0.0, big, 1, 2]])
        for label in range(4):
            value, slope = value_and_grad(loss, rows, torch.full((5,), label))
            assert torch.isfinite(value).all()
            assert torch.isfinite(slope).all()
    logits, labels = noise(classes=4)
    assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_(), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mae", {"scale": 0}),
        ("mae", {"scale": math.nan}),
        ("rce", {"scale": -1}),
        ("gce", {"q": 0}),
        ("gce", {"q": 1.5}),
        ("gce", {"q": "0.7"}),
        ("gce_truncated", {"k": 1}),
        ("sce", {"alpha": -0.1}),
        ("sce", {"alpha": 0, "beta": 0}),
        ("nce", {"scale": 0}),
        ("nfl", {"gamma": -1}),
        ("nce+mae", {"beta": math.inf}),
        ("nfl+mae", {"gamma": -0.5}),
        ("nce+rce", {"alpha": True}),
        ("label_smoothing", {"epsilon": 1.1}),
        ("huber", {"delta": 0}),
        ("bi_tempered", {"t1": 1.2, "t2": 1.5}),
        ("bi_tempered", {"t1": 0.8, "t2": 0.5}),
        ("bi_tempered", {"t1": 0.0, "t2": 0.0}),
        ("bi_tempered", {"num_iters": 0}),
        ("bi_tempered", {"label_smoothing": 1.0}),
        ("bootstrap", {"beta": 1.5}),
        ("taylor_ce", {"order": 0}),
        ("taylor_ce", {"order": 2.0}),
        ("forward", {"T": [[0.5, 0.5]]}),
        ("forward", {"T": [[0.5, 0.6], [0.5, 0.5]]}),
        ("forward", {"T": [[1.5, -0.5], [0.5, 0.5]]}),
        ("forward", {"T": [[1.0, 0.0], [1.0, 0.0]]}),
        ("forward", {"T": [[1.0, 0.0], [1.0]]}),
        ("forward", {"T": "identity"}),
        ("forward", {}),
        ("nce+agce", {"a": 0}),
        ("nce+aul", {"a": 1}),
        ("nce+ael", {"a": -1}),
        ("anl_ce", {"p_min": 0}),
        ("anl_ce", {"delta": 5e-5}),
        ("ce_eps+mae", {"m": -1}),
        ("fl_eps+mae", {"gamma": -1}),
        ("jal_ce", {"a": 0.5}),
        ("ldr_kl", {"lam": 0}),
        ("ldr_kl", {"margin": -1}),
        ("js", {"pi": 0}),
        ("js", {"pi": 1}),
        ("nls", {"rate": 0.1}),
        ("anl_fl", {"p_min": 0.1}),
        ("anl_fl", {"gamma": -1}),
        ("jal_fl", {"a": 0}),
        ("jal_fl", {"legacy": "yes"}),
        ("logit_bias", {"bias": "1"}),
        ("antidote", {"delta": 0}),
        ("antidote", {"kappa": 0}),
    ],
)
def test_bad_hyperparameters_are_refused(name, options):
    with pytest.raises(ConfigError):
        create_loss(name, **options)
