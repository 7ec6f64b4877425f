"""The training loop: the reference implementation, one objective at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from autorobustloss.seeding import derive_seed, torch_generator
from autorobustloss.training.history import SPLITS, History
from autorobustloss.training.objective import Objective
from autorobustloss.training.optimisers import create_optimizer, learning_rate
from autorobustloss.training.protocol import Protocol

if TYPE_CHECKING:
    from autorobustloss.data import Splits

EVALUATION_BATCH = 1000


def fit(
    objective: Objective,
    splits: Splits,
    protocol: Protocol,
    seed: int,
    evaluate: Sequence[str] = SPLITS,
    on_epoch: Callable[[History], None] | None = None,
) -> History:
    """Train the networks of an objective in place and return the curves."""
    device = splits.x_train.device
    networks = objective.networks.to(device)
    optimizer = create_optimizer(networks.parameters(), protocol)
    orders, augmentation = torch_generator("order", seed), torch_generator("augment", seed)
    history = History()
    steps = 0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed("dropout", seed))
        for epoch in range(1, protocol.epochs + 1):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(protocol, epoch)
            networks.train()
            totals = torch.zeros(2, device=device)
            seen = 0
            for index in batches(len(splits.y_train), protocol.batch_size, orders, device):
                x, y = splits.x_train[index], splits.y_train[index]
                if protocol.augment == "crop-flip":
                    from autorobustloss.data.augment import crop_and_flip

                    x = crop_and_flip(x, augmentation)
                with precision(protocol, device):
                    loss, logits = objective.loss(x, y, epoch)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                steps += 1
                with torch.no_grad():
                    seen += len(y)
                    totals[0] += loss * len(y)
                    totals[1] += (logits.argmax(-1) == y).float().mean() * len(y)
            loss_sum, correct = totals.tolist()
            if not math.isfinite(loss_sum):
                return History(**{**vars(history), "stopped": "diverged", "steps": steps})
            history.train_loss.append(loss_sum / seen)
            history.train_accuracy.append(correct / seen)
            if epoch % protocol.evaluate_every == 0 or epoch == protocol.epochs:
                history.epochs.append(epoch)
                for split, accuracy in score(networks, splits, evaluate, protocol).items():
                    getattr(history, split).append(accuracy)
            if on_epoch is not None:
                on_epoch(history)
    return History(**{**vars(history), "steps": steps})


def batches(count: int, batch_size: int, generator: torch.Generator, device: torch.device) -> Iterator[Tensor]:
    """Yield the indices of one epoch's batches: a fresh permutation, cut up; a last batch of one sample is left out."""
    order = torch.randperm(count, generator=generator).to(device)
    for index in order.split(batch_size):
        if len(index) > 1 or count == 1:
            yield index


def precision(protocol: Protocol, device: torch.device) -> AbstractContextManager[object]:
    """Return the autocast context of the protocol's forward pass."""
    return torch.autocast(device.type, torch.bfloat16) if protocol.precision == "bfloat16" else nullcontext()


def score(networks: nn.ModuleList, splits: Splits, evaluate: Sequence[str], protocol: Protocol) -> dict[str, float]:
    """Return the accuracy of each split asked for, the mean over the networks; the validation images pass once."""
    scores = {}
    for images, names in (("x_valid", ("valid_clean", "valid_noisy")), ("x_test", ("test",))):
        wanted = [name for name in names if name in evaluate]
        if wanted:
            predictions = predict(networks, getattr(splits, images), protocol)
            for name in wanted:
                labels = splits.y_test if name == "test" else getattr(splits, f"y_{name}")
                scores[name] = (predictions == labels).double().mean().item()
    return scores


@torch.inference_mode()
def predict(networks: nn.ModuleList, x: Tensor, protocol: Protocol) -> Tensor:
    """Return the predicted class of every sample under each network, (networks, N)."""
    networks.eval()
    with precision(protocol, x.device):
        return torch.stack(
            [torch.cat([network(part).argmax(-1) for part in x.split(EVALUATION_BATCH)]) for network in networks]
        )
