"""Sharpness-aware minimisation: the gradient where the loss is worst nearby."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from autorobustloss.losses.literature.base import within
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import METHODS
from autorobustloss.training import LossObjective


@METHODS.register("sam")
def sharpness_aware(rho: float = 0.05, loss: str = "ce") -> Procedure:
    """Build sharpness-aware minimisation: each step takes the gradient at w + ρ·g/‖g‖, g the gradient at w.

    rho: ρ, 0.05 as published; it costs two passes a step. loss: as text; one with a memory sees every batch twice.
    Running statistics of batch normalisation follow the first pass.
    Source: Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021, algorithm 1.
    """
    rho, spec = within("rho", rho, at_least=0), MethodSpec.parse(loss)

    def run(setting: Setting) -> Trained:
        return setting.fit(SharpnessAware(setting.network(), setting.criterion(spec), rho))

    return Procedure(run)


class SharpnessAware(LossObjective):
    """One network under one loss, whose gradient is that at the worst of the weights nearby, to first order."""

    def __init__(self, network: nn.Module, criterion: nn.Module, rho: float) -> None:
        super().__init__(network, criterion)
        self.rho = rho

    def loss(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the loss at the weights, with the gradient of that nearby, and the logits at the weights."""
        logits = self.network(x)
        here = self.criterion(logits, y)
        weights = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        slopes = torch.autograd.grad(here, list(weights.values()))
        length = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(slope) for slope in slopes]))
        step = self.rho / (length + 1e-12)
        worst = {name: p + step * slope for (name, p), slope in zip(weights.items(), slopes)}
        buffers = {name: b.clone() for name, b in self.network.named_buffers()}
        there = self.criterion(functional_call(self.network, {**worst, **buffers}, (x,)), y)
        return there + (here - there).detach(), logits
