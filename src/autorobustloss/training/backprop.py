"""What a step needs of the networks: the loss of a batch, its logits, and the gradients of the weights.

Autograd takes any objective. `Chain` takes one network of linear layers and ReLUs under one loss, as perceptrons and
`cnn4` are, and differentiates it by hand: for a small network on a CPU, autograd's calls are up to half of a step. Both
multiply the same matrices and return the same numbers, within rounding: to the last bit only where the library beneath
chooses the same kernels for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn

from autorobustloss.losses.base import value_and_gradient
from autorobustloss.models.cnn4 import Windows
from autorobustloss.models.network import Network, Rows
from autorobustloss.training.evaluation import autocast
from autorobustloss.training.objective import LossObjective, Objective

Backprop: TypeAlias = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor, Sequence[Tensor]]]
"""(inputs, labels, epoch) -> loss, logits, gradients in the order of the parameters; these last until the next call."""


def create_backprop(objective: Objective, parameters: Sequence[Tensor], precision: str) -> Backprop:
    """Return the fastest way to the gradients of the parameters, which are all that the objective trains."""
    if type(objective) is LossObjective and all(p.device.type == "cpu" for p in parameters):
        layers = linear_layers(objective.network)
        own = [p for layer in layers for p in (layer.weight, layer.bias)]
        if len(own) == len(parameters) and all(a is b and a.dtype == torch.float32 for a, b in zip(own, parameters)):
            return Chain(objective, layers, precision)
    return by_autograd(objective, parameters, precision)


def by_autograd(objective: Objective, parameters: Sequence[Tensor], precision: str) -> Backprop:
    """Return the gradients by PyTorch's autograd."""

    def backprop(x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        with autocast(precision, x.device):
            loss, logits = objective.loss(x, y, epoch)
        return loss.detach(), logits.detach(), torch.autograd.grad(loss, parameters)

    return backprop


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """Return the layers of a network that is linear layers with ReLUs between them, none for any other network.

    What the first layer is given may be flattened or be windows of an image; elsewhere a tensor may be read as rows of
    another length.
    """
    if type(network) is not Network or type(network.body) is not nn.Sequential or any(map(_hooked, network.modules())):
        return []
    first, *rest = (module for module in (*network.body, network.head) if type(module) is not Rows)
    layers = [module for module in rest[::2] if type(module) is nn.Linear and module.bias is not None]
    flattens = type(first) is nn.Flatten and (first.start_dim, first.end_dim) == (1, -1)
    between = all(type(module) is nn.ReLU for module in rest[1::2])
    return layers if (flattens or type(first) is Windows) and between and 2 * len(layers) - 1 == len(rest) else []


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


class Chain:
    """The gradients of z = Wₙ ReLU(… ReLU(W₁h₁ + b₁) …) + bₙ by hand.

    With hₗ the input of a layer, (rows, in), and gₗ the gradient in its output, (rows, out): ∂L/∂Wₗ = gₗᵀhₗ, ∂L/∂bₗ is
    the sum of gₗ over the rows, and gₗ₋₁ is gₗWₗ where hₗ > 0, elsewhere 0. In bfloat16 all of these are rounded, as
    autocast does it.
    """

    def __init__(self, objective: LossObjective, layers: Sequence[nn.Linear], precision: str) -> None:
        first = cast(nn.Sequential, objective.network.body)[0]
        # A module's own call takes longer than flattening does.
        self.enter = partial(torch.flatten, start_dim=1) if type(first) is nn.Flatten else first
        self.criterion = objective.criterion
        self.precision, self.dtype = precision, getattr(torch, precision)
        self.parameters = [p.data for layer in layers for p in (layer.weight, layer.bias)]
        self.gradients = [torch.empty_like(p) for p in self.parameters]
        # `to` copies where it has something to round, and only there.
        self.rounded = [p.to(self.dtype) for p in self.parameters]
        self.rounded_gradients = [g.to(self.dtype) for g in self.gradients]
        self.weights, self.biases = self.rounded[::2], self.rounded[1::2]
        self.transposed = [weight.t() for weight in self.weights]

    def __call__(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Return the loss of a batch, its logits, and the gradients."""
        inputs, logits = self.forward(x)
        with autocast(self.precision, x.device):
            loss, gradient = value_and_gradient(self.criterion, logits, y)
        self.backward(inputs, gradient)
        return loss, logits, self.gradients

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the input of every layer, and the logits."""
        h = self.enter(x)
        if self.dtype != torch.float32:
            torch._foreach_copy_(self.rounded, self.parameters)
            h = h.to(self.dtype)
        inputs = [h]
        for bias, weight, following in zip(self.biases, self.transposed, self.transposed[1:]):
            h = torch.addmm(bias, inputs[-1], weight).relu_()
            inputs.append(h.view(-1, len(following)))
        return inputs, torch.addmm(self.biases[-1], inputs[-1], self.transposed[-1])

    @torch.no_grad()
    def backward(self, inputs: list[Tensor], gradient: Tensor) -> None:
        """Write `gradients`, given that in the logits."""
        for n in reversed(range(len(inputs))):
            gradient = gradient.view(-1, len(self.weights[n]))
            torch.mm(gradient.t(), inputs[n], out=self.rounded_gradients[2 * n])
            torch.sum(gradient, 0, out=self.rounded_gradients[2 * n + 1])
            if n:
                gradient = torch.ops.aten.threshold_backward(gradient @ self.weights[n], inputs[n], 0)
        if self.dtype != torch.float32:
            torch._foreach_copy_(self.gradients, self.rounded_gradients)
