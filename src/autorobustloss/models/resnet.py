"""ResNet-18, with a stem for small images or ImageNet's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from autorobustloss.errors import ConfigError
from autorobustloss.models.network import Network, block, convolution, image_shape, scaled
from autorobustloss.registry import MODELS


@MODELS.register("resnet18")
def resnet18(
    input_shape: tuple[int, ...], num_classes: int, width: float = 1.0, imagenet_stem: bool = False
) -> Network:
    """Build ResNet-18: a stem, four stages of two residual blocks (64 to 512 channels), global average pooling.

    The stem is a 3x3 convolution without pooling, the form for 16x16 to 64x64 images; `imagenet_stem` is a 7x7
    convolution with stride 2 and 3x3 max-pooling, for 224x224 (Clothing1M). `width` multiplies the channels.
    Source: He et al., Deep Residual Learning, CVPR 2016, table 1.
    """
    depth, _, _ = image_shape("resnet18", input_shape)
    first = scaled(64, width)
    if not isinstance(imagenet_stem, bool):
        raise ConfigError(f"model: got imagenet_stem={imagenet_stem!r:.80}, expected True or False")
    kernel, stride = (7, 2) if imagenet_stem else (3, 1)
    layers = block(depth, first, kernel, stride)
    if imagenet_stem:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    depth = first
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        out = scaled(channels, width)
        layers += [ResidualBlock(depth, out, stride), ResidualBlock(out, out)]
        depth = out
    return Network(nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(depth, num_classes))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation around a shortcut (a 1x1 convolution where the shape changes).

    The shortcut takes every `stride`-th pixel and convolves at stride 1, which is the same as a convolution with that
    stride: oneDNN's gradient of the latter, for 2 to 7 channels in the channels-last layout, writes beyond its memory
    on processors with AVX2 and without AVX-512 (seen with PyTorch 2.13), and the process dies.
    """

    def __init__(self, into: int, out: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(*block(into, out, stride=stride), convolution(out, out), nn.BatchNorm2d(out))
        self.stride = stride
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or into != out:
            self.shortcut = nn.Sequential(convolution(into, out, kernel=1), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """Return ReLU(shortcut + residual)."""
        pixels = x[:, :, :: self.stride, :: self.stride]
        return F.relu(self.shortcut(pixels) + self.residual(x), inplace=True)
