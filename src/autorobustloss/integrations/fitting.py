"""Training as an estimator needs it: weighted samples, the best epoch by noisy validation, a temperature."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from autorobustloss.data import Splits
from autorobustloss.errors import ConfigError
from autorobustloss.runs.reproducible import denormals_flushed
from autorobustloss.training import TrainingProtocol
from autorobustloss.training.evaluation import logits
from autorobustloss.training.history import History
from autorobustloss.training.loop import Run, dropout_seeded
from autorobustloss.training.objective import LossObjective

COLDEST, HOTTEST = 0.05, 100.0
"""Temperatures that are looked at: a network that is always right on validation would have none at all."""


class WeightedObjective(LossObjective):
    """One network under the mean of wᵢ·lossᵢ over a batch, the weights scaled to the mean 1 over all training samples.

    So the gradient is, on average over the batches, that of Σ wᵢ·lossᵢ / Σ wᵢ over all samples.
    """

    def __init__(self, network: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], weights: np.ndarray) -> None:
        super().__init__(network, criterion)
        self.weights = torch.from_numpy(weights / weights.mean()).float().to(next(network.parameters()).device)

    def loss(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the weighted mean and the logits."""
        logits = self.network(x)
        return (self.criterion(logits, y) * self.weights[self.index]).mean(), logits


@dataclass
class Training:
    """What a training left: its curves, what each epoch said of the held-out labels, and the epoch that was kept.

    valid_loss: the negative log-likelihood at the temperature that suits the epoch, which `temperature` is of the best.
    """

    history: History = field(default_factory=History)
    valid_loss: list[float] = field(default_factory=list)
    valid_accuracy: list[float] = field(default_factory=list)
    best_epoch: int = 0
    temperature: float = 1.0


def train(
    network: nn.Module,
    criterion: nn.Module,
    splits: Splits,
    protocol: TrainingProtocol,
    seed: int,
    weights: np.ndarray | None = None,
    valid_weights: np.ndarray | None = None,
    patience: int | None = None,
    on_epoch: Callable[[Training], None] | None = None,
) -> Training:
    """Train a network in place; with a validation split it is left as in the epoch to which its labels are likeliest.

    Epochs are compared by the negative log-likelihood at the temperature that suits each, so that neither how sure a
    loss makes a network counts, nor single labels as they would in an accuracy.

    weights, valid_weights: of the samples of either split; None for equal ones.
    patience: epochs without a lower one after which training stops; None for none.
    Raises ConfigError where not one epoch ends with finite weights.
    """
    criterion.reduction = "mean" if weights is None else "none"  # type: ignore[assignment]
    objective = LossObjective(network, criterion) if weights is None else WeightedObjective(network, criterion, weights)
    found, best = Training(), dict[str, Tensor]()

    def look(history: History) -> None:
        found.history, epoch = history, len(history.train_loss)
        temperature = 1.0
        if len(splits.y_valid_noisy):
            z = logits(network, splits.x_valid, protocol.precision)
            temperature, loss = calibrate(z, splits.y_valid_noisy, valid_weights)
            right = (z.argmax(1) == splits.y_valid_noisy).cpu().numpy()
            found.valid_loss.append(loss)
            found.valid_accuracy.append(float(np.average(right, weights=valid_weights)))
        if not found.valid_loss or loss < min(found.valid_loss[:-1], default=math.inf):
            found.best_epoch, found.temperature = epoch, temperature
            best.update({key: value.detach().clone() for key, value in network.state_dict().items()})
        if on_epoch is not None:
            on_epoch(found)

    with dropout_seeded(seed, splits.x_train.device):
        run = Run(objective, splits, protocol, seed, evaluate=())
        while run.going:
            run.record(run.epoch(), look)
            if patience is not None and found.valid_loss and len(found.valid_loss) - found.best_epoch >= patience:
                break
    if not best:
        raise ConfigError(
            f"training diverged in its first epoch: loss or weights are no longer finite at lr={protocol.lr:g}; try a "
            "tenth of that"
        )
    found.history = run.histories[0]
    network.load_state_dict(best)
    return found


@contextmanager
def suited(x: Tensor) -> Iterator[None]:
    """Compute as suits inputs: on tables with one thread, for several only wait for each other; tiny numbers are 0."""
    before = torch.get_num_threads()
    if x.ndim == 2:
        torch.set_num_threads(1)
    try:
        with denormals_flushed():
            yield
    finally:
        torch.set_num_threads(before)


def calibrate(z: Tensor, labels: Tensor, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Return the temperature T for which the labels are likeliest under softmax(z/T), and their mean −log-likelihood.

    The labels are taken as they are, noisy ones included, and each of the n with a doubt, lest a network that is right
    on all of them be taken to be always right: (n + 1)/(n + 2) of it is the label (Laplace's rule of succession), the
    rest is shared by the other classes. The likelihood is convex in 1/T; T is sought between 0.05 and 100.
    Sources: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2; the doubt is Platt's (1999).

    >>> z, labels = torch.tensor([[8.0, 0.0]] * 400), torch.tensor([0, 0, 0, 1] * 100)
    >>> temperature, _ = calibrate(z, labels)
    >>> round(torch.softmax(z[0] / temperature, 0)[0].item(), 2)
    0.75
    """
    from scipy.optimize import minimize_scalar

    z, labels, (n, classes) = z.double().cpu(), labels.cpu(), z.shape
    targets = torch.full_like(z, 1 / (n + 2) / (classes - 1)).scatter_(1, labels[:, None], (n + 1) / (n + 2))

    def surprise(log_t: float) -> float:
        losses = nn.functional.cross_entropy(z / math.exp(log_t), targets, reduction="none")
        return float(np.average(losses, weights=weights))

    found = minimize_scalar(surprise, bounds=(math.log(COLDEST), math.log(HOTTEST)), method="bounded")
    return math.exp(found.x), float(found.fun)


def create_network(
    model: Callable[[tuple[int, ...], int], nn.Module] | str, shape: tuple[int, ...], num_classes: int, seed: int
) -> nn.Module:
    """Return a network by name, or from a function of input shape and number of classes; its start follows from seed.

    Raises ConfigError for what is neither, and for a network whose logits have another shape.
    """
    from autorobustloss.models import build_model

    if isinstance(model, str):
        return build_model(model, shape, num_classes, seed)
    if isinstance(model, nn.Module) or not callable(model):
        raise ConfigError(
            f"got model={type(model).__name__}, expected a name such as 'mlp2', or a function (input_shape, "
            "num_classes) that returns a new torch.nn.Module, for every fit starts from a fresh one"
        )
    with dropout_seeded(seed, torch.device("cpu")), torch.no_grad():
        network = model(shape, num_classes)
        if not isinstance(network, nn.Module):
            raise ConfigError(f"model returned a {type(network).__name__}, expected a torch.nn.Module")
        found = tuple(network.eval()(torch.zeros(2, *shape)).shape)  # lazy layers get their weights here
    if found != (2, num_classes):
        raise ConfigError(
            f"model: for 2 samples of shape {shape} the network returns {found}, expected logits (2, {num_classes})"
        )
    return network


def create_criterion(loss: object, num_classes: int) -> nn.Module:
    """Return a loss by name, text or card, or a copy of a module that has a `reduction`.

    A name alone has its authors' values for the number of classes. Raises ConfigError for a module without `reduction`.
    """
    from autorobustloss.losses import create_loss, published_values
    from autorobustloss.registry import LOSSES

    if isinstance(loss, nn.Module):
        if not hasattr(loss, "reduction"):
            raise ConfigError(f"loss {type(loss).__name__}: got a module without `reduction`, expected one that has it")
        return copy.deepcopy(loss)
    values = published_values(loss, num_classes) if isinstance(loss, str) and loss in LOSSES else {}
    return create_loss(loss, **values)  # type: ignore[arg-type]
