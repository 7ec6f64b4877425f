"""Every method trains a network; plain losses are what the loop does with them."""

import math
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from autorobustloss.data import DataSpec, load_dataset, make_splits
from autorobustloss.errors import ConfigError, UnknownNameError
from autorobustloss.losses import create_loss, list_losses
from autorobustloss.methods import MethodSpec, Setting, create_criterion, like_cross_entropy, list_methods, run_method
from autorobustloss.methods.logitclip import clip_logits
from autorobustloss.models import build_model
from autorobustloss.noise import transition_matrix
from autorobustloss.registry import METHODS
from autorobustloss.training import LossObjective, TrainingProtocol, fit

FAST = TrainingProtocol(lr=0.1, epochs=4, batch_size=50)
LIKE_MAE = (0.0,) * 6 + (-10.0,) + (0.0,) * 5


def curves(method, *setting, **options):
    return run_method(method, Setting(*setting, **options))[1]


@pytest.fixture(scope="module")
def splits():
    return make_splits(load_dataset("digits"), DataSpec("digits", train_size=400, valid_size=100), "sym:0.2")


@pytest.fixture(scope="module")
def matrix():
    return transition_matrix("sym:0.2", 10, "digits")


@pytest.mark.parametrize("name", METHODS.names())
def test_every_procedure_learns_and_repeats(name, splits, matrix):
    spec = MethodSpec.of(name)
    networks, history = run_method(spec, Setting("mlp2", splits, FAST.but(epochs=8), 0, noise_matrix=matrix))
    assert history.last("test") > 0.6
    assert history.epochs == list(range(1, 9))
    for network in networks:
        network.eval()
    scores = [(n(splits.x_test).argmax(1) == splits.y_test).double().mean().item() for n in networks]
    assert history.last("test") == pytest.approx(sum(scores) / len(scores))
    assert curves(spec, "mlp2", splits, FAST.but(epochs=8), 0, noise_matrix=matrix) == history
    assert curves(spec, "mlp2", splits, FAST.but(epochs=8), 1, noise_matrix=matrix) != history


def test_a_loss_is_the_standard_loop(splits):
    history = curves(MethodSpec.of("gce", q=0.5), "mlp2", splits, FAST, seed=3)
    network = build_model("mlp2", splits.input_shape, 10, seed=3)
    assert fit(LossObjective(network, create_loss("gce", q=0.5)), splits, FAST, seed=3) == history


class FirstProduct(TorchDispatchMode):
    """Keeps the names of this library's functions that are running when the first matrix product is."""

    frames = ()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not self.frames and func.overloadpacket.__name__ in ("mm", "addmm"):
            self.frames = [f.name for f in traceback.extract_stack() if "autorobustloss" in Path(f.filename).parts]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", ["mlp2", "cnn4"])
def test_few_calls_lie_between_a_method_and_the_first_matrix_product(model, splits):
    with FirstProduct() as seen:
        curves(MethodSpec.of("taylor", theta=LIKE_MAE), model, splits, FAST.but(epochs=1), seed=0)
    assert seen.frames[0] == "run_method"
    assert len(seen.frames) <= 5


def test_models_are_named_with_hyperparameters(splits):
    networks, _ = run_method(MethodSpec.of("ce"), Setting("mlp2(hidden=7)", splits, FAST, seed=0))
    assert networks[0].head.in_features == 7


def test_epochs_can_be_watched(splits):
    seen = []
    curves(MethodSpec.of("fw"), "linear", splits, FAST, 0, ("test",), on_epoch=lambda h: seen.append(h.test[-1]))
    assert len(seen) == FAST.epochs


def test_unknown_names_have_suggestions(splits):
    with pytest.raises(UnknownNameError, match="did you mean 'jocor'"):
        curves(MethodSpec.of("jocr"), "mlp2", splits, FAST, seed=0)
    with pytest.raises(ConfigError, match="co_lambda, forget_rate, ramp"):
        curves(MethodSpec.of("jocor", lam=0.1), "mlp2", splits, FAST, seed=0)
    assert {"ce", "fw", "jocor", "tuned-ce", "logitclip"} <= set(list_methods())


def gradients_at_uniform(loss, num_classes):
    logits = torch.zeros(num_classes, num_classes, dtype=torch.float64, requires_grad=True)
    loss(logits, torch.arange(num_classes)).backward()
    return logits.grad


def hyperparameters(name, num_classes):
    required = {"taylor": {"theta": LIKE_MAE}, "forward": {"T": transition_matrix("sym:0.3", num_classes, "x")}}
    return required.get(name, {})


ARGMAX = {"bootstrap_hard", "ce_eps+mae", "fl_eps+mae"}  # ties of the argmax make one class special at uniform logits


@pytest.mark.parametrize("num_classes", [2, 10, 37])
@pytest.mark.parametrize("name", list_losses())
def test_matched_losses_start_like_cross_entropy(name, num_classes, allowed):
    num_classes = allowed(name, num_classes)
    loss = create_loss(name, **hyperparameters(name, num_classes))
    expected = gradients_at_uniform(F.cross_entropy, num_classes)
    if not (gradients_at_uniform(loss, num_classes) * expected).sum() > 0:
        with pytest.raises(ConfigError, match="match"):
            like_cross_entropy(loss, num_classes)
        return
    gradient = gradients_at_uniform(like_cross_entropy(loss, num_classes), num_classes)
    assert (gradient * expected).sum().item() == pytest.approx(expected.square().sum().item(), rel=1e-6)
    if name not in ARGMAX:
        torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-9)


def test_match_scale_is_an_option_of_every_loss(splits):
    plain = curves(MethodSpec.of("mae"), "mlp2", splits, FAST, seed=0)
    scaled = curves(MethodSpec.of("mae", match_scale=True), "mlp2", splits, FAST, seed=0)
    by_hand = curves(MethodSpec.of("mae", scale=10.0), "mlp2", splits, FAST, seed=0)
    assert curves(MethodSpec.of("mae", match_scale=False), "mlp2", splits, FAST, seed=0) == plain
    assert scaled.last("test") > plain.last("test")
    assert scaled.train_loss == pytest.approx(by_hand.train_loss, rel=1e-4)
    with pytest.raises(ConfigError, match="match_scale"):
        create_criterion(MethodSpec.of("ce", match_scale=2), 10)


def test_a_loss_that_pushes_away_cannot_be_matched():
    with pytest.raises(ConfigError, match="uniform predictions"):
        like_cross_entropy(create_loss("taylor", theta=(0.0,) * 6 + (5.0,) + (0.0,) * 5), 10)


@pytest.mark.parametrize("tau", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("legacy", [False, True])
def test_clipped_logits(tau, legacy):
    logits = torch.randn(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    logits[0] = 0
    norms = logits.norm(dim=1)
    clipped = clip_logits(logits, tau, legacy)
    longest = 1 / tau if legacy else tau
    torch.testing.assert_close(clipped.norm(dim=1), torch.where(norms > tau, longest, norms))
    torch.testing.assert_close(F.cosine_similarity(clipped[1:], logits[1:]), torch.ones(39, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda z: clip_logits(z, tau, legacy), logits[1:7].clone().requires_grad_())


def test_logitclip_is_the_loss_of_clipped_logits(splits):
    wide = curves(MethodSpec.of("logitclip", tau=1e6, loss="gce(q=0.5)"), "mlp2", splits, FAST, seed=0)
    assert wide == curves(MethodSpec.of("gce", q=0.5), "mlp2", splits, FAST, seed=0)
    narrow = curves(MethodSpec.of("logitclip", tau=0.5), "mlp2", splits, FAST, seed=0)
    assert min(narrow.train_loss) > math.log(10) - 0.5 * math.sqrt(9 / 10)  # the lowest cross-entropy at that norm


def test_tuned_cross_entropy_is_its_parts(splits):
    tuned = curves(MethodSpec.of("tuned-ce", smoothing=0.2, average=0.9), "mlp2", splits, FAST, seed=0)
    protocol = FAST.but(schedule="cosine", average=0.9)
    assert tuned == curves(MethodSpec.of("label_smoothing", epsilon=0.2), "mlp2", splits, protocol, seed=0)
    bare = curves(MethodSpec.of("tuned-ce", smoothing=0.0, average=0.0), "mlp2", splits, FAST, seed=0)
    assert bare == curves(MethodSpec.of("ce"), "mlp2", splits, FAST.but(schedule="cosine"), seed=0)


@pytest.mark.parametrize(
    "wrong",
    ["tuned-ce(smoothing=1.0)", "logitclip(tau=0)", "fw(checkpoint='best')", "jocor(co_lambda=2)", "jocor(ramp=1)",
     "jocor(forget_rate=1.0)"],
)  # fmt: skip
def test_wrong_hyperparameters_are_refused(wrong, splits):
    spec = MethodSpec.parse(wrong)
    with pytest.raises(ConfigError, match=spec.name):
        curves(spec, "linear", splits, FAST, seed=0)


def test_privileged_information_that_is_missing_is_asked_for(splits):
    unknown = replace(splits, noise_rate=None, y_valid_noisy=torch.full_like(splits.y_valid_noisy, -1))
    for text, hint in (("jocor", "forget_rate"), ("fw(oracle=True)", "matrix"), ("fw", "checkpoint='last'")):
        with pytest.raises(ConfigError, match=hint):
            curves(MethodSpec.parse(text), "linear", unknown, FAST, seed=0)
    assert curves(MethodSpec.of("fw", checkpoint="last"), "linear", unknown, FAST, seed=0).last("test") > 0.5
