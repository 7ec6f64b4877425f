"""The gradients by hand against autograd's, within rounding: which kernel multiplies is the libraries' own choice."""

import pytest
import torch
from torch import nn

from autorobustloss.losses import create_loss, kernel
from autorobustloss.models import build_model, list_models
from autorobustloss.training import LossObjective
from autorobustloss.training.backprop import Chain, by_autograd, create_backprop

CHAINS = ["linear", "mlp2", "mlp3", "cnn4", "cnn4(channels=(3, 5), hidden=7)"]
SHAPES = [(1, 8, 8), (3, 9, 6), (1, 28, 28)]


@pytest.fixture(autouse=True)
def _as_in_a_job():
    """One thread, as jobs have, and the same loss for both ways."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with kernel.left_out():
        yield
    torch.set_num_threads(before)


def batch(shape, samples, seed):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(samples, *shape, generator=draw), torch.randint(10, (samples,), generator=draw)


def both(objective, precision="float32"):
    parameters = list(objective.networks.parameters())
    return create_backprop(objective, parameters, precision), by_autograd(objective, parameters, precision)


def pull(z, y):
    """A loss that is a function."""
    return (z - y.unsqueeze(1)).square().mean()


def assert_close(found, expected, precision="float32"):
    """Compare to what rounding may do, in units of a tensor's largest number."""
    assert found.dtype == expected.dtype
    tolerance = {"float32": 1e-5, "bfloat16": 0.02}[precision] * expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=max(tolerance, 1e-7))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("model", CHAINS)
@pytest.mark.parametrize("loss", ["arl-taylor", "gce", nn.CrossEntropyLoss(), pull], ids=["arl", "gce", "torch", "own"])
def test_the_same_within_rounding(model, shape, precision, loss):
    criterion = create_loss(loss) if isinstance(loss, str) else loss
    objective = LossObjective(build_model(model, shape, 10, seed=0), criterion)
    chain, autograd = both(objective, precision)
    assert isinstance(chain, Chain)
    for seed, samples in enumerate((32, 9, 32)):
        x, y = batch(shape, samples, seed)
        found, expected = chain(x, y, 1), autograd(x, y, 1)
        assert_close(found[0], expected[0], precision)
        assert_close(found[1], expected[1], precision)
        assert len(found[2]) == len(expected[2])
        for one, other in zip(found[2], expected[2]):
            assert_close(one, other, precision)
            assert one.dtype == torch.float32
        assert not found[0].requires_grad
        assert not found[1].requires_grad
        with torch.no_grad():  # the weights move in place, as an optimiser moves them
            for p, g in zip(objective.networks.parameters(), expected[2]):
                p -= 0.1 * g


@pytest.mark.parametrize("model", list_models())
def test_every_registered_network_agrees(model):
    objective = LossObjective(build_model(f"{model}", (1, 8, 8), 10, seed=0), create_loss("ce"))
    found, expected = (way(*batch((1, 8, 8), 16, 0), 1) for way in both(objective))
    assert_close(found[0], expected[0])
    for one, other in zip(found[2], expected[2]):
        assert_close(one, other)


def without_bias(network):
    network.head = nn.Linear(network.head.in_features, 10, bias=False)


def with_dropout(network):
    network.body.insert(1, nn.Dropout())


def with_hook(network):
    network.body[1].register_forward_hook(lambda module, inputs, output: 2 * output)


def with_normalisation(network):
    network.body.append(nn.BatchNorm1d(256))


def with_a_frozen_layer(network):
    network.body[1].requires_grad_(False)


def with_two_linear_layers(network):
    network.body.append(nn.Linear(256, 256))


def with_a_share(network):
    network.body.append(nn.Linear(256, 256))
    network.body.append(nn.ReLU())
    network.body.append(nn.Linear(256, 256))
    network.body.append(nn.ReLU())
    network.body[5].weight = network.body[3].weight


def in_double(network):
    network.double()


@pytest.mark.parametrize(
    "change",
    [
        without_bias,
        with_dropout,
        with_hook,
        with_normalisation,
        with_a_frozen_layer,
        with_two_linear_layers,
        with_a_share,
        in_double,
    ],
)
def test_what_is_no_such_chain_is_left_to_autograd(change):
    network = build_model("mlp2", (4,), 10, seed=0)
    change(network)
    objective = LossObjective(network, nn.CrossEntropyLoss())
    parameters = [p for p in network.parameters() if p.requires_grad]
    assert not isinstance(create_backprop(objective, parameters, "float32"), Chain)


def test_other_objectives_are_left_to_autograd():
    class Squared(LossObjective):
        def loss(self, x, y, epoch):
            loss, logits = super().loss(x, y, epoch)
            return loss.square(), logits

    objective = Squared(build_model("mlp2", (4,), 10, seed=0), nn.CrossEntropyLoss())
    assert not isinstance(both(objective)[0], Chain)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_weights_that_changed_are_seen_inside_of_another_autocast(precision):
    network = build_model("resnet18(width=0.125)", (3, 8, 8), 10, seed=0)
    parameters, (x, y) = list(network.parameters()), batch((3, 8, 8), 8, 0)
    backprop = create_backprop(LossObjective(network, nn.CrossEntropyLoss()), parameters, precision)
    with torch.autocast("cpu", enabled=False):  # as in a job
        before = backprop(x, y, 1)[1]
        with torch.no_grad():
            for convolution in (p for p in parameters if p.ndim == 4):
                convolution.neg_()
        inside = backprop(x, y, 1)[1]
    assert (before - inside).abs().max() > 0.05
    torch.testing.assert_close(backprop(x, y, 1)[1], inside)
