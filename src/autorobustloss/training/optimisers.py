"""The updates of torch.optim, without what its optimiser objects do around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from autorobustloss.training.protocol import TrainingProtocol

Update: TypeAlias = Callable[[Sequence[Tensor], float, float], None]
"""(gradients, learning rate, momentum) -> None; moves the parameters in place."""


def create_optimiser(parameters: Sequence[Tensor], protocol: TrainingProtocol) -> Update:
    """Return the protocol's update, by the kernels that torch.optim calls with `fused=True`; Adam's momentum is β₁.

    The bookkeeping of torch.optim's objects takes a third of the step of a small perceptron on the CPU, and Adam's
    imports PyTorch's compiler at the first one: two seconds, and 70 MB.
    """
    return (_sgd if protocol.optimizer == "sgd" else _adam)(list(parameters), protocol)


def _sgd(parameters: list[Tensor], protocol: TrainingProtocol) -> Update:
    velocities = [torch.zeros_like(p) for p in parameters]
    decay, nesterov = protocol.weight_decay, protocol.nesterov
    fixed: Any = {"dampening": 0.0, "maximize": False, "is_first_step": False}

    @torch.no_grad()
    def update(gradients: Sequence[Tensor], lr: float, momentum: float) -> None:
        kept, ahead = (velocities, nesterov) if momentum else ([], False)
        given: Any = {"lr": lr, "momentum": momentum, "weight_decay": decay, "nesterov": ahead}
        torch._fused_sgd_(parameters, list(gradients), kept, **given, **fixed)

    return update


def _adam(parameters: list[Tensor], protocol: TrainingProtocol) -> Update:
    kernel = torch._fused_adamw_ if protocol.optimizer == "adamw" else torch._fused_adam_
    decay = protocol.weight_decay
    means, squares = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    steps = [torch.zeros((), device=p.device) for p in parameters]
    fixed: Any = {
        "weight_decay": protocol.weight_decay,
        "beta2": 0.999,
        "eps": 1e-8,
        "amsgrad": False,
        "maximize": False,
    }

    @torch.no_grad()
    def update(gradients: Sequence[Tensor], lr: float, momentum: float) -> None:
        torch._foreach_add_(steps, 1)
        kernel(
            parameters, list(gradients), means, squares, [], steps, lr=lr, beta1=momentum, weight_decay=decay, **fixed
        )

    return update


def add_penalty_(gradients: Sequence[Tensor], parameters: Sequence[Tensor], l1: float) -> None:
    """Add the gradient of l1·Σ|w| to gradients in place: l1·sign(w), 0 where a weight is 0."""
    torch._foreach_add_(list(gradients), torch._foreach_sign([p.detach() for p in parameters]), alpha=l1)


def joint_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Return the Euclidean norm of all numbers in all tensors."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t) for t in tensors]))


def clip_norm_(gradients: Sequence[Tensor], largest: float) -> Tensor:
    """Scale gradients in place so that their joint norm is at most `largest`; return what it was."""
    norm = joint_norm(gradients)
    factor = (largest / (norm + 1e-6)).clamp_max(1.0)  # no synchronisation
    for gradient in gradients:
        gradient.mul_(factor)
    return norm
