"""The gated loss in C: value, weights, gradient and memory of a batch in two sweeps over the logits, see `kernel`."""

from __future__ import annotations

import ctypes
import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from autorobustloss.losses import kernel
from autorobustloss.losses.gated.core import LABEL_WINDOW, SMALLEST, SURPRISE_WINDOW, Gate

THREADS = 4
"""Up to so many of PyTorch's threads are slower than the kernel's one: with two, by ten times and more."""

Swept = tuple[Tensor, Any, Tensor]
"""The mean loss, (), its gradient, (M, C), or None where nobody asked for it, and the weights, (M,)."""


def sweep(
    input: Tensor, target: Tensor, gate: Gate, memory: Tensor, *, learns: bool, gradient: bool, ignored: int
) -> Swept | None:
    """Return what a batch comes to; with `learns` it is taken into the memory, in place, before that is used.

    memory: see `State`. Not for use in compiled code. None, and the memory as it was, where the kernel does not do it:
    what `kernel.sweep` does not take, a masked class, a logit that is no number, a correction by label frequencies,
    numbers whose beliefs leave float32, or a memory of another precision or place.
    """
    library, numbers = kernel.library_for(input, target, THREADS), _packed(gate)
    if library is None or numbers is None or not _in_place(memory):
        return None
    rows, classes = input.shape
    value = torch.empty((), dtype=torch.float32, device="cpu")
    weights = torch.empty(rows, dtype=torch.float32, device="cpu")
    slope = torch.empty_like(input) if gradient else None
    failed = library.gated_loss(
        input.data_ptr(), target.data_ptr(), rows, classes, ignored, numbers, memory.data_ptr(), learns,
        weights.data_ptr(), value.data_ptr(), 0 if slope is None else slope.data_ptr(),
    )  # fmt: skip
    return None if failed else (value, slope, weights)


def _in_place(memory: Tensor) -> bool:
    return type(memory) is Tensor and memory.dtype is torch.float32 and memory.is_cpu and memory.is_contiguous()


@lru_cache(maxsize=1024)
def _packed(gate: Gate) -> Any:
    """Return the numbers as the kernel reads them, or None for those that it does not take."""
    largest = sum(max(term, 0.0) for term in gate.terms)
    if gate.prior or gate.own > 1.4 or (1 + gate.own) * largest > -SMALLEST:
        return None
    progress = math.inf if gate.progress is None else gate.progress
    fading = 1 - 1 / LABEL_WINDOW, 1 - 1 / SURPRISE_WINDOW
    numbers = gate.q, gate.r, gate.odds, gate.own, gate.pace, gate.smoothing, progress, *gate.terms, SMALLEST, *fading
    return (ctypes.c_float * len(numbers))(*numbers)
