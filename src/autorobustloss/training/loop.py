"""The training loop: the reference implementation, one objective at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from autorobustloss.errors import ConfigError
from autorobustloss.seeding import derive_seed, torch_generator
from autorobustloss.training.backprop import create_backprop
from autorobustloss.training.evaluation import accuracies, labelled_splits
from autorobustloss.training.history import SPLITS, History
from autorobustloss.training.objective import Objective
from autorobustloss.training.optimisers import add_penalty_, clip_norm_, create_optimiser, learning_rate, momentum
from autorobustloss.training.protocol import TrainingProtocol
from autorobustloss.training.smoothing import create_smoothing

if TYPE_CHECKING:
    from autorobustloss.data import Splits

EXPLODED = 1e6
"""A Euclidean norm of all weights beyond this counts as divergence, as an infinite one does."""


def fit(
    objective: Objective,
    splits: Splits,
    protocol: TrainingProtocol,
    seed: int,
    evaluate: Sequence[str] = SPLITS,
    on_epoch: Callable[[History], None] | None = None,
) -> History:
    """Train the networks of an objective in place, on the device of the splits, and return the curves.

    Deterministic: the order of the batches, augmentation and dropout are functions of `seed`; on the CPU with one
    thread the same call gives the same weights and curves to the last bit, in any process of a machine. Global random
    state is left as it was.

    evaluate: the splits to score every `protocol.evaluate_every` epochs and after the last.
    on_epoch: called after each epoch with the history so far, while the networks hold the weights that are evaluated.
    Afterwards the networks hold the weights that were evaluated last: averaged or slow ones under such a protocol.

    Stops early, and says so in `History.stopped`:
    "diverged": an epoch's mean loss or the weights are not finite, or the norm of the weights exceeds 10⁶;
    "chance": after `patience_at_chance` epochs no epoch's training accuracy has exceeded the frequency f of the most
    common (noisy) label by more than three standard errors √(f(1 − f)/N). The last epoch is scored then, too.

    Raises ConfigError for an empty training split or an unknown split in `evaluate`.

    >>> from autorobustloss.data import DataSpec, load_dataset, make_splits
    >>> splits = make_splits(load_dataset("digits"), DataSpec("digits", train_size=500), "sym:0.2")
    >>> from autorobustloss.models import build_model
    >>> from autorobustloss.training import LossObjective
    >>> network = build_model("linear", splits.input_shape, splits.num_classes, seed=0)
    >>> objective = LossObjective(network, torch.nn.CrossEntropyLoss())
    >>> history = fit(objective, splits, TrainingProtocol(lr=0.1, epochs=5), seed=0, evaluate=("test",))
    >>> history.epochs, history.last("test") > 0.7
    ([1, 2, 3, 4, 5], True)
    """
    if len(splits.y_train) == 0:
        raise ConfigError("got an empty training split, expected at least one sample")
    targets = labelled_splits(splits, evaluate)
    device = splits.x_train.device
    objective.networks.to(device)
    history = History()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.random.default_generator.manual_seed(derive_seed("dropout", seed))  # torch.manual_seed: a millisecond
        if device.type == "cuda":
            torch.cuda.manual_seed(derive_seed("dropout", seed))
        run = _Run(objective, splits, protocol, seed)
        for epoch in range(1, protocol.epochs + 1):
            loss, accuracy, norm = run.epoch(epoch)
            if diverged(loss, norm):
                return replace(history, stopped="diverged", steps=run.steps)
            history.train_loss.append(loss)
            history.train_accuracy.append(accuracy)
            if epoch == protocol.patience_at_chance and stuck_at_chance(history, splits.y_train):
                history = replace(history, stopped="chance")
            last = epoch == protocol.epochs or bool(history.stopped)
            with run.shown():
                if last or epoch % protocol.evaluate_every == 0:
                    history.epochs.append(epoch)
                    for split, value in accuracies(objective.networks, targets, protocol.precision).items():
                        getattr(history, split).append(value)
                if on_epoch is not None:
                    on_epoch(history)
            if last:
                break
        run.finish()
    return replace(history, steps=run.steps)


class _Run:
    """The moving parts of one training run: optimiser, smoothed weights, generators."""

    def __init__(self, objective: Objective, splits: Splits, protocol: TrainingProtocol, seed: int) -> None:
        self.objective, self.splits, self.protocol = objective, splits, protocol
        self.parameters = [p for p in objective.networks.parameters() if p.requires_grad]
        self.backprop = create_backprop(objective, self.parameters, protocol.precision)
        self.optimiser = create_optimiser(self.parameters, protocol)
        self.smoothing = create_smoothing(objective.networks, protocol)
        self.shown = self.smoothing[-1].shown if self.smoothing else nullcontext
        self.orders, self.crops = torch_generator("order", seed), torch_generator("augment", seed)
        self.augment = augmentation(protocol)
        self.steps = 0
        self._places: dict[int, Tensor] = {}

    def epoch(self, epoch: int) -> tuple[float, float, float]:
        """Train for an epoch; return its mean loss, its accuracy, and the norm of the weights after it."""
        self.objective.networks.train()
        y_train = self.splits.y_train
        rate, mass = learning_rate(self.protocol, epoch), momentum(self.protocol, epoch)
        order = torch.randperm(len(y_train), generator=self.orders).to(y_train.device)
        losses, outputs, labels = [], [], []
        for index in batches(order, self.protocol.batch_size):
            x, y = self._images(index), y_train.index_select(0, index)
            if self.augment is not None:
                x = self.augment(x, self.crops)
            self.objective.index = index
            loss, logits, gradients = self.backprop(x, y, epoch)
            if self.protocol.l1:
                add_penalty_(gradients, self.parameters, self.protocol.l1)
            if self.protocol.clip_norm:
                clip_norm_(gradients, self.protocol.clip_norm)
            self.optimiser.step(gradients, rate, mass)
            self.steps += 1
            for smooth in self.smoothing:
                smooth.update(self.steps)
            losses.append(loss)
            outputs.append(logits)
            labels.append(y)
        return _summary(losses, outputs, labels, self.parameters)

    def _images(self, index: Tensor) -> Tensor:
        """Return the training images of a batch, in memory that the next batch of the same size takes over."""
        place = self._places.get(len(index))
        if place is None:
            x_train = self.splits.x_train
            place = self._places[len(index)] = x_train.new_empty(len(index), *x_train.shape[1:])
        return torch.index_select(self.splits.x_train, 0, index, out=place)

    def finish(self) -> None:
        """Leave the evaluated weights in the networks."""
        if self.smoothing:
            self.smoothing[-1].adopt()


def _summary(
    losses: list[Tensor], outputs: list[Tensor], labels: list[Tensor], parameters: Sequence[Tensor]
) -> tuple[float, float, float]:
    """Return an epoch's mean loss and accuracy over samples and the norm of the weights, with one synchronisation."""
    sizes = torch.tensor([len(y) for y in labels], dtype=torch.float64).to(losses[0].device)
    loss = (torch.stack(losses).double() * sizes).sum() / sizes.sum()
    accuracy = (torch.cat(outputs, dim=-2).argmax(-1) == torch.cat(labels)).double().mean()
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p.detach()) for p in parameters]))
    loss, accuracy, norm = torch.stack([loss, accuracy, norm.double()]).tolist()
    return loss, accuracy, norm


def batches(order: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Cut an epoch's order into batches; a last one of one sample, which batch normalisation cannot take, is left out.

    >>> [batch.tolist() for batch in batches(torch.arange(5), 2)]
    [[0, 1], [2, 3]]
    """
    for index in order.split(batch_size):
        if len(index) > 1 or len(order) == 1 or batch_size == 1:
            yield index


def diverged(loss: float, norm: float) -> bool:
    """Return whether an epoch's mean loss, or the norm of the weights after it, says that training has diverged."""
    return not (math.isfinite(loss) and norm <= EXPLODED)


def stuck_at_chance(history: History, labels: Tensor) -> bool:
    """Return whether no epoch so far was more accurate on the training labels than a constant prediction may be."""
    return max(history.train_accuracy) <= chance_level(labels)


def chance_level(labels: Tensor, size: int = 0) -> float:
    """Return the accuracy that a constant prediction does not exceed: f + 3·√(f(1 − f)/N), f the commonest label's.

    size: N, where that is a sample of the labels; 0 for all.
    """
    f = labels.bincount().max().item() / len(labels)
    return f + 3 * math.sqrt(f * (1 - f) / (size or len(labels)))


def augmentation(protocol: TrainingProtocol) -> Callable[[Tensor, torch.Generator], Tensor] | None:
    """Return what a protocol does to a batch before the network sees it, given a generator; None for nothing."""
    if protocol.augment == "none":
        return None
    from autorobustloss.data import crop, crop_and_flip

    return crop if protocol.augment == "crop" else crop_and_flip
