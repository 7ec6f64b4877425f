"""What every loss shares: the arguments, shapes and reductions of `torch.nn.CrossEntropyLoss`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from autorobustloss.errors import ConfigError, LossInputError, UnsupportedArgumentError
from autorobustloss.losses.inputs import (
    all_count,
    check_probabilities,
    check_shapes,
    checked_sample_weight,
    either,
    flatten,
    rows_of,
    widened,
)
from autorobustloss.losses.modes import readable, real, recorded, seen_through
from autorobustloss.losses.numbers import within
from autorobustloss.losses.start import warn_of_slow_start

REDUCTIONS = ("mean", "sum", "none")

MASKED = -1e20
"""A class whose logit or log-probability is below it is masked: no network says so, −∞ or the lowest float does."""


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
    `label_smoothing` ε is that of `CrossEntropyLoss`: the target t becomes (1 − ε)·t + ε/C. Losses that smooth labels
    themselves, and those that weigh each label by how much it is believed (`detached`), do not take it.

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
    warns: bool = True
    """Whether a training that may hardly begin is warned of, see `SlowStartWarning`."""

    def __init__(
        self,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
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
        self._smoothing = within("label_smoothing", label_smoothing, at_least=0, at_most=1)
        self._seen_classes = 0

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) in [0, C) -> (M,); that of one-hot targets."""
        return self.soft(logits, one_hot(labels, logits))

    def hard_mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of `hard` over the rows; for a loss that is cheaper to average than its rows are."""
        return mean_of(self.hard(logits, labels))

    def hard_where(self, counted: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Return `hard` of the samples that count, 0 without a gradient of the others, whatever logits these hold."""
        # An ignored sample may have non-finite logits, which a factor of 0 would not keep out of the gradient.
        values = self.hard(torch.where(counted.unsqueeze(1), logits, torch.zeros_like(logits)), labels)
        return values * counted.to(values.dtype)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each row for a target distribution: (M, C), (M, C) -> (M,)."""
        raise UnsupportedArgumentError(
            f"{type(self).__name__} is defined for class indices only, got probabilities as target; "
            "pass class indices of shape (N,), or choose a loss that takes soft targets"
        )

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        *,
        sample_weight: Tensor | None = None,
        normalizer: float | Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
    ) -> Tensor:
        """Return the reduced loss of `input` (logits) against `target` (class indices or probabilities).

            mean = Σ_i s_i·c_i·ℓ_i / Σ_i s_i·c_i,  s the sample weights, c the class weights, over labels that count

        sample_weight: numbers >= 0, one for each label. They multiply the losses, under each reduction, and with
            probabilities "mean" divides by their sum. A sample of weight 0 does not exist: nothing of it is remembered
            or reaches a gradient. What a loss remembers of other samples, or weighs in a batch, counts each once.
        normalizer: what a mean divides by in place of that sum: a number >= 0, or a tensor of one. So a batch that
            comes in parts has one mean, the sum of what the parts return, given the sum of their `denominator`.
            Refused under "sum" and "none".
        num_items_in_batch: the same; Hugging Face's Trainer calls a `compute_loss_func` with it.

        >>> from autorobustloss.losses import create_loss
        >>> loss, labels = create_loss("mae"), torch.tensor([0, 1, 0])
        >>> loss(torch.zeros(3, 2), labels, normalizer=6)
        tensor(0.2500)
        >>> z = torch.tensor([[0.0, 0.0], [0.0, 0.0], [9.0, 0.0]])
        >>> loss(z, labels, sample_weight=torch.tensor([1.0, 2.0, 0.0]))
        tensor(0.5000)
        """
        check_shapes(input, target)
        self._look_at_start(input)
        normalizer = either(normalizer, num_items_in_batch)
        if sample_weight is not None:
            sample_weight = checked_sample_weight(sample_weight, input)
        device = input.device.type
        if device != "meta" and torch.is_autocast_enabled(device):
            with torch.autocast(device_type=device, enabled=False):
                return self._reduced(input, target, sample_weight, normalizer)
        return self._reduced(input, target, sample_weight, normalizer)

    def denominator(self, target: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return what "mean" divides by: the labels that count, or the sum of their weights.

        Summed over the parts of a batch it is their `normalizer`. target: class indices (N,) or (N, d1, …), or
        probabilities (N, C).

        >>> from autorobustloss.losses import create_loss
        >>> create_loss("mae", weight=torch.tensor([1.0, 3.0])).denominator(torch.tensor([0, 1, -100]))
        tensor(4.)
        """
        if torch.is_floating_point(target):
            return target.new_tensor(len(target)) if sample_weight is None else sample_weight.sum()
        counted = target != self.ignore_index
        share = counted.float() if sample_weight is None else sample_weight * counted
        if self.weight is not None:
            share = share * self.weight[torch.where(counted, target, 0)]
        return share.sum()

    def _look_at_start(self, input: Tensor) -> None:
        """Warn, once for a number of classes, of a training that may hardly begin."""
        if torch.compiler.is_compiling():
            return
        classes = input.shape[1] if input.ndim > 1 else input.shape[0]
        if classes == self._seen_classes:
            return
        trains = self.training and torch.is_grad_enabled() and input.requires_grad
        if trains and real(input) and not seen_through() and not recorded():
            self._seen_classes = classes
            if self.warns:
                warn_of_slow_start(self, classes)

    def value_and_gradient(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the reduced loss and its gradient in `input`, for training loops that need no graph.

        >>> from autorobustloss.losses import create_loss
        >>> create_loss("mae").value_and_gradient(torch.zeros(1, 2), torch.tensor([0]))
        (tensor(0.5000), tensor([[-0.2500,  0.2500]]))
        """
        leaf = input.detach().requires_grad_()
        with torch.enable_grad():
            loss = self(leaf, target)
        return loss.detach(), torch.autograd.grad(loss, leaf)[0]

    def _reduced(
        self, input: Tensor, target: Tensor, sample_weight: Tensor | None, normalizer: float | Tensor | None
    ) -> Tensor:
        soft = torch.is_floating_point(target)
        logits = flatten(input)
        if self.weight is not None and self.weight.shape[0] != logits.shape[1]:
            raise LossInputError(f"got {self.weight.shape[0]} class weights for {logits.shape[1]} classes")
        logits = widened(logits)
        share = None if sample_weight is None else sample_weight.reshape(-1).to(logits)
        if soft:
            if self.ignore_index >= 0:
                raise UnsupportedArgumentError(
                    f"got ignore_index={self.ignore_index} and probabilities as target, which name no label to ignore; "
                    "leave these samples out of the batch, or pass class indices"
                )
            probabilities = flatten(target)
            check_probabilities(probabilities)
            values, total_weight = self._of_probabilities(logits, probabilities.to(logits.dtype), share)
        else:
            labels = target.reshape(-1).long()
            plain = self.weight is None and share is None and not self._smoothing
            if all_count(labels, logits.shape[1], self.ignore_index) and plain:
                if self.reduction == "mean" and normalizer is None:
                    return self.hard_mean(logits, labels)
                values, total_weight = self.hard(logits, labels), None
            else:
                values, total_weight = self._of_labels(logits, labels, share)
        return self.reduced(values.reshape(rows_of(input)), total_weight, normalizer)

    def reduced(self, values: Tensor, total_weight: Tensor | None, normalizer: float | Tensor | None) -> Tensor:
        """Return the weighted losses of samples by the loss's reduction; total_weight: of them, None for their number.

        normalizer: what a mean divides by in place of it, see `forward`.
        """
        if normalizer is not None:
            return self._normalized(values.sum(), normalizer)
        if self.reduction == "none":
            return values
        if self.reduction == "sum":
            return values.sum()
        if total_weight is None:
            return mean_of(values.reshape(-1))
        return values.sum() / total_weight.masked_fill(total_weight == 0, 1.0)

    def _normalized(self, total: Tensor, by: float | Tensor) -> Tensor:
        """Return a sum over samples divided by what the caller gives; 0 of none."""
        if self.reduction != "mean":
            raise UnsupportedArgumentError(
                f"got a normalizer with reduction={self.reduction!r}, expected reduction='mean': it is what a mean "
                "divides by"
            )
        one = isinstance(by, Tensor) and by.numel() == 1 and not by.is_complex()
        known: Any = by.item() if isinstance(by, Tensor) and one and readable(by) else by
        if isinstance(known, Tensor) and one:
            return total / known.to(total.device).reshape(()).masked_fill(known.reshape(()) == 0, 1)
        if isinstance(known, (int, float, np.number)) and not isinstance(known, bool) and 0 <= known < math.inf:
            return total / (float(known) or 1.0)
        got = tuple(by.shape) if isinstance(by, Tensor) and not one else known
        raise UnsupportedArgumentError(f"got normalizer={got!r}, expected one number >= 0")

    def _of_probabilities(
        self, logits: Tensor, probabilities: Tensor, share: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the loss of each row for a distribution over labels times its share, and the sum of the shares."""
        if self._smoothing:
            probabilities = smoothed_target(probabilities, self._smoothing)
        if share is None:
            return self._soft_values(logits, probabilities), None
        out = (share == 0).unsqueeze(1)
        values = self._soft_values(logits.masked_fill(out, 0.0), probabilities.masked_fill(out, 0.0))
        return values * share, share.sum()

    def _soft_values(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        values = self.soft(logits, probabilities)
        if self.weight is None:
            return values
        return values * (probabilities @ self.weight.to(logits))

    def _of_labels(self, logits: Tensor, labels: Tensor, share: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return weighted per-sample losses, zero where ignored, and the sum of the weights."""
        counted = labels != self.ignore_index
        if share is not None:
            counted = counted & (share != 0)
        labels = torch.where(counted, labels, torch.zeros_like(labels))
        factor = counted.to(logits.dtype) if share is None else share * counted
        weights = factor if self.weight is None else factor * self.weight.to(logits)[labels]
        if self._smoothing:
            return self._of_probabilities(logits, one_hot(labels, logits), factor)[0], weights.sum()
        values = self.hard_where(counted, logits, labels)
        return (values if weights is factor and share is None else values * weights), weights.sum()

    def _apply(self, fn: Any, recurse: bool = True) -> RobustLoss:
        before = {name: getattr(self, name) for name in self._non_persistent_buffers_set}
        super()._apply(fn, recurse)
        for name, value in before.items():  # `half()` and the like leave a formula, and its memory, alone
            moved = getattr(self, name)
            if moved.dtype != value.dtype:
                setattr(self, name, value.to(moved.device))
        return self

    def extra_repr(self) -> str:
        """Show the hyper-parameters (those a subclass lists in `hyperparameters`) and non-default arguments."""
        shown: dict[str, Any] = dict(self.hyperparameters())
        if self.ignore_index != -100:
            shown["ignore_index"] = self.ignore_index
        if self.reduction != "mean":
            shown["reduction"] = self.reduction
        if self._smoothing:
            shown["label_smoothing"] = self._smoothing
        return ", ".join(f"{key}={value!r}" for key, value in shown.items())

    def at_start(self, num_classes: int) -> RobustLoss:
        """Return the loss as it is before training: itself, or a copy of one that has a running state."""
        return self

    def hyperparameters(self) -> dict[str, Any]:
        """Return the hyper-parameters by name, as `create_loss` takes them."""
        return {}


class LearnableLoss(RobustLoss):
    """A member of a family of losses that a search finds, made of the numbers in `hyperparameters()`."""

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        *,
        sample_weight: Tensor | None = None,
        normalizer: float | Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
    ) -> Tensor:
        """Return the reduced loss of `input` (logits) against `target` (class indices or probabilities)."""
        alone = sample_weight is None and normalizer is None and num_items_in_batch is None
        if alone and isinstance(input, Tensor):
            if torch.compiler.is_compiling():
                value = self._in_graph(input, target) if self._is_usual(input, target) else None
            else:
                if input.ndim == 2 and input.shape[1] != self._seen_classes:
                    self._look_at_start(input)
                value = self._by_kernel(input, target)
            if value is not None:
                return value
        return super().forward(
            input, target, sample_weight=sample_weight, normalizer=normalizer, num_items_in_batch=num_items_in_batch
        )

    def _by_kernel(self, input: Tensor, target: Tensor) -> Tensor | None:
        """Return the reduced loss, with its gradient, by the compiled kernel; None where that does not do it."""
        raise NotImplementedError

    def _is_usual(self, input: Tensor, target: Tensor) -> bool:
        """Return whether a mean over labels is asked for, of which each counts once or not at all."""
        plain = self.reduction == "mean" and self.weight is None and not self._smoothing
        shapes = input.ndim == 2 and input.is_floating_point() and target.shape == input.shape[:1]
        return plain and shapes and target.dtype is torch.int64 and input.shape[1] > 1

    def _in_graph(self, input: Tensor, target: Tensor) -> Tensor | None:
        """Return the usual mean as one node of the graph that is traced; None where no such node does it."""
        raise NotImplementedError

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
    own = getattr(criterion, "value_and_gradient", partial(RobustLoss.value_and_gradient, cast(RobustLoss, criterion)))
    return own(input, target)


def mean_of(rows: Tensor) -> Tensor:
    """Return the mean of the rows' losses, 0 of no rows."""
    return rows.mean() if len(rows) else rows.sum()


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Return the labels (M,) as one-hot rows in shape and dtype of `like` (M, C).

    `torch.nn.functional.one_hot` looks at the labels, which `vmap` forbids and a GPU waits for.
    """
    return torch.zeros_like(like).scatter(1, labels.unsqueeze(1), 1.0)


def smoothed_target(probabilities: Tensor, epsilon: float) -> Tensor:
    """Return (1 − ε)·t + ε/C of rows (M, C).

    >>> smoothed_target(torch.tensor([[1.0, 0.0]]), 0.1)
    tensor([[0.9500, 0.0500]])
    """
    return probabilities * (1 - epsilon) + epsilon / probabilities.shape[1]


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


def weighted(factor: float, term: Tensor) -> Tensor:
    """Return factor·term; 0, and no gradient, where the factor is 0, though the term may be infinite.

    >>> weighted(0.0, torch.tensor([1.0, torch.inf]))
    tensor([0., 0.])
    """
    return factor * term if factor else torch.zeros_like(term)


def smoothed(chosen: Tensor, log_p: Tensor, epsilon: float) -> Tensor:
    """Return −(1 − ε)·log p_y − ε·(mean of log p_k over the classes that are not masked)."""
    number = (~masked(log_p)).sum(dim=1, keepdim=True)
    smooth = kept(log_p).sum(dim=1, keepdim=True) / number
    return weighted(epsilon - 1, chosen) - epsilon * smooth
