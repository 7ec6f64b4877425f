"""A cohort: networks that differ in their Taylor loss only, trained at once on stacked weights.

All candidates of a generation share a task, so they share initial weights, noise and batches: what a step does for one
of them, `torch.func.vmap` does for all, in the same number of calls, which a GPU repeats as one CUDA graph. That pays
where calls cost more than the arithmetic in them; on a CPU the loop with its gradients by hand is faster.

The numbers agree with those of `fit` to rounding, not to the last bit, because sums are added up in another order.
Training can amplify that to what another seed would change, in no direction. So a cohort is a way to run a job, which
can be switched on and off, and no part of the job's key.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from autorobustloss.data.splits import Splits
from autorobustloss.errors import ConfigError
from autorobustloss.losses.taylor.ops import Coefficients, hard_loss
from autorobustloss.training.evaluation import EVALUATION_BATCH, autocast, hits
from autorobustloss.training.history import SPLITS, History
from autorobustloss.training.loop import Run
from autorobustloss.training.objective import Objective
from autorobustloss.training.protocol import TrainingProtocol

Tensors: TypeAlias = dict[str, Tensor]


class CohortError(ConfigError):
    """This network cannot be trained in a cohort; `fit` trains it."""


def fit_cohort(
    network: nn.Module,
    losses: Sequence[Coefficients],
    splits: Splits,
    protocol: TrainingProtocol,
    seed: int,
    evaluate: Sequence[str] = SPLITS,
) -> list[History]:
    """Train a copy of `network` with each of the losses, all at once, and return their curves, in order.

    Every history is what `fit` returns for that loss, up to rounding, `stopped` included: a candidate that diverges or
    stays at chance ends there and touches no other. `network` itself is left as it is.

    losses: `TaylorLoss(…).coefficients(num_classes)` of each candidate.
    Raises ConfigError where `fit` does; CohortError for training labels to be ignored (negative ones), and for a
    network that cannot be stacked: one that draws random numbers as it is trained (dropout), whose control flow depends
    on its values, or with layers that `vmap` does not know.

    >>> from autorobustloss.data import DataSpec, load_dataset, make_splits
    >>> from autorobustloss.losses import TaylorLoss
    >>> from autorobustloss.models import build_model
    >>> splits = make_splits(load_dataset("digits"), DataSpec("digits", train_size=500), "sym:0.2")
    >>> network = build_model("mlp2", splits.input_shape, splits.num_classes, seed=0)
    >>> losses = [TaylorLoss([0] * 5, log_weight=w, scale=10.0).coefficients(10) for w in (1.0, 0.0)]  # CE, a constant
    >>> learnt, constant = fit_cohort(network, losses, splits, TrainingProtocol(lr=0.1, epochs=5), seed=0)
    >>> learnt.last("test") > 0.7 > constant.last("test")
    True
    """
    cohort = Cohort(network, losses, splits, protocol, seed, evaluate)
    while cohort.going:
        cohort.record(cohort.epoch())
    return cohort.histories


class Cohort(Run):
    """The training of one network whose weights have an axis more, the candidates', in front."""

    def __init__(
        self,
        network: nn.Module,
        losses: Sequence[Coefficients],
        splits: Splits,
        protocol: TrainingProtocol,
        seed: int,
        evaluate: Sequence[str] = SPLITS,
    ) -> None:
        if (splits.y_train < 0).any():
            raise CohortError("got training samples without a label, which only the loop leaves out")
        self.network = copy.deepcopy(network).to(splits.x_train.device)
        # Buffers that are not saved are constants, such as the indices of windows.
        saved, own = self.network.state_dict(keep_vars=True), dict(self.network.named_parameters())
        moving = {name: t for name, t in saved.items() if name not in own or t.requires_grad}
        for tensor in moving.values():
            tensor.data = torch.stack([tensor.data] * len(losses)).contiguous()
        self.weights = {name: t.data for name, t in moving.items() if name in own}
        self.buffers = {name: t.data for name, t in moving.items() if name not in own}
        self.rows, self.coefficients = stacked(losses, like=next(iter(self.weights.values())))
        self._steps: dict[int, Callable[[Tensor, Tensor], Any]] = {}
        objective = Objective()
        objective.networks = nn.ModuleList([self.network])
        super().__init__(objective, splits, protocol, seed, evaluate, len(losses))
        self.backprop = self.all_at_once

    def all_at_once(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Return all candidates' mean losses, logits and gradients on a batch, and move their buffers."""
        try:
            if len(x) not in self._steps:
                self._steps[len(x)] = captured(self._step, x, y) if x.device.type == "cuda" else self._step
            loss, logits, gradients, buffers = self._steps[len(x)](x, y)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a layer does that cannot be stacked, or captured
            raise CohortError(f"this network cannot be trained in a cohort: {error}") from error
        for name, buffer in buffers.items():
            self.buffers[name].copy_(buffer)
        return loss.clone(), logits.clone(), gradients

    def _step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, list[Tensor], Tensors]:
        """Return all candidates' losses, logits, gradients, and new buffers."""

        def loss_of(weights: Tensors, buffers: Tensors, row: Tensor) -> tuple[Tensor, tuple[Tensor, Tensors]]:
            new = {name: b.clone() for name, b in buffers.items()}
            with autocast(self.protocol.precision, x.device):
                logits = functional_call(self.network, {**weights, **new}, x)
            logits = logits.to(row.dtype)
            return hard_loss(logits, y, self.coefficients(row)).mean(), (logits, new)

        everyone = vmap(grad_and_value(loss_of, has_aux=True))
        gradients, (loss, (logits, new)) = everyone(self.weights, self.buffers, self.rows)
        # The fused optimisers take gradients in the layout of the weights.
        return loss, logits, [g.contiguous() for g in gradients.values()], new

    def each(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return a function of one candidate's tensors, and a number, as one of all candidates'."""
        return lambda tensors, *numbers: vmap(lambda own: function(own, *numbers))(tensors)

    @torch.no_grad()
    def accuracies(self) -> dict[str, list[float]]:
        """Return each candidate's accuracy on the splits that are scored."""
        self.network.eval()

        def one(weights: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
            with autocast(self.protocol.precision, x.device):
                return functional_call(self.network, {**weights, **buffers}, x).argmax(-1)

        def predict(x: Tensor) -> Tensor:
            parts = x.split(max(self.protocol.batch_size, EVALUATION_BATCH))
            return torch.cat([vmap(one, (0, 0, None))(self.weights, self.buffers, part) for part in parts], dim=1)

        return {name: right.double().mean(1).tolist() for name, right in hits(predict, self.targets).items()}


def captured(step: Callable[[Tensor, Tensor], Any], x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Any]:
    """Return a step as a CUDA graph, which the GPU runs without hearing from Python.

    The graph reads the weights where they are and the batch from a place of its own; what it returns is overwritten by
    the next call.
    """
    place = x.clone(), y.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # libraries set themselves up, which no graph may do
            step(*place)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = step(*place)

    def replay(x: Tensor, y: Tensor) -> Any:
        place[0].copy_(x)
        place[1].copy_(y)
        graph.replay()
        return outputs

    return replay


def stacked(losses: Sequence[Coefficients], like: Tensor) -> tuple[Tensor, Callable[[Tensor], Coefficients]]:
    """Return the numbers of all losses, a row for each, and what reads one row as coefficients."""
    others, label = max(len(c.others) for c in losses), max(len(c.label) for c in losses)
    has_log, has_power = any(c.log_weight for c in losses), any(c.log_power for c in losses)

    def read(row: Tensor) -> Coefficients:
        terms, (log_weight, offset, log_power) = row[:-3].unbind(), row[-3:].unbind()
        return Coefficients(
            terms[:others], terms[others:], log_weight if has_log else 0.0, offset, log_power if has_power else 0.0
        )

    zeros = (0.0,) * max(others, label)
    rows = [[*(c.others + zeros)[:others], *(c.label + zeros)[:label], *c[2:]] for c in losses]
    return torch.tensor(rows, dtype=like.dtype, device=like.device), read
