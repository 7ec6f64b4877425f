"""Hugging Face's Trainer: a loss as its `compute_loss_func`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autorobustloss.errors import ConfigError, LossInputError
from autorobustloss.losses import RobustLoss, create_loss

NO_LABELS = -100
"""What marks a label of a text as none, everywhere in Transformers."""


def hf_loss(loss: str | nn.Module, *, shift: bool | None = None, **hyperparameters: Any) -> TrainerLoss:
    """Return a loss as `Trainer(compute_loss_func=…)` calls it: (outputs, labels, num_items_in_batch).

    loss: what `create_loss` takes, with hyperparameters; or a loss, or a `MultiLabel`.
    shift: whether the outputs at a place are about the label of the next place. By default they are if the outputs are
        a causal language model's (`CausalLMOutput…`); sequence, image and token classification, and masked language
        models, have a label where they have logits, and nothing is shifted.
    Shapes: the outputs' logits (N, C) with labels (N,), or (N, T, C) with labels (N, T), −100 for no label; or labels
        in the shape of the logits: probabilities, or 0 and 1 for a `MultiLabel`.

    Of a batch that comes in parts (`gradient_accumulation_steps`) the Trainer counts the labels, and the loss divides
    by their number: the gradient is that of the whole batch. `TrainingArguments(label_smoothing_factor=…)` does
    nothing beside a `compute_loss_func`: give label_smoothing here.

    Raises ConfigError for an ignore_index that Transformers does not use, and for a reduction; when called,
    LossInputError for outputs without logits and for shapes that do not fit.

    >>> hf_loss("mae")({"logits": torch.zeros(2, 4)}, torch.tensor([0, 3]), num_items_in_batch=4)
    tensor(0.3750)
    """
    if not isinstance(loss, nn.Module):
        loss = create_loss(loss, **hyperparameters)
    elif hyperparameters:
        raise ConfigError(f"got a loss and {', '.join(hyperparameters)}, expected the name of one beside them")
    for part in loss.modules():
        if isinstance(part, RobustLoss) and (part.ignore_index != NO_LABELS or part.reduction != "mean"):
            raise ConfigError(
                f"got ignore_index={part.ignore_index} and reduction={part.reduction!r}, expected {NO_LABELS} and "
                "'mean', by which the Trainer counts labels"
            )
    return TrainerLoss(loss, shift)


class TrainerLoss:
    """A loss of a model's outputs, see `hf_loss`; `loss` is the loss itself."""

    def __init__(self, loss: nn.Module, shift: bool | None) -> None:
        self.loss, self.shift = loss, shift

    def __call__(self, outputs: Any, labels: Tensor | None, num_items_in_batch: int | Tensor | None = None) -> Tensor:
        """Return the loss of a batch, or of its part where num_items_in_batch counts the labels of the whole."""
        logits = logits_of(outputs)
        if not isinstance(labels, Tensor):
            raise LossInputError(
                "got no labels, expected a tensor; call the column of the data set `labels`, or name it by "
                "TrainingArguments(label_names=[…])"
            )
        if self.shift if self.shift is not None else "CausalLM" in type(outputs).__name__:
            logits, labels = logits[..., :-1, :], labels[..., 1:]
        labels = labels.to(logits.device)
        if labels.shape == logits.shape:
            return self.loss(logits, labels, num_items_in_batch=num_items_in_batch)
        if labels.shape != logits.shape[:-1]:
            raise LossInputError(
                f"got labels of shape {tuple(labels.shape)} for logits of shape {tuple(logits.shape)}, expected "
                f"{tuple(logits.shape[:-1])}, a label for each prediction, or {tuple(logits.shape)}, probabilities"
            )
        return self.loss(
            logits.reshape(-1, logits.shape[-1]), labels.reshape(-1), num_items_in_batch=num_items_in_batch
        )


def logits_of(outputs: Any) -> Tensor:
    """Return the logits of a model's outputs: `outputs["logits"]`, the first of a tuple, or a tensor itself.

    >>> logits_of({"logits": torch.zeros(2, 3)}).shape
    torch.Size([2, 3])
    """
    found = outputs
    if isinstance(outputs, dict):
        found = outputs.get("logits")
    elif isinstance(outputs, (tuple, list)) and outputs:
        found = outputs[0]
    if isinstance(found, Tensor) and torch.is_floating_point(found) and found.ndim >= 2:
        return found
    got = ", ".join(outputs) if isinstance(outputs, dict) else type(outputs).__name__
    raise LossInputError(f"got outputs without logits ({got}), expected those of a model for classification")
