"""The cohort against the loop: the same numbers to rounding, and candidates that leave each other alone."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from autorobustloss.data import DataSpec, load_dataset, make_splits
from autorobustloss.errors import ConfigError
from autorobustloss.losses import TaylorLoss, create_loss
from autorobustloss.losses.functional import Coefficients, hard_loss
from autorobustloss.models import build_model
from autorobustloss.training import LossObjective, TrainingProtocol, fit
from autorobustloss.training.cohort import Cohort, CohortError, fit_cohort
from autorobustloss.training.loop import Run

DIGITS = make_splits(
    load_dataset("digits"), DataSpec("digits", train_size=165, valid_size=100, test_size=100), "sym:0.4"
)
LOSSES = [
    TaylorLoss([0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0], scale="init"),  # mean absolute error
    TaylorLoss([0.1, 0.2, -0.5, 0.3, -1, 0.7, -2, 0.4, 1.5, 0.6, -0.3, 0.2], log_weight=0.5, scale="max"),
    TaylorLoss([0, 0, 0, 0, 0], log_weight=1, scale=10),  # cross-entropy
    TaylorLoss([0.1, 0, 0, 0.2, -0.3], log_weight=1, log_power=0.6, scale="max"),  # near generalised cross-entropy
]
PROTOCOL = TrainingProtocol(lr=0.05, epochs=2, batch_size=50)  # the last batch of an epoch has 15 samples
EXPLOSIVE = Coefficients((), (), 1e9, 0.0)
FLAT = Coefficients((), (), 0.0, 1.0)  # a constant: no gradient, no learning


def cast(splits, dtype=torch.float64):
    return replace(splits, **{name: getattr(splits, name).to(dtype) for name in ("x_train", "x_valid", "x_test")})


def network(model, splits=DIGITS, seed=0):
    return build_model(model, splits.input_shape, splits.num_classes, seed).to(splits.x_train.dtype)


def together(model, losses, splits=DIGITS, protocol=PROTOCOL, seed=0, **arguments):
    return fit_cohort(network(model, splits), constants(losses), splits, protocol, seed, **arguments)


def constants(losses):
    return [loss.coefficients(10) if isinstance(loss, TaylorLoss) else loss for loss in losses]


def mean_of(loss):
    return loss if isinstance(loss, nn.Module) else lambda z, y: hard_loss(z, y, loss).mean()


def alone(model, loss, splits=DIGITS, protocol=PROTOCOL, seed=0, **arguments):
    return fit(LossObjective(network(model, splits), mean_of(loss)), splits, protocol, seed, **arguments)


def check_weights(model, protocol, splits, rtol=1e-9, epochs=2):
    """Compare weights, buffers, curves and scores after some epochs of a cohort and of as many loops."""
    cohort = Cohort(network(model, splits), constants(LOSSES), splits, protocol, 3)
    runs = [Run(LossObjective(network(model, splits), loss), splits, protocol, 3) for loss in LOSSES]
    for _ in range(epochs):
        torch.testing.assert_close(cohort.epoch(), [run.epoch()[0] for run in runs], rtol=rtol, atol=rtol)
    assert cohort.steps == runs[0].steps > 1
    with cohort.shown():
        scores = cohort.accuracies()
    for k, run in enumerate(runs):
        trained = dict(run.objective.network.named_parameters()) | dict(run.objective.network.named_buffers())
        for name, tensor in (cohort.weights | cohort.buffers).items():
            torch.testing.assert_close(tensor[k], trained[name].detach(), rtol=rtol, atol=rtol)
        with run.shown():  # weights that are not the optimiser's under some protocols
            expected = run.accuracies()
        assert {split: [values[k]] for split, values in scores.items()} == expected
    # The candidates have left each other.
    assert all((w[0] - w[1]).abs().max() > 1e-4 for w in cohort.weights.values())


@pytest.mark.parametrize("model", ["linear", "mlp2", "mlp3", "cnn4"])
def test_weights_are_those_of_the_loop(model):
    check_weights(model, PROTOCOL, cast(DIGITS))


@pytest.mark.parametrize("model", ["mlp2", "cnn4"])
def test_weights_are_those_of_the_loop_in_single_precision(model):
    check_weights(model, PROTOCOL, DIGITS, rtol=2e-5)


def test_batch_normalisation_keeps_a_state_for_each_candidate():
    small = replace(DIGITS, x_train=DIGITS.x_train[:40], y_train=DIGITS.y_train[:40])
    check_weights("resnet18(width=0.0625)", PROTOCOL.but(batch_size=20), cast(small), epochs=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"nesterov": True, "weight_decay": 0.01, "schedule": "cosine"},
        {"clip_norm": 0.1},
        {"optimizer": "adam", "lr": 0.002, "milestones": (1,), "late_momentum": 0.5},
        {"optimizer": "adamw", "lr": 0.002, "weight_decay": 0.1},
        {"lookahead": (3, 0.5)},
        {"average": 0.9, "schedule": "steps", "milestones": (1,)},
        {"augment": "crop-flip"},
        {"l1": 0.01},
        {"l1": 0.02, "clip_norm": 0.1},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_every_part_of_a_protocol_is_the_loop_s(changes):
    check_weights("mlp2", PROTOCOL.but(**changes), cast(DIGITS))


def test_bfloat16_agrees_within_its_precision():
    protocol = PROTOCOL.but(precision="bfloat16", epochs=3)
    for history, loss in zip(together("mlp2", LOSSES, protocol=protocol), LOSSES):
        expected = alone("mlp2", loss, protocol=protocol)
        assert history.train_loss == pytest.approx(expected.train_loss, rel=0.02)
        assert history.last("test") == pytest.approx(expected.last("test"), abs=0.03)


@pytest.mark.parametrize("model", ["mlp2", "cnn4"])
def test_accuracies_at_the_end_are_the_loop_s_within_seed_noise(model):
    protocol = PROTOCOL.but(epochs=12, evaluate_every=5)
    cohort = together(model, LOSSES, protocol=protocol)
    for history, loss in zip(cohort, LOSSES):
        expected = alone(model, loss, protocol=protocol)
        assert history.epochs == expected.epochs == [5, 10, 12]
        for split in ("valid_clean", "valid_noisy", "test"):
            assert history.curve(split) == pytest.approx(expected.curve(split), abs=0.03)
        assert history.train_accuracy == pytest.approx(expected.train_accuracy, abs=0.02)
    assert max(history.last("test") for history in cohort) > 0.3


def test_only_what_is_asked_for_is_scored():
    (history,) = together("linear", LOSSES[:1], protocol=PROTOCOL.but(epochs=1), evaluate=("valid_clean",))
    assert (len(history.valid_clean), history.valid_noisy, history.test) == (1, [], [])


def test_the_network_that_is_given_stays_as_it_is():
    given = network("mlp2")
    before = {name: t.clone() for name, t in given.state_dict().items()}
    fit_cohort(given, constants(LOSSES), DIGITS, PROTOCOL, 0, ())
    assert all(torch.equal(t, before[name]) for name, t in given.state_dict().items())
    assert all(p.requires_grad for p in given.parameters())


def test_frozen_weights_stay_and_are_not_stacked():
    frozen = network("mlp2")
    frozen.head.requires_grad_(False)
    cohort = Cohort(frozen, constants(LOSSES), DIGITS, PROTOCOL.but(batch_size=200), 0)
    cohort.epoch()
    assert set(cohort.weights) == {"body.1.weight", "body.1.bias"}
    assert torch.equal(cohort.network.head.weight, frozen.head.weight)


# Early ends


def test_a_diverging_candidate_leaves_the_others_numbers_alone():
    protocol = PROTOCOL.but(epochs=4)
    calm = together("mlp2", [LOSSES[0], LOSSES[1], LOSSES[2]], protocol=protocol)
    wild = together("mlp2", [LOSSES[0], EXPLOSIVE, LOSSES[2]], protocol=protocol)
    assert wild[1].stopped == "diverged"
    assert wild[1] == alone("mlp2", EXPLOSIVE, protocol=protocol)
    assert math.isnan(wild[1].last("test")) or not wild[1].epochs
    for k in (0, 2):
        assert (wild[k].stopped, wild[k].steps, len(wild[k].test)) == ("", 16, 4)
        assert wild[k] == calm[k]


def test_weights_beyond_the_bound_count_as_divergence():
    (history,) = together("linear", [Coefficients((), (), 1e8, 0.0)], protocol=PROTOCOL.but(epochs=3))
    expected = alone("linear", Coefficients((), (), 1e8, 0.0), protocol=PROTOCOL.but(epochs=3))
    assert (history.stopped, history.steps, history.epochs) == ("diverged", 4, [])
    assert history == expected


def test_a_candidate_at_chance_is_scored_once_more_and_ends():
    protocol = PROTOCOL.but(epochs=5, evaluate_every=5, patience_at_chance=3)
    flat, learning = together("mlp2", [FLAT, LOSSES[2]], protocol=protocol)
    expected = alone("mlp2", FLAT, protocol=protocol)
    assert (flat.stopped, flat.epochs, flat.steps, flat.test) == ("chance", [3], 12, expected.test)
    assert flat.train_loss == pytest.approx(expected.train_loss)
    assert (learning.stopped, learning.epochs, learning.steps) == ("", [5], 20)


# What a cohort shares and what it declines


def test_random_state_is_left_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    together("mlp2(hidden=8)", LOSSES)
    assert torch.equal(torch.rand(3), expected)


class WithDropout(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))


class WithBranch(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10))

    def forward(self, x):
        z = super().forward(x)
        return z if z.sum() > 0 else -z


@pytest.mark.parametrize("build", [WithDropout, WithBranch])
def test_a_network_that_cannot_be_stacked_is_declined(build):
    with pytest.raises(CohortError, match="cannot be trained in a cohort"):
        fit_cohort(build(), constants(LOSSES), DIGITS, PROTOCOL, 0)


def test_labels_to_be_ignored_are_declined():
    labels = DIGITS.y_train.clone()
    labels[3] = -100
    with pytest.raises(CohortError, match="without a label"):
        together("mlp2", LOSSES, replace(DIGITS, y_train=labels))


def test_bad_arguments_are_the_loop_s_errors():
    with pytest.raises(ConfigError, match="empty training split"):
        together("mlp2", LOSSES, replace(DIGITS, x_train=DIGITS.x_train[:0], y_train=DIGITS.y_train[:0]))
    with pytest.raises(ConfigError, match="expected some of valid_clean"):
        together("mlp2", LOSSES, evaluate=("train",))


def test_a_loss_without_terms_trains_too():
    ce = create_loss("ce")
    (history,) = together("linear", [Coefficients((), (), 1.0, 0.0)], cast(DIGITS))
    assert history.train_loss == pytest.approx(alone("linear", ce, cast(DIGITS)).train_loss)
