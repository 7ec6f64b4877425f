"""A cohort: networks that differ in their Taylor loss only, trained at once on stacked weights.

All candidates of a generation share a task, so they share initial weights, noise and batches: what a step does for one
of them, `torch.func.vmap` does for all, in the same number of calls, and a GPU repeats them as one CUDA graph. That pays
where calls cost more than the arithmetic in them; on a CPU the loop with its gradients by hand is faster.

The numbers agree with those of `fit` to rounding, not to the last bit, because sums are added up in another order.
Training can amplify that to what another seed would change, in no direction. So a cohort is a way to run a job, which
can be switched on and off, and no part of the job's key.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from autorobustloss.errors import ConfigError
from autorobustloss.losses.functional import Coefficients, hard_loss
from autorobustloss.training.evaluation import EVALUATION_BATCH, autocast
from autorobustloss.training.history import SPLITS, History
from autorobustloss.training.loop import Run
from autorobustloss.training.protocol import TrainingProtocol

if TYPE_CHECKING:
    from autorobustloss.data import Splits

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
        own = dict(self.network.named_parameters())
        self.network.requires_grad_(False)
        # Buffers that are not saved are constants, such as the indices of windows.
        buffers = {name: t for name, t in self.network.state_dict(keep_vars=True).items() if name not in own}
        trained = {name: p for name, p in own.items() if dict(network.named_parameters())[name].requires_grad}
        for tensor in (*trained.values(), *buffers.values()):
            tensor.data = torch.stack([tensor.data] * len(losses)).contiguous()
        self.weights: Tensors = {name: p.data for name, p in trained.items()}
        self.buffers: Tensors = {name: b.data for name, b in buffers.items()}
        self.rows, self.coefficients = stacked(losses, like=next(iter(self.weights.values())))
        self._steps: dict[int, Callable[[Tensor, Tensor], Any]] = {}
        parameters = list(self.weights.values())
        super().__init__(self.network, parameters, splits, protocol, seed, evaluate, len(losses))

    def backprop(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
        """Return all candidates' mean losses, logits and gradients on a batch; what a network counts is counted."""
        if len(x) not in self._steps:
            self._steps[len(x)] = captured(self._step, x, y) if x.device.type == "cuda" else self._step
        loss, logits, gradients, buffers = self._steps[len(x)](x, y)
        for name, buffer in buffers.items():
            self.buffers[name].copy_(buffer)
        return loss.clone(), logits, list(gradients.values())

    def each(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """Return a function of one candidate's tensors, and a number, as one of all candidates'."""
        return lambda tensors, *numbers: vmap(lambda own: function(own, *numbers))(tensors)

    def predict(self, x: Tensor) -> Tensor:
        """Return all candidates' predictions, (candidates, N)."""
        self.network.eval()

        def one(weights: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
            with autocast(self.protocol.precision, x.device):
                return functional_call(self.network, {**weights, **buffers}, x).argmax(-1)

        everyone = vmap(one, in_dims=(0, 0, None))
        rows = max(self.protocol.batch_size, EVALUATION_BATCH // 4)
        return torch.cat([everyone(self.weights, self.buffers, part) for part in x.split(rows)], dim=1)

    def _step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensors, Tensors]:
        """Return all candidates' losses, logits, gradients, and new buffers."""

        def one(weights: Tensors, buffers: Tensors, row: Tensor) -> tuple[Tensor, Tensor, Tensors, Tensors]:
            def objective(weights: Tensors) -> tuple[Tensor, tuple[Tensor, Tensors]]:
                new = {name: b.clone() for name, b in buffers.items()}
                with autocast(self.protocol.precision, x.device):
                    logits = functional_call(self.network, {**weights, **new}, x)
                logits = logits.to(row.dtype)
                return hard_loss(logits, y, self.coefficients(row)).mean(), (logits, new)

            gradients, (loss, (logits, new)) = grad_and_value(objective, has_aux=True)(weights)
            return loss, logits, gradients, new

        try:
            loss, logits, gradients, new = vmap(one)(self.weights, self.buffers, self.rows)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a layer does that cannot be stacked
            raise CohortError(f"this network cannot be trained in a cohort: {error}") from error
        # The fused optimisers take gradients in the layout of the weights.
        return loss, logits, {name: g.contiguous() for name, g in gradients.items()}, new


def captured(step: Callable[[Tensor, Tensor], Any], x: Tensor, y: Tensor) -> Callable[[Tensor, Tensor], Any]:
    """Return a step as a CUDA graph, which the GPU runs without hearing from Python; or as it is, if it cannot be one.

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
    try:
        with torch.cuda.graph(graph):
            outputs = step(*place)
    except torch.cuda.OutOfMemoryError:
        raise
    except (CohortError, RuntimeError):  # an operation that waits for the GPU
        return step

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

    def padded(values: tuple[float, ...], length: int) -> tuple[float, ...]:
        return values + (0.0,) * (length - len(values))

    def read(row: Tensor) -> Coefficients:
        terms, (log_weight, offset, log_power) = row[:-3].unbind(), row[-3:].unbind()
        return Coefficients(
            terms[:others], terms[others:], log_weight if has_log else 0.0, offset, log_power if has_power else 0.0
        )

    rows = [[*padded(c.others, others), *padded(c.label, label), *c[2:]] for c in losses]
    return torch.tensor(rows, dtype=like.dtype, device=like.device), read


def bytes_per_candidate(network: nn.Module, x: Tensor) -> int:
    """Return roughly how much memory training one candidate on batches like `x` takes.

    Eight times the weights (gradients, moments, averages, copies on the way) and twice what a forward pass keeps for
    the backward pass.
    """
    weights = {t.data_ptr(): t.nbytes for t in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    probe = copy.deepcopy(network).to(x.device)
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        probe(x)
    return 8 * sum(weights.values()) + 2 * sum(kept.values())


def cohort_size(bytes_per_candidate: int, free_bytes: int, candidates: int) -> int:
    """Return how many candidates to train at once: as many as fit into four fifths of the memory, in equal cohorts.

    >>> cohort_size(bytes_per_candidate=100, free_bytes=1000, candidates=12)
    6
    """
    fitting = max(1, int(0.8 * free_bytes) // bytes_per_candidate)
    return math.ceil(candidates / math.ceil(candidates / fitting))
