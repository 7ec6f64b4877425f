"""The gated loss for `torch.compile`: the mean of a batch as one node of the graph, see `modes.one_node`.

In it what compiles the graph finds either an operation of our own, the kernel in C, or the loss in as few loops over
the classes as cross-entropy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from autorobustloss.losses import kernel
from autorobustloss.losses.base import MASKED
from autorobustloss.losses.closed import traced
from autorobustloss.losses.gated.core import (
    TERMS,
    Gate,
    State,
    corrected,
    learnt,
    log_belief,
    seen_of,
    weighed,
    weight_of,
)
from autorobustloss.losses.gated.sweep import THREADS, sweep
from autorobustloss.losses.inputs import widened
from autorobustloss.losses.modes import one_node

LARGE = 1 << 16
"""From so many numbers on the kernel is faster than compiled loops, by more than its call costs."""


def mean(
    input: Tensor, labels: Tensor, ignored: int, gate: Sequence[float], memory: Tensor, learns: bool
) -> tuple[Tensor, Tensor]:
    """Return the mean loss of the labels that are not `ignored`, 0 of none, with its gradient; and the memory after it.

    input, labels: (M, C), (M,). gate: see `packed`. memory: see `State`; where the loss does not learn, or the kernel
    writes into it, what is returned is the same.
    """
    asks = torch.is_grad_enabled() and input.requires_grad
    input = widened(input)
    logits, memory = input.detach(), memory.to(input)
    large = logits.numel() >= LARGE and logits.dtype is torch.float32 and torch.get_num_threads() <= THREADS
    if large and logits.device.type == "cpu" and kernel.available():
        value, gradient = gated_loss(logits, labels, ignored, gate, memory, learns, asks)
    else:
        value, gradient, memory = worked_out(logits, labels, ignored, unpacked(gate), memory, learns)
    return traced(input, value, gradient) if asks else value, memory


ready = one_node(mean)


def packed(gate: Gate) -> tuple[float, ...]:
    """Return the numbers of a loss in one row."""
    q, r, terms, progress, *others = gate
    return (*terms, q, r, math.inf if progress is None else progress, *others)


def unpacked(numbers: Sequence[float]) -> Gate:
    """Return the numbers of a loss by name."""
    terms, (q, r, progress, *others) = tuple(numbers[: len(TERMS)]), numbers[len(TERMS) :]
    return Gate(q, r, terms, None if progress == math.inf else progress, *others)


def worked_out(
    logits: Tensor, labels: Tensor, ignored: int, gate: Gate, memory: Tensor, learns: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean, (), its gradient, (M, C), and the memory after the batch."""
    counted, state = labels != ignored, State.of(memory)
    labels, share = torch.where(counted, labels, 0), counted.to(logits.dtype)
    # A CPU compares int32 in vectors of as many numbers as float32, int64 in half as many.
    is_label = torch.arange(logits.shape[1], device=logits.device, dtype=torch.int32) == labels.unsqueeze(1).int()
    log_p, log_m, below, log_sum = _look(logits, labels, is_label)
    believed = log_p, log_m
    if gate.prior:
        known = state.labels + seen_of(state, labels, share) if learns else state.labels
        believed = _look(corrected(logits, known, gate), labels, is_label)[:2]
    log_b = log_belief(*believed, gate)
    if learns:
        memory = learnt(state, *believed, log_b, labels, share, gate).memory()
        state = State.of(memory)
    weight = weight_of(log_b, labels, counted, state, gate)
    value, gradient = -log_p, (below - log_sum).exp()
    if gate.smoothing:
        # 1 for a class, 0 where it is masked, by arithmetic: truth values would go through memory to the next pass.
        kept = below.clamp_min(MASKED)
        allowed = (kept - MASKED).clamp_max(1)
        classes = allowed.sum(1, keepdim=True)
        least = gate.smoothing / classes.clamp_min(1)
        total = (kept * allowed).sum(1, keepdim=True) - classes * log_sum
        value = (1 - gate.smoothing) * value - (least * total).squeeze(1)
        gradient = gradient - least * allowed
    number = share.sum().clamp_min(1)
    value = torch.where(counted, weighed(value, weight), 0.0).sum() / number
    share = torch.where(counted, weight / number, 0.0).unsqueeze(1)
    gradient = torch.where(counted.unsqueeze(1), gradient * share, 0.0)
    return value, gradient.scatter_add(1, labels.unsqueeze(1), share * (gate.smoothing - 1)), memory


def _look(logits: Tensor, labels: Tensor, is_label: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return log p and log m, (M,), and the log-probabilities as the difference of two, (M, C) and (M, 1)."""
    label = logits.gather(1, labels.unsqueeze(1))
    other = torch.where(is_label, -torch.inf, logits).amax(1, keepdim=True)
    largest = torch.maximum(other, label)
    below = logits - largest
    log_sum = below.exp().sum(1, keepdim=True).log()
    return (label - largest - log_sum).squeeze(1), (other - largest - log_sum).squeeze(1), below, log_sum


@torch.library.custom_op(
    "autorobustloss::gated_loss",
    mutates_args=("memory",),
    device_types="cpu",
    schema="(Tensor logits, Tensor labels, int ignored, float[] gate, Tensor(a!) memory, bool learns, bool slope) "
    "-> (Tensor, Tensor)",
)
def gated_loss(
    logits: Tensor, labels: Tensor, ignored: int, gate: Sequence[float], memory: Tensor, learns: bool, slope: bool
) -> tuple[Tensor, Tensor]:
    """Return the mean loss and, if `slope`, its gradient by the kernel, which writes into the memory if it learns."""
    numbers, logits = unpacked(gate), logits.contiguous()
    swept = sweep(logits, labels, numbers, memory, learns=learns, gradient=slope, ignored=ignored)
    if swept is not None:
        value, gradient, _ = swept
    else:
        value, gradient, after = worked_out(logits, labels, ignored, numbers, memory, learns)
        memory.copy_(after)
    return value, gradient if slope else logits.new_empty(0)


@gated_loss.register_fake
def _of_shape(
    logits: Tensor, labels: Tensor, ignored: int, gate: Sequence[float], memory: Tensor, learns: bool, slope: bool
) -> tuple[Tensor, Tensor]:
    return logits.new_empty(()), logits.new_empty(logits.shape if slope else 0)
