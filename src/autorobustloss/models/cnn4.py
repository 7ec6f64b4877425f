"""The 4-layer convolutional network of a search: two convolutions, two linear layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autorobustloss.models.network import Network, Rows, image_shape, sizes
from autorobustloss.registry import MODELS

KERNEL = 5


@MODELS.register("cnn4")
def cnn4(
    input_shape: tuple[int, ...], num_classes: int, channels: tuple[int, int] = (16, 32), hidden: int = 64
) -> Network:
    """Build a 4-layer CNN: 5x5 and 2x2 convolutions, both with stride 2, and two linear layers; ReLU between them.

    Every layer is a matrix product. The first convolution, with padding 2, multiplies all its windows, which `Windows`
    gathers from the image, four neighbouring ones in a row: its output, read as rows of four times the length, is what
    the second one multiplies. Convolution kernels for few channels are far from a processor's peak, those of matrix
    products are not. On one CPU core a step takes half the time of the same network made of nn.Conv2d at 28x28, and a
    third at 8x8.

    Shapes of the weights: (channels₁, C·5·5); (channels₂, 2·2·channels₁) and (hidden, ⌈H/4⌉·⌈W/4⌉·channels₂), columns
    in the order (position, channel); the head's.
    """
    depth, height, width = image_shape("cnn4", input_shape)
    first, second = sizes("channels", channels, 2)
    (hidden,) = sizes("hidden", hidden, 1)
    features = -(-height // 4) * -(-width // 4) * second
    body = nn.Sequential(
        Windows((depth, height, width)),
        nn.Linear(depth * KERNEL**2, first),
        nn.ReLU(inplace=True),
        Rows(4 * first),
        nn.Linear(4 * first, second),
        nn.ReLU(inplace=True),
        Rows(features),
        nn.Linear(features, hidden),
        nn.ReLU(inplace=True),
    )
    return Network(body, nn.Linear(hidden, num_classes))


class Windows(nn.Module):
    """All 5x5 windows of an image at stride 2 and padding 2: (N, C, H, W) to (N · windows, C·5·5).

    Pixels beyond the border are 0. The image needs no gradient, so nothing has to be scattered back.
    """

    indices: Tensor

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.length = input_shape[0] * KERNEL**2
        self.register_buffer("indices", window_indices(*input_shape), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the windows, image by image, in the order of `window_indices`."""
        with_zero = F.pad(x.flatten(1), (0, 1))
        return with_zero.index_select(1, self.indices).view(-1, self.length)


def window_indices(depth: int, height: int, width: int) -> Tensor:
    """Return where in a flattened image the values of every 5x5 window lie, pixels beyond the border at its end.

    Windows are centred on every second pixel of an image whose sides are rounded up to a multiple of 4, and ordered
    (block of 2x2 windows, window in the block, channel, row, column).
    """
    beyond = depth * height * width
    pixels = torch.arange(beyond).view(depth, height, width)
    edge = KERNEL // 2
    padded = F.pad(pixels, (edge, edge + -width % 4, edge, edge + -height % 4), value=beyond)
    windows = padded.unfold(1, KERNEL, 2).unfold(2, KERNEL, 2)  # (C, row, column, 5, 5)
    _, rows, columns, _, _ = windows.shape
    blocks = windows.reshape(depth, rows // 2, 2, columns // 2, 2, KERNEL, KERNEL)
    return blocks.permute(1, 3, 2, 4, 0, 5, 6).flatten()
