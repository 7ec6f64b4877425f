"""A cohort: networks that differ in their Taylor loss only, trained at once on stacked weights.

All candidates of a generation share a task, so they share initial weights, noise and batches: what a step does for one
of them, `torch.func.vmap` does for all, in the same number of calls. That pays where calls cost more than the
arithmetic in them, on a GPU; on a CPU the loop with its gradients by hand is faster.

The numbers agree with those of `fit` to rounding, not to the last bit, because sums are added up in another order.
Training can amplify that to what another seed would change, in no direction. So a cohort is a way to run a job, which
can be switched on and off, and no part of the job's key.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_map

from autorobustloss.errors import ConfigError
from autorobustloss.losses.taylor.ops import Coefficients, hard_loss
from autorobustloss.seeding import torch_generator
from autorobustloss.training.evaluation import EVALUATION_BATCH, autocast, hits, labelled_splits
from autorobustloss.training.history import SPLITS, History
from autorobustloss.training.loop import augmentation, batches, diverged, stuck_at_chance
from autorobustloss.training.optimisers import create_optimiser, learning_rate, momentum
from autorobustloss.training.protocol import TrainingProtocol
from autorobustloss.training.smoothing import create_smoothing

if TYPE_CHECKING:
    from autorobustloss.data import Splits

Tensors: TypeAlias = dict[str, Tensor]
Traces: TypeAlias = dict[tuple[Any, ...], Callable[..., Any]]
"""Steps of cohorts as plain tensor operations, by what they depend on beside architecture, shape of data, protocol."""


class CohortError(ConfigError):
    """This network cannot be trained in a cohort; `fit` trains it."""


def fit_cohort(
    network: nn.Module,
    losses: Sequence[Coefficients],
    splits: Splits,
    protocol: TrainingProtocol,
    seed: int,
    evaluate: Sequence[str] = SPLITS,
    traces: Traces | None = None,
) -> list[History]:
    """Train a copy of `network` with each of the losses, all at once, and return their curves, in order.

    Every history is what `fit` returns for that loss, up to rounding, `stopped` included: a candidate that diverges or
    stays at chance ends there and touches no other. `network` itself is left as it is.

    losses: `TaylorLoss(…).coefficients(num_classes)` of each candidate.
    traces: what earlier cohorts of the same architecture, shape of data and protocol left here, and where this one
        leaves its own; tracing takes as long as some hundred steps of a small network.
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
    if len(splits.y_train) == 0:
        raise ConfigError("got an empty training split, expected at least one sample")
    if splits.y_train.min() < 0:
        raise CohortError("got training samples without a label, which only the loop leaves out")
    targets = labelled_splits(splits, evaluate)
    cohort = _Cohort(network, losses, splits, protocol, seed, {} if traces is None else traces)
    histories = [History() for _ in losses]
    running = set(range(len(losses)))
    for epoch in range(1, protocol.epochs + 1):
        stopping = set()
        for k, (loss, accuracy, norm) in enumerate(cohort.epoch(epoch)):
            if k not in running:
                continue
            history = histories[k]
            if diverged(loss, norm):
                histories[k] = replace(history, stopped="diverged", steps=cohort.steps)
                running.remove(k)
                continue
            history.train_loss.append(loss)
            history.train_accuracy.append(accuracy)
            if epoch == protocol.patience_at_chance and stuck_at_chance(history, splits.y_train):
                histories[k] = replace(history, stopped="chance")
                stopping.add(k)
        if epoch == protocol.epochs:
            stopping = set(running)
        scored = running if epoch % protocol.evaluate_every == 0 else stopping
        if scored:
            scores = cohort.accuracies(targets)
            for k in scored:
                histories[k].epochs.append(epoch)
                for split, values in scores.items():
                    getattr(histories[k], split).append(values[k])
        for k in stopping:
            histories[k] = replace(histories[k], steps=cohort.steps)
        running -= stopping
        if not running:
            break
    return histories


class _Cohort:
    """The moving parts of a cohort: one network whose weights have an axis more, the candidates', in front."""

    def __init__(
        self,
        network: nn.Module,
        losses: Sequence[Coefficients],
        splits: Splits,
        protocol: TrainingProtocol,
        seed: int,
        traces: Traces,
    ) -> None:
        self.splits, self.protocol = splits, protocol
        device = splits.x_train.device
        self.network = copy.deepcopy(network).to(device)
        trained = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        self.network.requires_grad_(False)
        changing = _changed_by_training(self.network, splits.x_train[:2])
        buffers = {name: b for name, b in self.network.named_buffers() if name in changing}
        for tensor in (*trained.values(), *buffers.values()):
            tensor.data = torch.stack([tensor.data] * len(losses)).contiguous()
        self.weights: Tensors = {name: p.data for name, p in trained.items()}
        self.buffers: Tensors = {name: b.data for name, b in buffers.items()}
        rest = (*self.network.named_parameters(), *self.network.named_buffers())
        self.shared: Tensors = {name: t.data for name, t in rest if name not in trained and name not in buffers}
        self.losses = _Stack(losses, next(iter(self.weights.values())))
        self.optimiser = create_optimiser(list(self.weights.values()), protocol)
        self.smoothing = create_smoothing(nn.ModuleList([self.network]), protocol)
        self.shown = self.smoothing[-1].shown if self.smoothing else nullcontext
        self.orders, self.crops = torch_generator("order", seed), torch_generator("augment", seed)
        self.augment = augmentation(protocol)
        self.steps = 0
        self.traces = traces
        self._steps: dict[int, Callable[[Tensor, Tensor], Any]] = {}

    @torch.no_grad()
    def epoch(self, epoch: int) -> list[list[float]]:
        """Train for an epoch; return each candidate's mean loss, accuracy and norm of the weights after it."""
        self.network.train()
        x_train, y_train = self.splits.x_train, self.splits.y_train
        rate, mass = learning_rate(self.protocol, epoch), momentum(self.protocol, epoch)
        order = torch.randperm(len(y_train), generator=self.orders).to(y_train.device)
        total, correct = torch.zeros(2, self.losses.size, dtype=torch.float64, device=y_train.device)
        seen = 0
        for index in batches(order, self.protocol.batch_size):
            x, y = x_train.index_select(0, index), y_train.index_select(0, index)
            if self.augment is not None:
                x = self.augment(x, self.crops)
            gradients, buffers, loss, right = self._step(x, y)
            self.optimiser.step(list(gradients.values()), rate, mass)
            if buffers:
                torch._foreach_copy_(list(self.buffers.values()), list(buffers.values()))
            self.steps += 1
            for smooth in self.smoothing:
                smooth.update(self.steps)
            total.add_(loss, alpha=len(y))
            correct.add_(right)
            seen += len(y)
        norms = vmap(_norm)(self.weights).double()
        return torch.stack([total / seen, correct / seen, norms], dim=1).tolist()

    @torch.no_grad()
    def accuracies(self, targets: dict[str, tuple[Tensor, Tensor]]) -> dict[str, list[float]]:
        """Return what `evaluation.accuracies` does, for each candidate."""
        self.network.eval()
        rows = max(self.protocol.batch_size, EVALUATION_BATCH // 4)

        def predict(x: Tensor) -> Tensor:
            return torch.cat([self._predictions(part) for part in x.split(rows)], dim=1)

        with self.shown():
            return {name: right.double().mean(1).tolist() for name, right in hits(predict, targets).items()}

    def _step(self, x: Tensor, y: Tensor) -> Any:
        """Return all candidates' gradients, new buffers, mean losses and numbers of right predictions on a batch."""
        if len(x) not in self._steps:
            step = self._traced(self._one_step, x, y)
            inputs = self.weights, self.buffers, self.losses.stacked, self.shared
            on_gpu = x.device.type == "cuda"
            self._steps[len(x)] = _captured(step, inputs, x, y) if on_gpu else functools.partial(step, *inputs)
        return self._steps[len(x)](x, y)

    def _predictions(self, x: Tensor) -> Tensor:
        """Return all candidates' predictions, (candidates, N)."""
        predict = self._traced(self._one_prediction, x)
        return predict(self.weights, self.buffers, self.losses.stacked, self.shared, x)

    def _one_step(
        self, weights: Tensors, buffers: Tensors, c: list[Tensor], shared: Tensors, x: Tensor, y: Tensor
    ) -> tuple[Tensors, Tensors, Tensor, Tensor]:
        """Return what `_step` does for one candidate, as `fit` would compute it."""

        def objective(weights: Tensors) -> tuple[Tensor, tuple[Tensor, Tensors]]:
            new = {name: b.clone() for name, b in buffers.items()}
            with autocast(self.protocol.precision, x.device):
                logits = functional_call(self.network, {**shared, **weights, **new}, x)
            logits = logits.to(c[0].dtype)
            return hard_loss(logits, y, self.losses.coefficients(c)).mean(), (logits, new)

        gradients, (loss, (logits, new)) = grad_and_value(objective, has_aux=True)(weights)
        if self.protocol.l1:
            gradients = {name: g + self.protocol.l1 * weights[name].sign() for name, g in gradients.items()}
        if self.protocol.clip_norm:
            factor = (self.protocol.clip_norm / (_norm(gradients) + 1e-6)).clamp_max(1.0)
            gradients = {name: g * factor for name, g in gradients.items()}
        return gradients, new, loss, (logits.argmax(-1) == y).sum()

    def _one_prediction(
        self, weights: Tensors, buffers: Tensors, c: list[Tensor], shared: Tensors, x: Tensor
    ) -> Tensor:
        """Return one candidate's predictions."""
        with autocast(self.protocol.precision, x.device):
            return functional_call(self.network, {**shared, **weights, **buffers}, x).argmax(-1)

    def _traced(self, function: Callable[..., Any], *batch: Tensor) -> Callable[..., Any]:
        """Return a function of one candidate as one of all candidates, traced for this size of batch.

        `vmap` takes Python's time at every call. So it is called once, the tensor operations that it comes down to are
        written down, and only those are run from then on.
        """
        key = (function.__name__, len(batch[0]), *self.losses.form)
        if key not in self.traces:
            stacked = vmap(function, in_dims=(0, 0, 0, None, *(None for _ in batch)))
            # The fused optimisers take gradients in the layout of the weights.
            contiguous = lambda *inputs: tree_map(Tensor.contiguous, stacked(*inputs))  # noqa: E731
            inputs = self.weights, self.buffers, self.losses.stacked, self.shared
            try:
                with torch.enable_grad():
                    self.traces[key] = make_fx(contiguous)(*inputs, *batch)
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:  # whatever a layer does that cannot be stacked
                raise CohortError(f"this network cannot be trained in a cohort: {error}") from error
        return self.traces[key]


def _captured(step: Callable[..., Any], inputs: tuple[Any, ...], x: Tensor, y: Tensor) -> Callable[..., Any]:
    """Return a step as a CUDA graph, which the GPU runs without hearing from Python; or as it is, if it cannot be one.

    The graph reads the weights where they are and the batch from a place of its own; what it returns is overwritten by
    the next call.
    """
    place = x.clone(), y.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):  # libraries set themselves up, which no graph may do
            step(*inputs, *place)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            outputs = step(*inputs, *place)
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError:  # an operation that waits for the GPU
        return functools.partial(step, *inputs)

    def replay(x: Tensor, y: Tensor) -> Any:
        place[0].copy_(x)
        place[1].copy_(y)
        graph.replay()
        return outputs

    return replay


class _Stack:
    """The coefficients of several losses, one tensor for each place in the formula."""

    def __init__(self, losses: Sequence[Coefficients], like: Tensor) -> None:
        self.size = len(losses)
        self.others, self.label = max(len(c.others) for c in losses), max(len(c.label) for c in losses)
        self.has_log = any(c.log_weight for c in losses)
        self.has_power = any(c.log_power for c in losses)
        self.form = self.size, self.others, self.label, self.has_log, self.has_power
        rows = [[*_padded(c.others, self.others), *_padded(c.label, self.label), *c[2:]] for c in losses]
        self.stacked = list(torch.tensor(rows, dtype=like.dtype, device=like.device).T.contiguous())

    def coefficients(self, c: list[Tensor]) -> Coefficients:
        """Return one candidate's coefficients from its numbers."""
        others, label, (log_weight, offset, log_power) = c[: self.others], c[self.others : -3], c[-3:]
        return Coefficients(
            tuple(others),
            tuple(label),
            log_weight if self.has_log else 0.0,
            offset,
            log_power if self.has_power else 0.0,
        )


def _padded(values: tuple[float, ...], length: int) -> tuple[float, ...]:
    return values + (0.0,) * (length - len(values))


def _changed_by_training(network: nn.Module, x: Tensor) -> set[str]:
    """Return the names of the buffers of every module that writes to one of its own in training mode."""
    probe = copy.deepcopy(network).train()
    before = {name: b.clone() for name, b in probe.named_buffers()}
    with torch.no_grad(), torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
        probe(x)
    written = {name for name, b in probe.named_buffers() if not torch.equal(b, before[name])}
    owners = {name.rpartition(".")[0] for name in written}
    return {name for name in before if name.rpartition(".")[0] in owners}


def _norm(tensors: Tensors) -> Tensor:
    """Return the joint Euclidean norm."""
    return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t) for t in tensors.values()]))


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
