"""The 8-layer convolutional network on which robust losses for CIFAR-10 are compared."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from autorobustloss.models.network import Network, block, image_shape, scaled
from autorobustloss.registry import MODELS

STAGES = (64, 128, 196)


@MODELS.register("cnn8")
def cnn8(input_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> Network:
    """Build an 8-layer CNN: three stages of two 3x3 convolutions and max-pooling, 256 units, and the head.

    64, 128 and 196 channels; batch normalisation and ReLU after every layer but the last; 1.6 million weights for
    CIFAR-10. Convolutions start by Kaiming's uniform rule, linear layers by Xavier's. `width` multiplies the channels
    and the units.
    Source: Ma et al., Normalized Loss Functions, ICML 2020, and the comparisons that took its network over.
    """
    depth, height, across = image_shape("cnn8", input_shape, smallest=8)
    layers: list[nn.Module] = []
    for into, out in pairwise((depth, *(scaled(channels, width) for channels in STAGES))):
        layers += [*block(into, out, bias=True), *block(out, out, bias=True), nn.MaxPool2d(2)]
    features, units = out * (height // 8) * (across // 8), scaled(256, width)
    layers += [nn.Flatten(), nn.Linear(features, units), nn.BatchNorm1d(units), nn.ReLU(inplace=True)]
    network = Network(nn.Sequential(*layers), nn.Linear(units, num_classes))
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight)
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    return network
