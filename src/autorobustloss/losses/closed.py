"""A loss whose gradient in the logits was worked out together with its value, in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autorobustloss.errors import LossInputError
from autorobustloss.losses.modes import readable

Plain = Callable[[Tensor], Tensor]
"""The same loss of the logits by plain operations, for derivatives of the gradient."""


def with_gradient(input: Tensor, value: Tensor, gradient: Tensor, plain: Plain) -> Tensor:
    """Return the value, () or (M,), with its gradient in the logits, (M, C): of the one number, or of each row."""
    if torch.compiler.is_compiling():
        return traced(input, value, gradient)
    return _Eager.apply(input, (value, gradient), plain)


def traced(input: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
    """Return the same in code that `torch.compile` traces."""
    return _Compiled.apply(input, value, gradient)


# Whether the backward pass that runs keeps its graph for another one; PyTorch 2.4 does not tell.
_backward_again: Callable[[], bool] = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", lambda: True)


class _Eager(torch.autograd.Function):
    """The value as it is; the backward pass has nothing left to do where it is asked for the gradient of one number.

    The logits themselves are needed for derivatives of the gradient only, so who changes them in place afterwards does
    no harm, as under cross-entropy, before he asks for these: that is refused. PyTorch's own check would refuse both.

    In the older style, for `setup_context` takes as long as ten operations on a small batch; no `vmap` reaches it.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, found: tuple[Tensor, Tensor], plain: Plain) -> Tensor:
        value, gradient = found
        ctx.save_for_backward(gradient)
        ctx.input, ctx.version, ctx.plain = input, input._version, plain
        return value

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        again = _backward_again()
        if torch.is_grad_enabled():  # double backward
            if ctx.input._version != ctx.version:
                raise LossInputError(
                    "got logits that were changed in place between the loss and a derivative of its gradient, expected "
                    "those that the loss was taken of; change a copy: logits.clone()"
                )
            (gradient,) = torch.autograd.grad(ctx.plain(ctx.input), ctx.input, grad, create_graph=True)
        elif not _is_one(grad):
            gradient = gradient * grad.unsqueeze(-1)
        elif again:  # somebody may change in place what he is given
            gradient = gradient.clone()
        if not again:
            ctx.input = ctx.plain = None
        return gradient, None, None


class _Compiled(torch.autograd.Function):
    """The same for `torch.compile`, whose tracer splits what was worked out between its two passes as it likes."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad.unsqueeze(-1), None, None


def _is_one(grad: Tensor) -> bool:
    """Return whether the gradient of a mean is 1, as it mostly is, if a look at it costs nothing."""
    if grad.ndim or torch._C._functorch.is_legacy_batchedtensor(grad) or not readable(grad):
        return False
    return grad.item() == 1
