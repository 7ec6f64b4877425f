"""What is optimised: one or several networks and the loss they share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Objective:
    """Networks, and the scalar that one optimiser minimises over all their parameters."""

    networks: nn.ModuleList
    index: Tensor
    """Places of the batch's samples in the training split, (N,): the loop sets it before it asks for a loss."""

    def loss(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch in `epoch` (from 1), and its logits, (N, C) or (networks, N, C)."""
        raise NotImplementedError


class LossObjective(Objective):
    """One network under one loss.

    >>> import torch
    >>> objective = LossObjective(nn.Linear(2, 3), nn.CrossEntropyLoss())
    >>> loss, logits = objective.loss(torch.zeros(4, 2), torch.tensor([0, 1, 2, 0]), epoch=1)
    >>> logits.shape
    torch.Size([4, 3])
    """

    def __init__(self, network: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.networks = nn.ModuleList([network])
        self.network = network
        self.criterion = criterion

    def loss(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the criterion of the network's logits against the labels, and the logits."""
        logits = self.network(x)
        return self.criterion(logits, y), logits
