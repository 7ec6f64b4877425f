"""Predictions and accuracies of trained networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autorobustloss.errors import ConfigError
from autorobustloss.training.history import SPLITS

if TYPE_CHECKING:
    from autorobustloss.data import Splits

EVALUATION_BATCH = 1024


def labelled_splits(splits: Splits, evaluate: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return inputs and labels of the splits asked for, without those of which no label is known.

    Raises ConfigError for a split that does not exist.
    """
    for name in evaluate:
        if name not in SPLITS:
            raise ConfigError(f"got evaluate={tuple(evaluate)!r}, expected some of {', '.join(SPLITS)}")
    labels = {"valid_clean": splits.y_valid_clean, "valid_noisy": splits.y_valid_noisy, "test": splits.y_test}
    inputs = {"valid_clean": splits.x_valid, "valid_noisy": splits.x_valid, "test": splits.x_test}
    return {name: (inputs[name], labels[name]) for name in SPLITS if name in evaluate and (labels[name] >= 0).any()}


def accuracies(
    predict: Callable[[Tensor], Tensor], targets: dict[str, tuple[Tensor, Tensor]], candidates: int = 1
) -> dict[str, list[float]]:
    """Return each candidate's accuracy on each split over its known labels, the mean over networks of one candidate.

    predict: inputs -> predictions, (networks, N). Splits that share their inputs (the two label vectors of the
    validation images) share one call.
    """
    predictions: dict[int, Tensor] = {}
    found = {}
    for name, (x, labels) in targets.items():
        if id(x) not in predictions:
            predictions[id(x)] = predict(x)
        right = (predictions[id(x)] == labels)[:, labels >= 0].double()
        found[name] = right.view(candidates, -1).mean(1).tolist()
    return found


@torch.inference_mode()
def logits(network: nn.Module, x: Tensor, precision: str = "float32") -> Tensor:
    """Return the logits of a network in evaluation mode, (N, C) float32, computed batch by batch."""
    was_training = network.training
    network.eval()
    with autocast(precision, x.device):
        outputs = torch.cat([network(part) for part in x.split(EVALUATION_BATCH)]).float()
    network.train(was_training)
    return outputs


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which a forward pass runs at a protocol's precision."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()
