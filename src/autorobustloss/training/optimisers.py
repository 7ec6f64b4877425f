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
    weights, is_sgd = list(parameters), protocol.optimizer == "sgd"
    moments = [[torch.zeros_like(p) for p in weights] for _ in range(1 if is_sgd else 2)]
    steps = [torch.zeros((), device=p.device) for p in weights]
    adam: Any = torch._fused_adamw_ if protocol.optimizer == "adamw" else torch._fused_adam_
    fixed: Any = {"weight_decay": protocol.weight_decay, "maximize": False}

    @torch.no_grad()
    def sgd_update(gradients: Sequence[Tensor], lr: float, momentum: float) -> None:
        given = {"lr": lr, "momentum": momentum, "nesterov": protocol.nesterov and momentum > 0, **fixed}
        velocities = moments[0] if momentum else []
        torch._fused_sgd_(weights, list(gradients), velocities, dampening=0.0, is_first_step=False, **given)

    @torch.no_grad()
    def adam_update(gradients: Sequence[Tensor], lr: float, momentum: float) -> None:
        torch._foreach_add_(steps, 1)
        given = {"lr": lr, "beta1": momentum, "beta2": 0.999, "eps": 1e-8, **fixed}
        adam(weights, list(gradients), *moments, [], steps, amsgrad=False, **given)

    return sgd_update if is_sgd else adam_update


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
