"""What RobustLoss promises, on a Taylor loss that is cross-entropy (θ = 0, log_weight 1, scale "init")."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.errors import ConfigError, LossInputError, UnsupportedArgumentError
from autorobustloss.losses import RobustLoss, TaylorLoss

DOUBLE = torch.float64


def cross_entropy(**arguments):
    return TaylorLoss([0.0] * 5, 1.0, "init", **arguments)


def value_and_grad(loss, logits, target):
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, target)
    value.sum().backward()
    return value.detach(), logits.grad


def agree(loss, wanted, logits, target):
    got, expected = value_and_grad(loss, logits, target), value_and_grad(wanted, logits, target)
    torch.testing.assert_close(got[0], expected[0])
    torch.testing.assert_close(got[1], expected[1])


SHAPES = [(7,), (6, 7), (3, 7, 4), (2, 7, 3, 5)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ignore_index", [-100, 2])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_class_indices_as_in_cross_entropy(shape, reduction, weighted, ignore_index, dtype):
    logits = torch.randn(shape, dtype=dtype)
    labels = torch.randint(0, 7, shape[:1] + shape[2:] if len(shape) > 1 else ())
    if len(shape) == 1:
        labels.fill_(3)  # one sample, and not an ignored one: there PyTorch gives NaN
    elif ignore_index >= 0:
        labels.view(-1)[:2] = ignore_index
        labels.view(-1)[2] = 3
    arguments = {"reduction": reduction, "ignore_index": ignore_index}
    arguments["weight"] = torch.rand(7, dtype=dtype) + 0.1 if weighted else None
    agree(cross_entropy(**arguments), lambda z, y: F.cross_entropy(z, y, **arguments), logits, labels)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_probabilities_as_in_cross_entropy(shape, reduction):
    logits, target = torch.randn(shape), torch.randn(shape).softmax(0 if len(shape) == 1 else 1)
    agree(cross_entropy(reduction=reduction), lambda z, y: F.cross_entropy(z, y, reduction=reduction), logits, target)


@given(classes=st.integers(2, 100), seed=st.integers(0, 10**6))
def test_every_number_of_classes(classes, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(4, classes, dtype=DOUBLE, generator=generator)
    agree(cross_entropy(), F.cross_entropy, logits, torch.randint(0, classes, (4,), generator=generator))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 3.0])])
def test_all_ignored_is_zero_with_zero_gradient(reduction, weight):
    loss = TaylorLoss([0.1, 0.2, 0.3, 0.4, -1.0], 0.5, reduction=reduction, weight=weight)
    value, grad = value_and_grad(loss, torch.randn(4, 3), torch.full((4,), -100))
    assert (value == 0).all()
    assert (grad == 0).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_empty_batch(reduction):
    value, grad = value_and_grad(cross_entropy(reduction=reduction), torch.randn(0, 3), torch.zeros(0).long())
    assert value == 0
    assert grad.shape == (0, 3)


@pytest.mark.parametrize("weight", [[-1.0, -1.0, -1.0], [-2.0, 1.0, -3.0], [1e-38, 1e-38, 1e-38]])
def test_a_mean_over_weights_of_any_sum(weight):
    logits, labels, weight = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 2]), torch.tensor(weight)
    wanted = torch.nn.functional.cross_entropy(logits.double(), labels, weight.double()).float()
    torch.testing.assert_close(cross_entropy(weight=weight)(logits, labels), wanted)
    assert cross_entropy(weight=torch.zeros(3))(logits, labels) == 0


def test_weights_of_probabilities_weigh_the_sample():
    logits, target, weight = torch.randn(5, 3), torch.rand(5, 3).softmax(1), torch.tensor([1.0, 2.0, 4.0])
    rows = cross_entropy(reduction="none")(logits, target)
    torch.testing.assert_close(cross_entropy(weight=weight)(logits, target), (rows * (target @ weight)).mean())


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8, torch.int64])
def test_integer_labels_of_any_width(dtype):
    logits, labels = torch.randn(4, 3), torch.tensor([0, 2, 1, 1])
    torch.testing.assert_close(cross_entropy()(logits, labels.to(dtype)), F.cross_entropy(logits, labels))


@pytest.mark.parametrize(
    ("input", "target", "message"),
    [
        (torch.zeros(4, 3), torch.tensor([0, 1, 2, 3]), r"labels \[3\] for 3 classes"),
        (torch.zeros(4, 3), torch.tensor([0, 1, -1, 2]), r"labels \[-1\]"),
        (torch.zeros(4, 3), torch.zeros(5).long(), "class indices of shape"),
        (torch.zeros(4, 3), torch.zeros(4, 2), "probabilities of shape"),
        (torch.zeros(4, 3), torch.zeros(4), "for class indices pass an integer tensor"),
        (torch.zeros(4, 1), torch.zeros(4).long(), "expected at least 2 classes"),
        (torch.zeros(4, 3).long(), torch.zeros(4).long(), "expected floating-point logits"),
        (torch.zeros(4, 3), torch.zeros(4).bool(), "bool"),
        (torch.tensor(1.0), torch.tensor(0), "scalar"),
    ],
)
def test_input_that_does_not_fit(input, target, message):
    with pytest.raises(LossInputError, match=message):
        cross_entropy()(input, target)


def test_bad_arguments():
    with pytest.raises(ConfigError, match="reduction='average'"):
        cross_entropy(reduction="average")
    with pytest.raises(LossInputError, match="one floating-point number per class"):
        cross_entropy(weight=torch.ones(2, 2))
    with pytest.raises(LossInputError, match="2 class weights for 3 classes"):
        cross_entropy(weight=torch.ones(2))(torch.zeros(4, 3), torch.zeros(4).long())


def test_a_loss_without_soft_targets_says_so():
    class HardOnly(RobustLoss):
        def hard(self, logits, labels):
            return logits.sum(1)

    with pytest.raises(UnsupportedArgumentError, match="HardOnly is defined for class indices only"):
        HardOnly()(torch.zeros(4, 3), torch.full((4, 3), 1 / 3))
