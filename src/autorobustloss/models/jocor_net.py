"""The medium-sized CNN of JoCoR."""

from __future__ import annotations

from torch import nn

from autorobustloss.models.network import Network, block, image_shape, scaled
from autorobustloss.registry import MODELS

CHANNELS = (64, 64, 128, 128, 196, 16)


@MODELS.register("jocor-net")
def jocor_net(input_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> Network:
    """Build JoCoR's CNN: six 3x3 convolutions with batch normalisation and ReLU, 2x2 max-pooling after every second.

    518,150 parameters for 32x32 RGB and 10 classes, as published. Other images (8x8 or more) are neither padded nor
    resized: the linear layer has 16·⌊H/8⌋·⌊W/8⌋ inputs. `width` multiplies the channels.
    Source: Wei et al., Combating Noisy Labels by Agreement, CVPR 2020, and its published code.
    """
    depth, height, side = image_shape("jocor-net", input_shape, smallest=8)
    layers: list[nn.Module] = []
    for number, channels in enumerate(CHANNELS):
        out = scaled(channels, width)
        layers += block(depth, out, bias=True)
        if number % 2:
            layers.append(nn.MaxPool2d(2))
        depth = out
    return Network(nn.Sequential(*layers, nn.Flatten()), nn.Linear(depth * (height // 8) * (side // 8), num_classes))
