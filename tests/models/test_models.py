"""Every registered network keeps the same contract; two of them are checked against their published form."""

import inspect

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autorobustloss.errors import ConfigError, UnknownNameError
from autorobustloss.models import build_model, create_model, list_models
from autorobustloss.registry import MODELS

IMAGES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 16, 16)]
ANY_SHAPE = {"linear", "mlp2", "mlp3"}


def small(name):
    """The hyper-parameters that make a network affordable in a test."""
    return {"width": 0.125} if "width" in MODELS.parameters(name) else {}


@pytest.mark.parametrize("num_classes", [2, 10, 100])
@pytest.mark.parametrize("shape", [*IMAGES, (13,)], ids=str)
@pytest.mark.parametrize("name", list_models())
def test_contract(name, shape, num_classes):
    if len(shape) == 1 and name not in ANY_SHAPE:
        with pytest.raises(ConfigError, match="for others use linear, mlp2 or mlp3"):
            create_model(name, shape, num_classes)
        return
    network = build_model(name, shape, num_classes, seed=3, **small(name))
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    before = x.clone()
    logits, features = network(x), network.features(x)
    assert logits.shape == (4, num_classes)
    assert features.ndim == 2
    assert len(features) == 4
    torch.testing.assert_close(network.head(features), logits)
    assert torch.equal(x, before)
    F.cross_entropy(logits, torch.arange(4) % num_classes).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0 or "bias" in key, key

    first, same, other = (
        dict(build_model(name, shape, num_classes, s, **small(name)).named_parameters()) for s in (3, 3, 4)
    )
    assert all(torch.equal(value, same[key]) for key, value in first.items())
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


@pytest.mark.parametrize("name", list_models())
def test_samples_do_not_mix_when_evaluated(name):
    network = build_model(name, (1, 16, 16), 5, seed=0, **small(name)).eval()
    x = torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(x)[2:4], network(x[2:4]), rtol=1e-4, atol=1e-6)


def test_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    a = build_model("cnn4", (1, 8, 8), 10, seed=0)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(6)
    b = build_model("cnn4", (1, 8, 8), 10, seed=0)
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 8, 8), (2, 5, 7), (1, 3, 1)], ids=str)
def test_cnn4_is_two_convolutions(shape):
    layers = create_model("cnn4", shape, 10, channels=(6, 5)).body[:7].double()
    one, two = layers[1], layers[4]
    depth, height, width = shape
    x = torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    padded = F.pad(x, (0, -width % 4, 0, -height % 4))
    first = F.conv2d(padded, one.weight.view(6, depth, 5, 5), one.bias, stride=2, padding=2)
    second = two.weight.view(5, 2, 2, 6).permute(0, 3, 1, 2)
    expected = F.conv2d(first.relu(), second, two.bias, stride=2).relu().permute(0, 2, 3, 1).flatten(1)
    actual = layers(x)
    torch.testing.assert_close(actual, expected)
    parameters = list(layers.parameters())
    weights = torch.randn_like(actual)
    for got, want in zip(
        torch.autograd.grad((actual * weights).sum(), parameters),
        torch.autograd.grad((expected * weights).sum(), parameters),
    ):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize(("num_classes", "parameters"), [(10, 518_150), (100, 541_280)])
def test_jocor_net_has_the_published_size(num_classes, parameters):
    network = create_model("jocor-net", (3, 32, 32), num_classes)
    assert sum(p.numel() for p in network.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("mlp2", (1, 28, 28), 203_530),
        ("mlp3", (1, 28, 28), 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10),
        ("resnet18", (3, 32, 32), 11_173_962),  # the usual CIFAR ResNet-18
        ("vgg11", (3, 32, 32), 9_228_362),  # convolutions without bias (batch normalisation has one), one linear layer
    ],
)
def test_sizes(name, shape, parameters):
    assert sum(p.numel() for p in create_model(name, shape, 10).parameters()) == parameters


def test_imagenet_stem_reduces_a_large_image():
    network = create_model("resnet18(imagenet_stem=True, width=0.125)", (3, 224, 224), 14).eval()
    seen = []
    network.body[4].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    assert network(torch.zeros(1, 3, 224, 224)).shape == (1, 14)
    assert seen[0][2:] == (56, 56)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "message"),
    [
        ("jocor-net", (1, 6, 6), 10, "at least 8x8"),
        ("mlp2", (28, 28), 10, r"\(C, H, W\) images or \(F,\) tables"),
        ("mlp2", (0,), 10, r"\(C, H, W\) images or \(F,\) tables"),
        ("mlp2", (4,), 1, "at least 2"),
        ("mlp2(hidden=0)", (4,), 3, "hidden"),
        ("mlp2(hidden=-3)", (4,), 3, "hidden"),
        ("mlp2(hidden=2.5)", (4,), 3, "hidden"),
        ("mlp2(hidden=True)", (4,), 3, "hidden"),
        ("mlp2(hidden=10**9)", (4,), 3, "expected name"),
        ("mlp2(hidden=1000000000)", (4,), 3, "to 16,384"),
        ("mlp3(hidden=(8,))", (4,), 3, "2 whole numbers"),
        ("mlp3(hidden=8)", (4,), 3, "2 whole numbers"),
        ("mlp3(hidden='ab')", (4,), 3, "2 whole numbers"),
        ("cnn4(channels=8)", (1, 8, 8), 3, "2 whole numbers"),
        ("cnn4(channels=(0, 5))", (1, 8, 8), 3, "channels"),
        ("cnn4(channels=(3, None))", (1, 8, 8), 3, "channels"),
        ("cnn4(hidden=0)", (1, 8, 8), 3, "hidden"),
        ("vgg11(width='wide')", (1, 8, 8), 3, "width"),
        ("vgg11(width=True)", (1, 8, 8), 3, "width"),
        ("resnet18(width=-0.5)", (1, 8, 8), 3, "width"),
        ("resnet18(width=1e999)", (1, 8, 8), 3, "width"),
        ("jocor-net(width=1e6)", (1, 8, 8), 3, "at most 8"),
        ("vgg11(width=0)", (1, 8, 8), 3, "width"),
        ("mlp2(depth=3)", (4,), 3, "depth"),
        ("mlp2(", (4,), 3, "expected name"),
    ],
)
def test_what_does_not_fit_is_refused(name, shape, classes, message):
    with pytest.raises(ConfigError, match=message):
        create_model(name, shape, classes)


def test_unknown_name_has_a_suggestion():
    with pytest.raises(UnknownNameError, match="did you mean 'resnet18'"):
        create_model("resnet", (1, 8, 8), 2)


def test_every_factory_takes_shape_and_classes():
    for name in list_models():
        assert list(inspect.signature(MODELS.get(name)).parameters)[:2] == ["input_shape", "num_classes"]
        assert isinstance(create_model(name, (1, 8, 8), 3), nn.Module)
