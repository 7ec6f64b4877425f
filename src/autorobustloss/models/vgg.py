"""VGG-11 for images of any size."""

from __future__ import annotations

from torch import nn

from autorobustloss.models.network import Network, block, image_shape, scaled
from autorobustloss.registry import MODELS

STAGES = ((64,), (128,), (256, 256), (512, 512), (512, 512))


@MODELS.register("vgg11")
def vgg11(input_shape: tuple[int, ...], num_classes: int, width: float = 1.0) -> Network:
    """Build VGG-11 with batch normalisation: eight 3x3 convolutions in five stages, each followed by max-pooling.

    The poolings round up, so that images smaller than 32x32 pass through all five; what is left of larger ones is
    averaged. One linear layer instead of the three for ImageNet, as is usual for small images. `width` multiplies the
    channels.
    Source: Simonyan & Zisserman, Very Deep Convolutional Networks, ICLR 2015, configuration A.
    """
    depth, _, _ = image_shape("vgg11", input_shape)
    layers: list[nn.Module] = []
    for stage in STAGES:
        for channels in stage:
            out = scaled(channels, width)
            layers += block(depth, out)
            depth = out
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    return Network(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(depth, num_classes))
