"""Who looks at the code that runs: tracers, transformations, and tensors that are no numbers in a memory.

They follow plain operations to any depth, a custom `autograd.Function` only so far as it foresaw them, and nothing that
looks at values.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def transformed() -> bool:
    """Return whether transformations of torch.func, such as vmap, are at work: in traced code a constant."""
    return torch._C._are_functorch_transforms_active()


# What torch.compiler.assume_constant_result sets, and imports the compiler for; PyTorch 2.4 needs it.
transformed._dynamo_marked_constant = True  # type: ignore[attr-defined]


def one_node(function: Callable[..., object]) -> Callable[[], bool]:
    """Return what makes a function one node of the graph that is traced, and says whether it may be called.

    Dynamo, which traces for `torch.compile`, runs that where it meets it. It follows Python line by line and leaves a
    guard for each function and number that it meets; every step looks at all of them, which on a small batch takes
    longer than a loss. It does not look into one node; what compiles the graph finds its operations as usual. Not under
    transformations of torch.func, which follow plain operations only.
    """

    def ready() -> bool:
        torch.compiler.allow_in_graph(function)
        return not transformed()

    # As above; `allow_in_graph` imports the compiler too, so it is called no sooner.
    ready._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return ready


def seen_through() -> bool:
    """Return whether `torch.compile`, `vmap`, `grad`, forward mode or the like see through the code that runs."""
    compiled = torch.compiler.is_compiling()
    return compiled or torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def recorded() -> bool:
    """Return whether somebody other than `torch.compile` writes down the operations that run."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._len_torch_dispatch_stack() > 0 or torch._C._get_tracing_state() is not None


def real(values: Tensor) -> bool:
    """Return whether a tensor stands for numbers, as one on the meta device or a fake one does not."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(values):
        return True
    return values.device.type != "meta" and type(values).__torch_dispatch__ is Tensor.__torch_dispatch__


def readable(values: Tensor) -> bool:
    """Return whether looking at the values costs nothing: in eager mode, on the CPU, outside `vmap` and `grad`.

    A tensor may have none (a fake one, for planning), and whoever traces operations would take a value for a constant.
    """
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(values) or recorded():
        return False
    return values.device.type == "cpu" and real(values)


def plain(input: Tensor, target: Tensor) -> bool:
    """Return whether tensors are the numbers in their memory, and nobody follows what is done with these.

    Not so: a lazy negative, a zero without memory, a fake tensor, what `vmap` and the like see through or a tracer.
    """
    if type(input) not in (Tensor, torch.nn.Parameter) or type(target) is not Tensor or seen_through() or recorded():
        return False
    return not (input.is_neg() or input._is_zerotensor() or target.is_neg() or target._is_zerotensor())
