"""What trained networks say of samples, as text that a result can hold."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from autorobustloss.errors import StoreError
from autorobustloss.training import logits


def mean_logits(networks: Iterable[nn.Module], x: Tensor, precision: str = "float32") -> Tensor:
    """Return the mean logits of networks, (N, C) float32; their softmax is the geometric mean of probabilities."""
    return torch.stack([logits(network, x, precision) for network in networks]).mean(0).cpu()


def pack(outputs: Tensor) -> str:
    """Return (N, C) float32 numbers as base64 of their bytes, which keeps every bit and is half as long as digits.

    >>> unpack(pack(torch.tensor([[0.5, -1.0], [2.0, 3.0]])), 2)
    tensor([[ 0.5000, -1.0000],
            [ 2.0000,  3.0000]])
    """
    return base64.b64encode(outputs.numpy().astype("<f4").tobytes()).decode()


def unpack(text: str, num_classes: int) -> Tensor:
    """Return what `pack` made a text of; StoreError for another text, or one of another number of classes."""
    try:
        flat = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
        return torch.from_numpy(flat.astype(np.float32).reshape(-1, num_classes))
    except ValueError as error:
        raise StoreError(f"got stored outputs that do not read ({error}); remove the store and run again") from None
