"""The 4-layer convolutional network of a search: two convolutions, two linear layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autorobustloss.models.network import Network, image_shape
from autorobustloss.models.registry import MODELS

KERNEL = 5


@MODELS.register("cnn4")
def cnn4(
    input_shape: tuple[int, ...], num_classes: int, channels: tuple[int, int] = (16, 32), hidden: int = 64
) -> Network:
    """Build a 4-layer CNN: 5x5 and 2x2 convolutions, both with stride 2, and two linear layers; ReLU between them.

    Every layer is a matrix product, see `Convolutions`: on one CPU core a step takes half the time of the same
    network made of nn.Conv2d at 28x28, and a third at 8x8.
    """
    shape = image_shape("cnn4", input_shape)
    convolutions = Convolutions(shape, *channels)
    body = nn.Sequential(convolutions, nn.Linear(convolutions.out_features, hidden), nn.ReLU(inplace=True))
    return Network(body, nn.Linear(hidden, num_classes))


class Convolutions(nn.Module):
    """Two convolutions with ReLU, 5x5 with stride 2 and padding 2, then 2x2 with stride 2, as two matrix products.

    Maps (N, C, H, W) to (N, ⌈H/4⌉·⌈W/4⌉·second), positions first, channels last; pixels beyond the border are 0.

    The first convolution gathers all its windows from the image (which needs no gradient, so nothing has to be
    scattered back), four neighbouring windows in a row: its output, read as rows of four times the length, is what
    the second one multiplies. Convolution kernels for few channels are far from a processor's peak, those of matrix
    products are not.

    Shapes of the weights: `first` (first, C·5·5), `second` (second, 2·2·first), rows ordered (position, channel).
    """

    windows: Tensor

    def __init__(self, input_shape: tuple[int, int, int], first: int, second: int) -> None:
        super().__init__()
        depth, height, width = input_shape
        self.first = nn.Linear(depth * KERNEL**2, first)
        self.second = nn.Linear(4 * first, second)
        self.out_features = -(-height // 4) * -(-width // 4) * second
        self.register_buffer("windows", window_indices(depth, height, width), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the activations of the second convolution, flattened."""
        with_zero = F.pad(x.flatten(1), (0, 1))
        windows = with_zero.index_select(1, self.windows).view(-1, self.first.in_features)
        once = F.relu(self.first(windows), inplace=True).view(-1, self.second.in_features)
        return F.relu(self.second(once), inplace=True).view(len(x), self.out_features)


def window_indices(depth: int, height: int, width: int) -> Tensor:
    """Return where in a flattened image the values of every 5x5 window lie, pixels beyond the border at its end.

    Windows are centred on every second pixel of an image whose sides are rounded up to a multiple of 4, and ordered
    (block of 2x2 windows, window in the block, channel, row, column).
    """
    blocks = torch.arange(-(-height // 4)), torch.arange(-(-width // 4))
    near, offsets = torch.arange(2), torch.arange(KERNEL) - KERNEL // 2
    # One axis each: block row, block column, window row, window column, channel, row, column.
    rows = 4 * blocks[0].view(-1, 1, 1, 1, 1, 1, 1) + 2 * near.view(-1, 1, 1, 1, 1) + offsets.view(-1, 1)
    columns = 4 * blocks[1].view(-1, 1, 1, 1, 1, 1) + 2 * near.view(-1, 1, 1, 1) + offsets
    channels = torch.arange(depth).view(-1, 1, 1)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return torch.where(inside, (channels * height + rows) * width + columns, depth * height * width).flatten()
