"""The training loop: what every way to train shares, and `fit`, which trains one objective."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from autorobustloss.data.augment import crop, crop_and_flip
from autorobustloss.data.splits import Splits
from autorobustloss.errors import ConfigError
from autorobustloss.seeding import derive_seed, torch_generator
from autorobustloss.training.backprop import create_backprop
from autorobustloss.training.evaluation import accuracies, labelled_splits
from autorobustloss.training.history import SPLITS, History
from autorobustloss.training.objective import Objective
from autorobustloss.training.optimisers import add_penalty_, clip_norm_, create_optimiser, joint_norm
from autorobustloss.training.protocol import TrainingProtocol, learning_rate, momentum
from autorobustloss.training.smoothing import create_smoothing

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
    with dropout_seeded(seed, splits.x_train.device):
        run = Run(objective, splits, protocol, seed, evaluate)
        while run.going:
            run.record(run.epoch(), on_epoch)
    return run.histories[0]


class Run:
    """The moving parts of training: an objective, its optimiser, generators and curves.

    A cohort, which trains several candidates at once, is another one of these.
    """

    def __init__(
        self,
        objective: Objective,
        splits: Splits,
        protocol: TrainingProtocol,
        seed: int,
        evaluate: Sequence[str] = SPLITS,
        candidates: int = 1,
    ) -> None:
        if len(splits.y_train) == 0:
            raise ConfigError("got an empty training split, expected at least one sample")
        self.objective, self.splits, self.protocol, self.candidates = objective, splits, protocol, candidates
        self.targets = labelled_splits(splits, evaluate)
        networks = objective.networks.to(splits.x_train.device)
        self.parameters = [p for p in networks.parameters() if p.requires_grad]
        self.backprop = create_backprop(objective, self.parameters, protocol.precision)
        self.optimiser = create_optimiser(self.parameters, protocol)
        self.smoothing = create_smoothing(networks, protocol)
        self.orders, self.crops = torch_generator("order", seed), torch_generator("augment", seed)
        self.augment = {"none": None, "crop": crop, "crop-flip": crop_and_flip}[protocol.augment]
        self.chance = chance_level(splits.y_train)
        self.images = torch.empty_like(splits.x_train[: protocol.batch_size])
        self.epochs = self.steps = 0
        self.histories = [History() for _ in range(candidates)]
        self.going = set(range(candidates))

    def accuracies(self) -> dict[str, list[float]]:
        """Return each candidate's accuracy on the splits that are scored."""
        found = accuracies(self.objective.networks, self.targets, self.protocol.precision)
        return {split: [value] for split, value in found.items()}

    def each(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return a function of one candidate's tensors, and a number, as one of all candidates'."""
        return function

    def epoch(self) -> list[list[float]]:
        """Train for an epoch; return each candidate's mean loss, accuracy and norm of the weights after it."""
        self.objective.networks.train()
        self.epochs += 1
        x_train, y_train, protocol = self.splits.x_train, self.splits.y_train, self.protocol
        rate, mass = learning_rate(protocol, self.epochs), momentum(protocol, self.epochs)
        order = torch.randperm(len(y_train), generator=self.orders).to(y_train.device)
        losses, hits = [], []
        for index in batches(order, protocol.batch_size):
            # Every batch takes over the memory of the last one: fresh pages can cost as much as a step.
            images = self.images[: len(index)]
            x, y = torch.index_select(x_train, 0, index, out=images), y_train.index_select(0, index)
            if self.augment is not None:
                x = self.augment(x, self.crops)
            self.objective.index = index
            loss, z, gradients = self.backprop(x, y, self.epochs)
            if protocol.l1:
                add_penalty_(gradients, self.parameters, protocol.l1)
            if protocol.clip_norm:
                self.each(clip_norm_)(list(gradients), protocol.clip_norm)
            self.optimiser(gradients, rate, mass)
            self.steps += 1
            for smooth in self.smoothing:
                smooth.update(self.steps)
            losses.append(loss)
            # Not the logits: kept between larger tensors that come and go, they leave holes that nothing fits into.
            hits.append(z.argmax(-1) == y)
        # One synchronisation for all of them.
        sizes = torch.tensor([right.shape[-1] for right in hits], dtype=torch.float64).to(y_train.device)
        mean = (torch.stack(losses, dim=-1).double() * sizes).sum(-1) / sizes.sum()
        right = torch.cat(hits, dim=-1).view(self.candidates, -1)
        norms = self.each(joint_norm)([p.detach() for p in self.parameters]).double()
        return torch.stack([mean.view(-1), right.double().mean(1), norms.view(-1)], dim=1).tolist()

    def record(self, epoch: list[list[float]], on_epoch: Callable[[History], None] | None = None) -> None:
        """Write an epoch into the curves, with scores where they are due, and let go of who ends here."""
        protocol = self.protocol
        alive = {k for k in self.going if not diverged(epoch[k][0], epoch[k][2])}
        ended = dict.fromkeys(self.going - alive, "diverged")
        for k in alive:
            history = self.histories[k]
            history.train_loss.append(epoch[k][0])
            history.train_accuracy.append(epoch[k][1])
            if self.epochs == protocol.patience_at_chance and max(history.train_accuracy) <= self.chance:
                ended[k] = "chance"
            elif self.epochs == protocol.epochs:
                ended[k] = ""
        for k, stopped in ended.items():
            self.histories[k] = replace(self.histories[k], stopped=stopped, steps=self.steps)
        scored = alive if self.epochs % protocol.evaluate_every == 0 else alive & ended.keys()
        if scored or on_epoch:
            with self.shown():
                scores = self.accuracies() if scored else {}
                for k in scored:
                    self.histories[k].epochs.append(self.epochs)
                    for split, values in scores.items():
                        getattr(self.histories[k], split).append(values[k])
                if on_epoch and alive:
                    on_epoch(self.histories[0])
        self.going -= ended.keys()
        if self.smoothing and not self.going:
            self.smoothing[-1].adopt()

    def shown(self) -> AbstractContextManager[None]:
        """Put the weights that are evaluated into the networks for a while."""
        return self.smoothing[-1].shown() if self.smoothing else nullcontext()


@contextmanager
def dropout_seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Let what networks draw as they are trained be a function of a seed, and leave global random state as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.random.default_generator.manual_seed(derive_seed("dropout", seed))  # torch.manual_seed: a millisecond
        if device.type == "cuda":
            torch.cuda.manual_seed(derive_seed("dropout", seed))
        yield


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


def chance_level(labels: Tensor, size: int = 0) -> float:
    """Return the accuracy that a constant prediction does not exceed: f + 3·√(f(1 − f)/N), f the commonest label's.

    size: N, where that is a sample of the labels; 0 for all.
    """
    f = labels.bincount().max().item() / len(labels)
    return f + 3 * math.sqrt(f * (1 - f) / (size or len(labels)))
