"""Networks by name, and their initial weights as a pure function of a seed."""

from __future__ import annotations

from typing import Any

import torch

from autorobustloss.errors import ConfigError
from autorobustloss.models.network import Network
from autorobustloss.registry import MODELS, parse_call
from autorobustloss.seeding import derive_seed


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
