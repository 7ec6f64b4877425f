"""What every loss shares: the arguments, shapes and reductions of `torch.nn.CrossEntropyLoss`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autorobustloss.errors import ConfigError, LossInputError, UnsupportedArgumentError
from autorobustloss.losses.modes import readable

REDUCTIONS = ("mean", "sum", "none")

MASKED = -1e20
"""A class whose logit or log-probability is below it is masked: no network says so, −∞ or the lowest float does."""

OFF_ONE = 0.02
"""Rows of probabilities may sum to so much more or less than 1: bfloat16 rounds by 0.004, and each step once more."""


class RobustLoss(nn.Module):
    """A classification loss on logits, called exactly like `torch.nn.CrossEntropyLoss`.

    A subclass writes `hard(logits, labels)`, the loss of each row for class indices, and, where it can,
    `soft(logits, probabilities)` for distributions over classes; both work on (M, C) float32 or float64 logits.
    This class does the rest: dense inputs, label checks, class weights, ignored labels, reduction, precision.

    Shapes: `input` (N, C), (C,) or (N, C, d1, …) logits; `target` class indices (N,), () or (N, d1, …), or
    probabilities in the shape of `input`.
    With class indices, `weight` multiplies the loss of a sample by the weight of its label and "mean" divides by
    the sum of those weights; with probabilities p the factor is Σ_c weight_c·p_c and "mean" divides by the number
    of samples (`CrossEntropyLoss` weighs each class's term instead, which not every loss has). A batch in which
    every label is ignored gives 0.

    A class whose logit is −∞ is masked. The loss is its limit there, with 0·log 0 = 0; where sums over the classes'
    log p have none (normalised losses, label smoothing), the class is left out of them. A masked label costs what
    p_y = 0 costs: infinity under cross-entropy, a bound under a bounded loss.

    The `state_dict` is that of `CrossEntropyLoss`: `weight`, if given. What a loss is made of is not in it.

    Raises LossInputError for shapes, labels or probabilities that do not fit (values are looked at on a CPU in eager
    mode only), UnsupportedArgumentError for probabilities given to a loss that is defined for class indices only, or
    together with an `ignore_index` >= 0.
    """

    weight: Tensor | None
    detached: bool = False
    """Whether weights that are taken as constants are part of the value: its derivative is not the gradient then."""
    batchwise: bool = False
    """Whether the loss of a sample hangs on the other samples of its batch."""

    def __init__(self, *, weight: Tensor | None = None, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ConfigError(f"got reduction={reduction!r}, expected one of {', '.join(REDUCTIONS)}")
        if not isinstance(ignore_index, (int, np.integer)) or isinstance(ignore_index, bool):
            raise ConfigError(f"got ignore_index={ignore_index!r:.80}, expected a label: an integer")
        if weight is not None:
            weight = torch.as_tensor(weight)
            if weight.ndim != 1 or not torch.is_floating_point(weight):
                raise LossInputError(
                    f"got weight of shape {tuple(weight.shape)} and {weight.dtype}, "
                    "expected one floating-point number per class, shape (C,)"
                )
        self.register_buffer("weight", weight)
        self.ignore_index = int(ignore_index)
        self.reduction = reduction

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) in [0, C) -> (M,)."""
        raise NotImplementedError

    def hard_mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of `hard` over the rows; for a loss that is cheaper to average than its rows are."""
        return mean_of(self.hard(logits, labels))

    def hard_where(self, counted: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Return `hard` of the samples that count, 0 without a gradient of the others, whatever these hold."""
        safe = torch.where(counted, labels, torch.zeros_like(labels))
        # An ignored sample may have non-finite logits, which a factor of 0 would not keep out of the gradient.
        values = self.hard(torch.where(counted.unsqueeze(1), logits, torch.zeros_like(logits)), safe)
        return values * counted.to(values.dtype)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each row for a target distribution: (M, C), (M, C) -> (M,)."""
        raise UnsupportedArgumentError(
            f"{type(self).__name__} is defined for class indices only, got probabilities as target; "
            "pass class indices of shape (N,), or choose a loss that takes soft targets"
        )

    def forward(self, input: Tensor, target: Tensor, *, num_items_in_batch: int | Tensor | None = None) -> Tensor:
        """Return the reduced loss of `input` (logits) against `target` (class indices or probabilities).

        num_items_in_batch: what a mean divides the sum by, instead of the samples of this call (or their weights): a
            number, or a tensor of one. So a batch that comes in parts has one mean, the sum of what the parts return.
            Hugging Face's Trainer calls a `compute_loss_func` with it.

        >>> from autorobustloss.losses import create_loss
        >>> create_loss("mae")(torch.zeros(3, 2), torch.tensor([0, 1, 0]), num_items_in_batch=6)
        tensor(0.2500)
        """
        check_shapes(input, target)
        device = input.device.type
        if device != "meta" and torch.is_autocast_enabled(device):
            with torch.autocast(device_type=device, enabled=False):
                return self._reduced(input, target, num_items_in_batch)
        return self._reduced(input, target, num_items_in_batch)

    def value_and_gradient(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced loss and its gradient in `input`, for training loops that need no graph.

        >>> from autorobustloss.losses import create_loss
        >>> create_loss("mae").value_and_gradient(torch.zeros(1, 2), torch.tensor([0]))
        (tensor(0.5000), tensor([[-0.2500,  0.2500]]))
        """
        return _by_autograd(self, input, target)

    def _reduced(self, input: Tensor, target: Tensor, num_items: int | Tensor | None) -> Tensor:
        soft = torch.is_floating_point(target)
        logits = flatten(input)
        if self.weight is not None and self.weight.shape[0] != logits.shape[1]:
            raise LossInputError(f"got {self.weight.shape[0]} class weights for {logits.shape[1]} classes")
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        if soft:
            if self.ignore_index >= 0:
                raise UnsupportedArgumentError(
                    f"got ignore_index={self.ignore_index} and probabilities as target, which name no label to ignore; "
                    "leave these samples out of the batch, or pass class indices"
                )
            probabilities = flatten(target)
            check_probabilities(probabilities)
            values, total_weight = self._soft_values(logits, probabilities.to(logits.dtype)), None
        else:
            labels = target.reshape(-1).long()
            if self.weight is None and all_count(labels, logits.shape[1], self.ignore_index):
                if self.reduction == "mean" and num_items is None:
                    return self.hard_mean(logits, labels)
                values, total_weight = self.hard(logits, labels), None
            else:
                values, total_weight = self._masked_values(logits, labels)
        if num_items is not None:
            return self._share(values.sum(), num_items)
        if self.reduction == "none":
            dense = target.shape if not soft else (input.shape[:1] + input.shape[2:] if input.ndim > 1 else ())
            return values.reshape(dense)
        if self.reduction == "sum":
            return values.sum()
        if total_weight is None:
            return mean_of(values)
        return values.sum() / total_weight.masked_fill(total_weight == 0, 1.0)

    def _share(self, total: Tensor, num_items: int | Tensor) -> Tensor:
        """Return a sum over samples divided by a number of samples that the caller gives; 0 of none."""
        if self.reduction != "mean":
            raise UnsupportedArgumentError(
                f"got num_items_in_batch with reduction={self.reduction!r}, expected reduction='mean': it is what a "
                "mean divides by"
            )
        if isinstance(num_items, Tensor) and num_items.numel() == 1:
            return total / num_items.to(total.device).reshape(()).clamp_min(1)
        number = isinstance(num_items, (int, float, np.integer)) and not isinstance(num_items, bool)
        if number and 0 <= num_items < math.inf:
            return total / max(num_items, 1)
        got = tuple(num_items.shape) if isinstance(num_items, Tensor) else num_items
        raise UnsupportedArgumentError(f"got num_items_in_batch={got!r}, expected one number >= 0")

    def _soft_values(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        values = self.soft(logits, probabilities)
        if self.weight is None:
            return values
        return values * (probabilities @ self.weight.to(logits))

    def _masked_values(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return weighted per-sample losses, zero where ignored, and the sum of the weights."""
        counted = labels != self.ignore_index
        check_labels(labels, counted, logits.shape[1])
        values = self.hard_where(counted, logits, labels)
        factor = counted.to(values.dtype)
        if self.weight is not None:
            weights = self.weight.to(values)[torch.where(counted, labels, torch.zeros_like(labels))]
            values, factor = values * weights, factor * weights
        return values, factor.sum()

    def extra_repr(self) -> str:
        """Show the hyper-parameters (those a subclass lists in `hyperparameters`) and non-default arguments."""
        shown: dict[str, Any] = dict(self.hyperparameters())
        if self.ignore_index != -100:
            shown["ignore_index"] = self.ignore_index
        if self.reduction != "mean":
            shown["reduction"] = self.reduction
        return ", ".join(f"{key}={value!r}" for key, value in shown.items())

    def at_start(self, num_classes: int) -> RobustLoss:
        """Return the loss as it is before training: itself, or a copy of one that has a running state."""
        return self

    def hyperparameters(self) -> dict[str, Any]:
        """Return the hyper-parameters by name, as `create_loss` takes them."""
        return {}


class LearnableLoss(RobustLoss):
    """A member of a family of losses that a search finds, made of the numbers in `hyperparameters()`."""

    def formula(self) -> str:
        """Return the loss as a short formula in plain text."""
        raise NotImplementedError

    def latex(self) -> str:
        """Return the loss as a formula in LaTeX."""
        raise NotImplementedError

    def code(self) -> str:
        """Return the loss as a Python module that needs only PyTorch."""
        raise NotImplementedError


def value_and_gradient(
    criterion: Callable[[Tensor, Tensor], Tensor], input: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a scalar loss of logits and its gradient in them, without a graph, by the loss's own way if it has one."""
    if isinstance(criterion, RobustLoss):
        return criterion.value_and_gradient(input, target)
    return _by_autograd(criterion, input, target)


def _by_autograd(criterion: Callable[[Tensor, Tensor], Tensor], input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = input.detach().requires_grad_()
    with torch.enable_grad():
        loss = criterion(leaf, target)
    return loss.detach(), torch.autograd.grad(loss, leaf)[0]


def mean_of(rows: Tensor) -> Tensor:
    """Return the mean of the rows' losses, 0 of no rows."""
    return rows.mean() if len(rows) else rows.sum()


def flatten(values: Tensor) -> Tensor:
    """Bring (C,), (N, C) or (N, C, d1, …) to (M, C), classes last."""
    if values.ndim == 1:
        return values.unsqueeze(0)
    if values.ndim == 2:
        return values
    return values.movedim(1, -1).reshape(-1, values.shape[1])


def masked(log_p: Tensor) -> Tensor:
    """Return which classes are masked, from their logits or log-probabilities."""
    return log_p < MASKED


def kept(log_p: Tensor, probabilities: Tensor | None = None) -> Tensor:
    """Return log-probabilities with 0 for masked classes, so that they add nothing to a sum, nor to its gradient.

    probabilities: the target, if it is one; of the masked classes those stay that it asks for.

    >>> kept(torch.tensor([[-0.7, -0.7, -torch.inf]]))
    tensor([[-0.7000, -0.7000,  0.0000]])
    """
    out = masked(log_p)
    return log_p.masked_fill(out if probabilities is None else out & (probabilities == 0), 0.0)


def check_shapes(input: Tensor, target: Tensor) -> None:
    """Raise LossInputError unless input and target fit together as in `CrossEntropyLoss`."""
    if not (isinstance(input, Tensor) and isinstance(target, Tensor)):
        raise LossInputError(
            f"got input of {type(input).__name__} and target of {type(target).__name__}, expected two tensors; for the "
            "outputs of a model pass their logits, as in lambda outputs, labels, **more: criterion(outputs['logits'], "
            "labels, **more)"
        )
    usual = input.ndim == 2 and target.dtype == torch.int64 and target.shape == input.shape[:1]
    if usual and input.shape[1] > 1 and torch.is_floating_point(input):
        return
    if not torch.is_floating_point(input):
        raise LossInputError(f"got input of {input.dtype}, expected floating-point logits")
    if input.ndim == 0:
        raise LossInputError("got a scalar input, expected logits of shape (N, C), (C,) or (N, C, d1, …)")
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
    if target.dtype in (torch.bool,) or target.is_complex():
        raise LossInputError(f"got target of {target.dtype}, expected class indices (int64) or probabilities (float)")
    expected = () if input.ndim == 1 else (input.shape[0], *input.shape[2:])
    if tuple(target.shape) != expected:
        raise LossInputError(
            f"got class indices of shape {tuple(target.shape)} for logits of shape {tuple(input.shape)}, "
            f"expected {expected}"
        )


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
        "For two classes give both, (1 − p, p), for two logits; several labels a sample (multi-label) are another "
        "task, for torch.nn.BCEWithLogitsLoss"
    )


def all_count(labels: Tensor, classes: int, ignore_index: int) -> bool:
    """Return whether every label is known to be a class and none to be ignored, so that nothing need be masked.

    Masking costs more than a typical loss; False, where values cannot be looked at, is always safe.
    """
    if labels.numel() == 0 or not readable(labels):
        return False
    low, high = (int(bound) for bound in labels.aminmax())
    return low >= 0 and high < classes and not low <= ignore_index <= high


def check_labels(labels: Tensor, counted: Tensor, classes: int) -> None:
    """Raise LossInputError for a label outside [0, C).

    Only where values are `readable`. On a GPU an out-of-range label trips the device-side assertion of the gather, as
    it does in `CrossEntropyLoss`; under `compile` and `vmap` values cannot be looked at.
    """
    if not readable(labels):
        return
    bad = counted & ((labels < 0) | (labels >= classes))
    if bool(bad.any()):
        got = sorted(set(labels[bad].tolist()))[:5]
        raise LossInputError(
            f"got labels {got} for {classes} classes, expected 0 to {classes - 1} (or ignore_index to leave out)"
        )
