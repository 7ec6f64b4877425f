"""Optimisers, learning-rate schedules, and the two ways of looking at smoother weights than the optimiser's."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from autorobustloss.training.protocol import Protocol


def learning_rate(protocol: Protocol, epoch: int) -> float:
    """Return the learning rate of an epoch (from 1).

    With i = epoch − 1 of E epochs: cosine lr·(1 + cos(πi/E))/2; steps lr·gamma^(milestones ≤ i);
    linear lr·min(1, (E − i)/(E − m)) with m the first milestone.

    >>> [round(learning_rate(Protocol(lr=1.0, epochs=4, schedule="cosine"), e), 3) for e in (1, 2, 3, 4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    done, epochs = epoch - 1, protocol.epochs
    if protocol.schedule == "cosine":
        return protocol.lr * (1 + math.cos(math.pi * done / epochs)) / 2
    if protocol.schedule == "steps":
        return protocol.lr * protocol.gamma ** sum(m <= done for m in protocol.milestones)
    if protocol.schedule == "linear" and done >= protocol.milestones[0]:
        return protocol.lr * (epochs - done) / (epochs - protocol.milestones[0])
    return protocol.lr


def create_optimizer(parameters: Iterable[Tensor], protocol: Protocol) -> torch.optim.Optimizer:
    """Build the protocol's optimiser from torch.optim."""
    parameters = list(parameters)
    if protocol.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=protocol.lr,
            momentum=protocol.momentum,
            nesterov=protocol.nesterov,
            weight_decay=protocol.weight_decay,
            fused=True,
        )
    kind = torch.optim.Adam if protocol.optimizer == "adam" else torch.optim.AdamW
    betas = (protocol.momentum, 0.999)
    return kind(parameters, lr=protocol.lr, betas=betas, weight_decay=protocol.weight_decay, fused=True)
