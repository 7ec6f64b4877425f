"""The noise estimator against the authors' code, and the two stages of forward correction."""

import json
from pathlib import Path

import pytest
import torch

from autorobustloss.data import DataSpec, load_dataset, make_splits
from autorobustloss.losses import create_loss
from autorobustloss.methods import MethodSpec, Setting, run_method
from autorobustloss.methods.estimated_forward import estimate_transition, first_stage, second_stage
from autorobustloss.models import build_model
from autorobustloss.noise import transition_matrix
from autorobustloss.training import LossObjective, TrainingProtocol, fit, logits
from autorobustloss.training.protocol import PRESETS

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "fw_estimator.json").read_text())
PROTOCOL = TrainingProtocol(lr=0.1, epochs=6, batch_size=50)


def curves(method, *setting, **options):
    return run_method(method, Setting(*setting, **options))[1]


def golden_cases():
    eta = None
    for case in GOLDEN["cases"]:
        eta = eta if case["eta_same_as_previous"] else torch.tensor(case["eta"], dtype=torch.float64)
        yield pytest.param(eta, case, id=f"C={case['C']}-filter={case['filter_outlier']}")


@pytest.mark.parametrize(("eta", "case"), list(golden_cases()))
def test_estimator_golden(eta, case):
    before = eta.clone()
    # The published code's filter sets what it leaves out to 0 in place, so that later rows may contain such zeros.
    expected = torch.tensor(case["T_without_inplace_bug"] or case["T"], dtype=torch.float64)
    torch.testing.assert_close(estimate_transition(eta, case["filter_outlier"]), expected, **GOLDEN["tolerance"])
    assert torch.equal(eta, before)


@pytest.fixture(scope="module")
def setting():
    splits = make_splits(load_dataset("digits"), DataSpec("digits", train_size=600, valid_size=200), "pair:0.3")
    matrix = transition_matrix("pair:0.3", 10, "digits")
    return Setting("mlp2", splits, PROTOCOL, 0, ("test",), matrix)


def test_oracle_is_the_forward_loss_of_the_true_matrix(setting):
    splits = setting.splits
    history = curves(
        MethodSpec.of("fw", oracle=True), "mlp2", splits, PROTOCOL, 0, ("test",), noise_matrix=setting.noise_matrix
    )
    network = build_model("mlp2", splits.input_shape, 10, seed=0)
    # The smallest entry in training is 1e-12, not 0.
    criterion = create_loss("forward", T=setting.noise_matrix)
    expected = fit(LossObjective(network, criterion), splits, PROTOCOL, 0, ("test",))
    assert history.train_loss == pytest.approx(expected.train_loss, rel=1e-5)
    assert history.last("test") == pytest.approx(expected.last("test"), abs=0.01)


def test_first_stage_keeps_the_epoch_that_validates_best(setting):
    splits = setting.splits
    network, history = first_stage(setting, "loss")
    last, same = first_stage(setting, "last")
    assert history == same

    def validation_loss(network):
        return create_loss("ce")(logits(network, splits.x_valid), splits.y_valid_noisy).item()

    def validation_accuracy(network):
        return (logits(network, splits.x_valid).argmax(1) == splits.y_valid_noisy).double().mean().item()

    assert validation_loss(network) <= validation_loss(last)
    best, _ = first_stage(setting, "accuracy")
    curve = curves(MethodSpec.of("ce"), "mlp2", splits, PROTOCOL, 0, ("valid_noisy",))
    assert validation_accuracy(best) >= validation_accuracy(last)
    assert abs(validation_accuracy(best) - curve.best("valid_noisy")) < 0.1  # other initial weights


def test_estimated_matrix_is_near_the_true_one(setting):
    network, _ = first_stage(setting, "loss")
    eta = logits(network, setting.splits.x_train).double().softmax(1)
    T = estimate_transition(eta)
    torch.testing.assert_close(T.sum(1), torch.ones(10, dtype=torch.float64))
    assert (T - setting.noise_matrix).abs().mean() < 0.06
    assert (T.argmax(1) == torch.arange(10)).all()


def test_two_stages_beat_one(setting):
    splits = setting.splits
    longer = PROTOCOL.but(epochs=12)
    corrected = curves(MethodSpec.of("fw"), "mlp2", splits, longer, 0, ("test",))
    plain = curves(MethodSpec.of("ce"), "mlp2", splits, longer, 0, ("test",))
    assert corrected.last("test") > plain.last("test")
    assert corrected.steps == 2 * plain.steps


def test_second_stage_survives_a_matrix_with_zeros(setting):
    T = torch.eye(10, dtype=torch.float64)
    T[3] = T[2]  # no label is ever 3
    _, history = second_stage(setting, T)
    assert history.stopped == ""


def test_a_diverged_first_stage_is_the_result(setting):
    history = curves(MethodSpec.of("fw"), "mlp2", setting.splits, PROTOCOL.but(lr=1e30), 0, ("test",))
    assert history.stopped == "diverged"


def test_the_true_matrix_recovers_most_of_the_clean_accuracy_under_pair_flip():
    data, protocol = load_dataset("digits"), PRESETS["digits"].but(epochs=30, evaluate_every=30)

    def accuracy(method, noise):
        spec, matrix = MethodSpec.parse(method), transition_matrix(noise, 10, "digits")
        found = []
        for seed in range(2):
            splits = make_splits(data, DataSpec("digits"), noise, seed, seed)
            found.append(curves(spec, "mlp2", splits, protocol, seed, ("test",), matrix).last("test"))
        return sum(found) / len(found)

    clean, noisy, corrected = (
        accuracy("ce", "clean"),
        accuracy("ce", "pair:0.4"),
        accuracy("fw(oracle=True)", "pair:0.4"),
    )
    assert noisy < clean - 0.2
    assert corrected > clean - 0.1 * (clean - noisy)
