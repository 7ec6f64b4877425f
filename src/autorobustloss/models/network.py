"""Networks by name, their initial weights as a pure function of a seed, and what every network shares."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autorobustloss.errors import ConfigError
from autorobustloss.registry import MODELS, parse_call
from autorobustloss.seeding import derive_seed

WIDEST = 8
"""Of the networks that have a width: 64 times their weights."""

MOST_UNITS = 16384
"""Of a layer whose size is chosen."""


class Network(nn.Module):
    """A classifier in two parts: `features(x)` is (N, D), the penultimate activations; `forward(x)` their logits.

    >>> network = Network(nn.Flatten(), nn.Linear(4, 3))
    >>> network(torch.zeros(2, 1, 2, 2)).shape, network.features(torch.zeros(2, 1, 2, 2)).shape
    (torch.Size([2, 3]), torch.Size([2, 4]))
    """

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.head = head
        # Convolutions with weights in this layout hand it on; on a CPU they then take 20 to 35 % less time.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate activations: (N, …) -> (N, D)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits: (N, …) -> (N, C)."""
        return self.head(self.body(x))


def create_model(name: str, input_shape: tuple[int, ...], num_classes: int, **hyperparameters: Any) -> Network:
    """Build a network for inputs (C, H, W) or (F,) with PyTorch's usual random initial weights.

    `name` is a registered name, or one with hyper-parameters, such as "vgg11(width=0.25)".
    Raises UnknownNameError, and ConfigError for a shape or hyper-parameter that the network cannot take.

    >>> create_model("mlp2", (1, 28, 28), 10).head.in_features
    256
    """
    shape = tuple(int(n) for n in input_shape)
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise ConfigError(f"model {name!r}: got inputs of shape {shape}, expected (C, H, W) images or (F,) tables")
    if num_classes < 2:
        raise ConfigError(f"model {name!r}: got {num_classes} classes, expected at least 2")
    base, options = parse_call("model", name)
    return MODELS.create(base, shape, num_classes, **options, **hyperparameters)


def build_model(
    name: str, input_shape: tuple[int, ...], num_classes: int, seed: int, **hyperparameters: Any
) -> Network:
    """Build a network whose initial weights are a pure function of `seed`; no global random state is touched.

    >>> a, b = (build_model("linear", (4,), 3, seed=0) for _ in range(2))
    >>> torch.equal(a.head.weight, b.head.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(derive_seed("init", seed))
        return create_model(name, input_shape, num_classes, **hyperparameters)


def list_models() -> list[str]:
    """Return the names that `create_model` knows."""
    return MODELS.names()


class Rows(nn.Module):
    """Reads a tensor as rows of a given length: (…) to (M, length)."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        """Return the rows."""
        return x.view(-1, self.length)


def image_shape(model: str, input_shape: tuple[int, ...], smallest: int = 1) -> tuple[int, int, int]:
    """Return (C, H, W), or raise ConfigError for tables and for images too small for a network."""
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise ConfigError(
            f"model {model!r}: got inputs of shape {input_shape}, expected images (C, H, W) of at least "
            f"{smallest}x{smallest}; for others use linear, mlp2 or mlp3"
        )
    depth, height, width = input_shape
    return depth, height, width


def scaled(channels: int, width: float) -> int:
    """Return a number of channels times a width, at least 1.

    >>> scaled(64, 0.25)
    16
    """
    if isinstance(width, bool) or not isinstance(width, (int, float)) or not 0 < width <= WIDEST:
        raise ConfigError(f"model: got width={width!r}, expected a fraction above 0, at most {WIDEST}, such as 0.25")
    return max(1, round(channels * width))


def sizes(name: str, value: object, count: int) -> tuple[int, ...]:
    """Return so many sizes of layers from a hyper-parameter that is one number or a sequence; else ConfigError.

    >>> sizes("hidden", [256, 128], 2)
    (256, 128)
    """
    numbers = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    whole = all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= MOST_UNITS for n in numbers)
    if not whole or len(numbers) != count:
        wanted = "a whole number" if count == 1 else f"{count} whole numbers"
        example = {1: "64", 2: "(16, 32)"}[count]
        raise ConfigError(f"model: got {name}={value!r}, expected {wanted} from 1 to {MOST_UNITS:,}, such as {example}")
    return numbers


def convolution(into: int, out: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """Return a convolution that keeps the size of its input, up to the stride."""
    return nn.Conv2d(into, out, kernel, stride=stride, padding=kernel // 2, bias=bias)


def block(into: int, out: int, kernel: int = 3, stride: int = 1, bias: bool = False) -> list[nn.Module]:
    """Return a convolution, batch normalisation, and ReLU."""
    return [convolution(into, out, kernel, stride, bias), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
