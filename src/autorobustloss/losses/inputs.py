"""What a loss may be given: shapes, labels, probabilities and weights are checked, and laid out as rows.

Values are looked at on a CPU in eager mode only (`modes.readable`): elsewhere a look would wait for the device, or
cannot be had.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from autorobustloss.errors import LossInputError, UnsupportedArgumentError
from autorobustloss.losses.modes import readable

OFF_ONE = 0.02
"""Rows of probabilities may sum to so much more or less than 1: bfloat16 rounds by 0.004, and each step once more."""


def check_shapes(input: Tensor, target: Tensor) -> None:
    """Raise LossInputError unless input and target fit together as in `CrossEntropyLoss`."""
    if not (isinstance(input, Tensor) and isinstance(target, Tensor)):
        raise LossInputError(
            f"got input of {type(input).__name__} and target of {type(target).__name__}, expected two tensors; for the "
            "outputs of a model pass their logits, as in lambda outputs, labels, **more: criterion(outputs['logits'], "
            "labels, **more)"
        )
    if not torch.is_floating_point(input) or input.ndim == 0:
        raise LossInputError(
            f"got input of shape {tuple(input.shape)} and {input.dtype}, expected floating-point logits "
            "of shape (N, C), (C,) or (N, C, d1, …), not a scalar"
        )
    classes = input.shape[0] if input.ndim == 1 else input.shape[1]
    if classes < 2:
        raise LossInputError(
            f"got logits for {classes} class (input of shape {tuple(input.shape)}), expected at least 2 classes; "
            "for two classes give a logit to each: torch.cat([torch.zeros_like(z), z], dim=1) for z of shape (N, 1)"
        )
    if torch.is_floating_point(target):
        if target.shape != input.shape:
            raise LossInputError(
                f"got probabilities of shape {tuple(target.shape)} for logits of shape {tuple(input.shape)}, "
                "expected equal shapes; for class indices pass an integer tensor (target.long())"
            )
        return
    if target.dtype == torch.bool or target.is_complex():
        raise LossInputError(f"got target of {target.dtype}, expected class indices (int64) or probabilities (float)")
    expected = rows_of(input)
    if tuple(target.shape) != expected:
        raise LossInputError(
            f"got class indices of shape {tuple(target.shape)} for logits of shape {tuple(input.shape)}, "
            f"expected {expected}"
        )


def rows_of(input: Tensor) -> tuple[int, ...]:
    """Return the shape of one number for each label: (N,), () or (N, d1, …) for logits (N, C), (C,) or (N, C, d1, …).

    >>> rows_of(torch.zeros(2, 10, 4, 4))
    (2, 4, 4)
    """
    return () if input.ndim == 1 else (input.shape[0], *input.shape[2:])


def flatten(values: Tensor) -> Tensor:
    """Bring (C,), (N, C) or (N, C, d1, …) to (M, C), classes last."""
    if values.ndim == 1:
        return values.unsqueeze(0)
    if values.ndim == 2:
        return values
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def widened(logits: Tensor) -> Tensor:
    """Return logits in the precision that losses are worked out in: float32 for those in half precision."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def all_count(labels: Tensor, classes: int, ignore_index: int) -> bool:
    """Return whether every label is known to be a class and none to be ignored, so that nothing need be masked.

    Masking costs more than a typical loss. Raises LossInputError for a label that is neither; False where values are
    not `readable`: under `compile` and `vmap`, and on a GPU, where such a label trips the device-side assertion of the
    gather, as it does in `CrossEntropyLoss`.
    """
    if labels.numel() == 0 or not readable(labels):
        return False
    low, high = (int(bound) for bound in labels.aminmax())
    if low >= 0 and high < classes:
        return not low <= ignore_index <= high
    bad = labels[(labels != ignore_index) & ((labels < 0) | (labels >= classes))]
    if len(bad):
        got = sorted(set(bad.tolist()))[:5]
        raise LossInputError(
            f"got labels {got} for {classes} classes, expected 0 to {classes - 1} (or ignore_index to leave out)"
        )
    return False


def check_probabilities(probabilities: Tensor) -> None:
    """Raise LossInputError for rows, (M, C), that are no distributions, where values are `readable`."""
    if probabilities.numel() == 0 or not readable(probabilities):
        return
    values = probabilities.detach()
    low, sums = values.amin(), values.sum(dim=1)
    # Below 0 by the rounding of 1 − Σ is meant to be 0; NaN fails every comparison.
    if low.item() >= -torch.finfo(values.dtype).eps and (sums - 1).abs().amax().item() <= OFF_ONE:
        return
    raise LossInputError(
        f"got probabilities from {low.item():g} to {values.amax().item():g} whose rows sum to {sums.amin().item():g} "
        f"to {sums.amax().item():g}, expected numbers >= 0 that sum to 1 over the classes, such as mixed one-hot rows. "
        "For two classes give both, (1 − p, p), for two logits; several labels a sample (multi-label) are for "
        "autorobustloss.MultiLabel(loss)"
    )


def checked_sample_weight(sample_weight: Any, input: Tensor) -> Tensor:
    """Return the weights of samples as a tensor; raise LossInputError for what they cannot be."""
    try:
        weights = torch.as_tensor(sample_weight)
    except (TypeError, ValueError, RuntimeError):
        raise LossInputError(f"got sample_weight={sample_weight!r:.80}, expected a tensor of numbers") from None
    expected = rows_of(input)
    if tuple(weights.shape) != expected or weights.is_complex():
        raise LossInputError(
            f"got sample_weight of shape {tuple(weights.shape)} and {weights.dtype} for logits of shape "
            f"{tuple(input.shape)}, expected a number for each label, shape {expected}"
        )
    if weights.numel() and readable(weights) and not 0 <= weights.amin().item() <= weights.amax().item() < math.inf:
        low, high = weights.amin().item(), weights.amax().item()
        raise LossInputError(f"got sample_weight from {low:g} to {high:g}, expected finite numbers >= 0")
    return weights


def either(normalizer: float | Tensor | None, num_items_in_batch: int | Tensor | None) -> float | Tensor | None:
    """Return the normalizer by whichever of its two names it was given."""
    if normalizer is not None and num_items_in_batch is not None:
        raise UnsupportedArgumentError(
            "got normalizer and num_items_in_batch, expected one of them: both are what a mean divides by"
        )
    return num_items_in_batch if normalizer is None else normalizer
