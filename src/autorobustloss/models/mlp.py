"""Linear classifier and multilayer perceptrons; images are flattened."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn

from autorobustloss.models.network import Network, sizes
from autorobustloss.registry import MODELS


@MODELS.register("linear")
def linear(input_shape: tuple[int, ...], num_classes: int) -> Network:
    """Build a linear classifier (the paper's network for choosing the polynomial order)."""
    return perceptron(input_shape, num_classes, ())


@MODELS.register("mlp2")
def mlp2(input_shape: tuple[int, ...], num_classes: int, hidden: int = 256) -> Network:
    """Build a 2-layer perceptron: inputs, `hidden` ReLU units, classes (784-256-10 on MNIST)."""
    return perceptron(input_shape, num_classes, sizes("hidden", hidden, 1))


@MODELS.register("mlp3")
def mlp3(input_shape: tuple[int, ...], num_classes: int, hidden: tuple[int, int] = (256, 128)) -> Network:
    """Build a 3-layer perceptron: inputs, two layers of ReLU units, classes (784-256-128-10 on MNIST)."""
    return perceptron(input_shape, num_classes, sizes("hidden", hidden, 2))


def perceptron(input_shape: tuple[int, ...], num_classes: int, hidden: Iterable[int]) -> Network:
    """Build a multilayer perceptron with the given hidden sizes."""
    width = math.prod(input_shape)
    layers: list[nn.Module] = [nn.Flatten()]
    for units in hidden:
        layers += [nn.Linear(width, units), nn.ReLU(inplace=True)]
        width = units
    return Network(nn.Sequential(*layers), nn.Linear(width, num_classes))
