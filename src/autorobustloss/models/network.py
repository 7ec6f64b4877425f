"""What every network shares: a body that computes features, and a linear head on top of them."""

from __future__ import annotations

from torch import Tensor, nn


class Network(nn.Module):
    """A classifier in two parts: `features(x)` is (N, D), the penultimate activations; `forward(x)` their logits.

    >>> import torch
    >>> network = Network(nn.Flatten(), nn.Linear(4, 3))
    >>> network(torch.zeros(2, 1, 2, 2)).shape, network.features(torch.zeros(2, 1, 2, 2)).shape
    (torch.Size([2, 3]), torch.Size([2, 4]))
    """

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def features(self, x: Tensor) -> Tensor:
        """Return the penultimate activations: (N, …) -> (N, D)."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits: (N, …) -> (N, C)."""
        return self.head(self.features(x))
