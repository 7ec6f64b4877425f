"""Optimisers and their schedules: the maths of torch.optim with as little around it as a small network can bear."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from autorobustloss.training.protocol import TrainingProtocol


def learning_rate(protocol: TrainingProtocol, epoch: int) -> float:
    """Return the learning rate of an epoch (from 1).

    With i = epoch − 1 of E epochs: cosine lr·(1 + cos(πi/E))/2; steps lr·Π gamma over the milestones ≤ i;
    linear lr·(E − i)/(E − m) from the first milestone m on.

    >>> [round(learning_rate(TrainingProtocol(lr=1.0, epochs=4, schedule="cosine"), e), 3) for e in (1, 2, 3, 4)]
    [1.0, 0.854, 0.5, 0.146]
    """
    done, epochs = epoch - 1, protocol.epochs
    if protocol.schedule == "cosine":
        return protocol.lr * (1 + math.cos(math.pi * done / epochs)) / 2
    if protocol.schedule == "steps":
        gamma = protocol.gamma
        factors = gamma if isinstance(gamma, tuple) else (gamma,) * len(protocol.milestones)
        return protocol.lr * math.prod(g for m, g in zip(protocol.milestones, factors) if m <= done)
    if protocol.schedule == "linear" and done >= protocol.milestones[0]:
        return protocol.lr * (epochs - done) / (epochs - protocol.milestones[0])
    return protocol.lr


def momentum(protocol: TrainingProtocol, epoch: int) -> float:
    """Return the momentum (Adam's β₁) of an epoch (from 1).

    >>> protocol = TrainingProtocol(milestones=(2,), late_momentum=0.1)
    >>> [momentum(protocol, epoch) for epoch in (1, 2, 3)]
    [0.9, 0.9, 0.1]
    """
    if protocol.late_momentum is not None and epoch > protocol.milestones[0]:
        return protocol.late_momentum
    return protocol.momentum


class SGD:
    """torch.optim.SGD's update by the kernel that it calls with `fused=True`.

    The optimiser object's bookkeeping takes a fifth of the step of a small perceptron on the CPU.
    """

    def __init__(self, parameters: Sequence[Tensor], protocol: TrainingProtocol) -> None:
        self.parameters = list(parameters)
        self.velocities = [torch.zeros_like(p) for p in parameters]
        self.nesterov = protocol.nesterov
        self.weight_decay = protocol.weight_decay

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], lr: float, momentum: float) -> None:
        """Update the parameters in place."""
        torch._fused_sgd_(
            self.parameters,
            list(gradients),
            self.velocities if momentum else [],
            weight_decay=self.weight_decay,
            momentum=momentum,
            lr=lr,
            dampening=0.0,
            nesterov=self.nesterov and momentum > 0,
            maximize=False,
            is_first_step=False,
        )


class Adam:
    """torch.optim.Adam's or AdamW's update by the kernels that they call with `fused=True`; momentum is β₁.

    The optimiser object imports PyTorch's compiler at its first step: two seconds, and 70 MB.
    """

    def __init__(self, parameters: Sequence[Tensor], protocol: TrainingProtocol) -> None:
        self.update = torch._fused_adamw_ if protocol.optimizer == "adamw" else torch._fused_adam_
        self.parameters = list(parameters)
        self.means, self.squares = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
        self.steps = [torch.zeros((), device=p.device) for p in parameters]
        self.weight_decay = protocol.weight_decay

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], lr: float, momentum: float) -> None:
        """Update the parameters in place."""
        torch._foreach_add_(self.steps, 1)
        self.update(
            self.parameters,
            list(gradients),
            self.means,
            self.squares,
            [],
            self.steps,
            lr=lr,
            beta1=momentum,
            beta2=0.999,
            weight_decay=self.weight_decay,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )


def create_optimiser(parameters: Sequence[Tensor], protocol: TrainingProtocol) -> SGD | Adam:
    """Build the protocol's optimiser."""
    return (SGD if protocol.optimizer == "sgd" else Adam)(parameters, protocol)


def add_penalty_(gradients: Sequence[Tensor], parameters: Sequence[Tensor], l1: float) -> None:
    """Add the gradient of l1·Σ|w| to gradients in place: l1·sign(w), 0 where a weight is 0."""
    torch._foreach_add_(list(gradients), torch._foreach_sign([p.detach() for p in parameters]), alpha=l1)


def clip_norm_(gradients: Sequence[Tensor], largest: float) -> None:
    """Scale gradients in place so that their joint Euclidean norm is at most `largest`; no synchronisation."""
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(gradients))))
    torch._foreach_mul_(list(gradients), (largest / (norm + 1e-6)).clamp_max(1.0))
