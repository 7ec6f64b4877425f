"""Predictions and accuracies of trained networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from autorobustloss.data.splits import Splits
from autorobustloss.errors import ConfigError
from autorobustloss.training.history import SPLITS

EVALUATION_BATCH = 256


def labelled_splits(splits: Splits, evaluate: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return inputs and labels of the splits asked for, without those of which no label is known.

    Raises ConfigError for a split that does not exist.
    """
    if not set(evaluate) <= set(SPLITS):
        raise ConfigError(f"got evaluate={tuple(evaluate)!r}, expected some of {', '.join(SPLITS)}")
    labels = {"valid_clean": splits.y_valid_clean, "valid_noisy": splits.y_valid_noisy, "test": splits.y_test}
    inputs = {"valid_clean": splits.x_valid, "valid_noisy": splits.x_valid, "test": splits.x_test}
    return {name: (inputs[name], labels[name]) for name in SPLITS if name in evaluate and (labels[name] >= 0).any()}


def accuracies(
    networks: Iterable[nn.Module], targets: dict[str, tuple[Tensor, Tensor]], precision: str = "float32"
) -> dict[str, float]:
    """Return the accuracy on each split over its known labels, the mean over the networks."""
    networks = list(networks)

    def predict(x: Tensor) -> Tensor:
        return torch.stack([logits(network, x, precision).argmax(-1) for network in networks])

    return {name: right.double().mean().item() for name, right in hits(predict, targets).items()}


def hits(predict: Callable[[Tensor], Tensor], targets: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return which known labels of each split are predicted: (networks, known labels), by the split's name.

    predict: inputs -> predictions, (networks, N). Splits that share their inputs (the two label vectors of the
    validation images) share one call.
    """
    predictions: dict[int, Tensor] = {}
    found = {}
    for name, (x, labels) in targets.items():
        if id(x) not in predictions:
            predictions[id(x)] = predict(x)
        found[name] = (predictions[id(x)] == labels)[:, labels >= 0]
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
    # PyTorch would keep the weights that it has rounded until the outermost autocast ends: inside of another one, until
    # long after they have changed. A pass uses each once, so nothing need be kept.
    rounded = precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False) if rounded else nullcontext()
