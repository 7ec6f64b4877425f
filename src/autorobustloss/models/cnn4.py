"""The 4-layer convolutional network of a search: two convolutions, two linear layers."""

from __future__ import annotations

from torch import nn

from autorobustloss.errors import ConfigError
from autorobustloss.models.network import Network
from autorobustloss.models.registry import MODELS


@MODELS.register("cnn4")
def cnn4(
    input_shape: tuple[int, ...], num_classes: int, channels: tuple[int, int] = (16, 32), hidden: int = 64
) -> Network:
    """Build a 4-layer CNN."""
    if len(input_shape) != 3:
        raise ConfigError(
            f"model 'cnn4': got inputs of shape {input_shape}, expected (C, H, W) images; "
            "for tables use linear, mlp2 or mlp3"
        )
    depth, height, width = input_shape
    first, second = channels
    body = nn.Sequential(
        nn.Conv2d(depth, first, 5, stride=2, padding=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(second * -(-height // 4) * -(-width // 4), hidden),
        nn.ReLU(inplace=True),
    )
    return Network(body, nn.Linear(hidden, num_classes))
