"""Many small networks trained at once: one step of all is one captured graph on a GPU, plain PyTorch on a CPU.

The networks of a `Batch` share a task and differ in seed, loss and learning rate. Nothing here is faster for one
network; on a GPU hundreds cost hardly more than one.
"""

from __future__ import annotations

import copy
import gc
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from pool import Task, arrays, draw
from torch import Tensor

from autorobustloss import create_loss, published_values
from autorobustloss.losses import EarlyLearningLoss
from autorobustloss.losses.literature.values import published_penalty
from autorobustloss.methods.ce_prior import log_frequencies
from autorobustloss.methods.logitclip import clip_logits
from autorobustloss.registry import LOSSES
from autorobustloss.seeding import derive_seed

CAPTURE = threading.Lock()
"""Held while a graph is captured, during which no other thread may wait for the GPU as a whole."""

RATES = (1 / 3, 1.0, 3.0)
"""Every method is tried at these multiples of a task's learning rate; noisy validation data choose."""


class Loss(Protocol):
    """The losses of many networks, each with one learning rate after the other: network = seed, method, rate."""

    l1: Sequence[float]
    """An L1 penalty for each method, in place of weight decay."""

    def start(self, seeds: int, rates: int, classes: int, samples: int, device: torch.device) -> list[Tensor]:
        """Prepare for a task; return the tensors to be zeroed before a training."""

    def know(self, labels: Tensor) -> None:
        """Look at the training labels of each seed, (S, N)."""

    def __call__(self, z: Tensor, y: Tensor, index: Tensor) -> Tensor:
        """Return the sum of all networks' mean losses: logits (S, M, R, B, C), labels and indices (S, B)."""


FADING = 0.95


class Gates:
    """Gated losses, each with numbers of its own, a row of them in the order of `names`.

    w = min(1, b / b̄)^g / (mean w)^pace, b = p^q (1 - m)^r (p / (p + m))^rel exp(c . (u, m, uu, um, mm)), b̄ the mean of
    b over samples of the label (at `shared` 1 over all), each counted b^own times. g = min(1, kappa d): d the running
    mean of max(0, m - p)^power, at power 0 the share of disagreement with labels, each sample counted max(p, m)^sure
    times, over about `window` batches; at `peak` 1 the largest that this was so far.
    L = mean of w ((1 - smooth) (-log p) + smooth mean over c of (-log p_c)) + pull (1 - w) (-log of the largest p).
    Windows count batches here and samples in `GatedLoss`, which makes no difference that was found.
    """

    names = (
        "q", "r", "kappa", "pace", "prior", "power", "own", "peak", "window", "smooth", "pull", "rel", "sure",
        "shared", "calm", "clear", "c1", "c2", "c3", "c4", "c5",
    )  # fmt: skip
    plain: ClassVar = {"kappa": 1.0, "power": 1.0, "window": 50.0}
    """What a number is when nobody says; 0 for all others."""

    def __init__(self, numbers: Any, device: torch.device) -> None:
        self.numbers = torch.as_tensor(np.array(numbers), dtype=torch.float32, device=device)
        self.l1 = (0.0,) * len(self.numbers)

    @classmethod
    def row(cls, **numbers: float) -> list[float]:
        """Return the numbers of a loss in order."""
        assert set(numbers) <= set(cls.names), numbers
        return [{**cls.plain, **numbers}.get(name, 0.0) for name in cls.names]

    @classmethod
    def named(cls, row: Sequence[float]) -> dict[str, float]:
        """Return the numbers of a row by name, those that are not as when nobody says: `row` undone."""
        return {name: value for name, value in zip(cls.names, row) if value != cls.plain.get(name, 0.0)}

    def alike(self) -> Gates:
        """Return gates with a state of their own and the same numbers."""
        return copy.copy(self)

    def start(self, seeds: int, rates: int, classes: int, samples: int, device: torch.device) -> list[Tensor]:
        """Prepare for a task; return the tensors to be zeroed before a training."""
        shape = (seeds, len(self.numbers), rates)
        self.beliefs, self.counts = (torch.zeros(*shape, classes, device=device) for _ in range(2))
        self.labels = torch.zeros(seeds, 1, 1, classes, device=device)
        self.surprise, self.seen, self.most, self.top, self.apart, self.batches = (
            torch.zeros(*shape, device=device) for _ in range(6)
        )
        more = [self.surprise, self.seen, self.most, self.top, self.apart, self.batches]
        return [self.beliefs, self.counts, self.labels, *more]

    def know(self, labels: Tensor) -> None:
        """Look at nothing: a gated loss sees batches only."""

    def __call__(self, z: Tensor, y: Tensor, index: Tensor) -> Tensor:
        """Return the sum of all networks' mean losses."""
        n = {name: value[:, None, None] for name, value in zip(self.names, self.numbers.unbind(1))}
        at = y[:, None, None, :].expand(z.shape[:-1])
        column = at.unsqueeze(-1)
        log_sum = torch.logsumexp(z, -1)
        ce = log_sum - z.gather(-1, column).squeeze(-1)
        with torch.no_grad():
            ones = torch.zeros_like(self.labels).scatter_add_(
                -1, y[:, None, None, :], torch.ones_like(z[:, :1, :1, :, 0])
            )
            self.labels.add_(ones)
            log_p = torch.log_softmax(z - n["prior"][..., None] * (self.labels + 1).log().unsqueeze(-2), -1)
            label = log_p.gather(-1, column).squeeze(-1)
            p, m = label.exp(), log_p.scatter(-1, column, -1e9).amax(-1).exp()
            surprise = (m - p).clamp_min(1e-9) ** n["power"] * (m > p)
            fading = 1 - 1 / n["window"].squeeze(-1)
            sure = log_p.amax(-1).exp() ** n["sure"]
            self.surprise.mul_(fading).add_((surprise * sure).mean(-1))
            self.seen.mul_(fading).add_(sure.mean(-1))
            now = self.surprise / self.seen.clamp_min(1e-12)
            torch.maximum(self.most, now, out=self.most)
            d = torch.lerp(now, self.most, n["peak"].squeeze(-1).expand_as(now)).unsqueeze(-1)
            g = (n["kappa"] * d).clamp(max=1.0)
            self.batches.mul_(fading).add_(1.0)
            self.top.mul_(fading).add_(log_p.amax(-1).exp().mean(-1))
            self.apart.mul_(fading).add_(((p - m).abs() / (p + m + 1e-12)).mean(-1))
            g = g * ((self.top / self.batches).unsqueeze(-1) ** n["calm"])
            g = g * ((self.apart / self.batches).unsqueeze(-1).clamp_min(1e-6) ** n["clear"])
            u = 1 - p
            log_b = n["q"] * label + n["r"] * torch.log1p(-m.clamp(max=1 - 1e-6)) + n["c1"] * u + n["c2"] * m
            log_b = log_b + n["rel"] * (label - torch.log(p + m + 1e-12))
            b = (log_b + n["c3"] * u * u + n["c4"] * u * m + n["c5"] * m * m).clamp(-30, 6).exp()
            times = b ** n["own"]
            self.beliefs.mul_(FADING).add_(torch.zeros_like(self.beliefs).scatter_add_(-1, at, b * times))
            self.counts.mul_(FADING).add_(torch.zeros_like(self.counts).scatter_add_(-1, at, times))
            mean = (self.beliefs / self.counts.clamp_min(1e-12)).clamp_min(1e-12).gather(-1, at)
            of_all = (
                self.beliefs.sum(-1, keepdim=True) / self.counts.sum(-1, keepdim=True).clamp_min(1e-12)
            ).clamp_min(1e-12)
            mean = mean ** (1 - n["shared"]) * of_all ** n["shared"]
            w = (b / mean).clamp(max=1.0) ** g
            w = w / w.mean(-1, keepdim=True).clamp_min(1e-6) ** n["pace"]
        value = w * (ce + n["smooth"] * (log_sum - z.mean(-1) - ce))
        value = value + n["pull"] * (1 - w).clamp_min(0) * (log_sum - z.amax(-1))
        return value.mean(-1).sum()


class Named:
    """Methods by name at their authors' values for the data set and its classes: losses as `create_loss` makes them,
    and "elr", "ce_prior" and "logitclip"."""

    def __init__(self, names: Sequence[str], data: str) -> None:
        self.names, self.data = tuple(names), data

    def start(self, seeds: int, rates: int, classes: int, samples: int, device: torch.device) -> list[Tensor]:
        """Prepare for a task; return the tensors to be zeroed before a training."""
        self.l1 = tuple(published_penalty(name, classes, self.data) for name in self.names)
        self.samples, self.frequencies = samples, torch.zeros(seeds, classes, device=device)
        self.losses: list[Any] = []
        loss: Any
        for name in self.names:
            values = published_values(name, classes, self.data)
            if name == "elr":
                loss = EarlyLearningLoss(seeds * rates * samples, classes, reduction="none", **values)
            else:
                loss = create_loss(name if name in LOSSES else "ce", reduction="none", **values)
            self.losses.append(loss.to(device))
        return [loss.targets for loss in self.losses if isinstance(loss, EarlyLearningLoss)]

    def know(self, labels: Tensor) -> None:
        """Look at the training labels of each seed, (S, N), before a training."""
        self.frequencies.copy_(torch.stack([log_frequencies(y, self.frequencies.shape[1]) for y in labels]))

    def __call__(self, z: Tensor, y: Tensor, index: Tensor) -> Tensor:
        """Return the sum of all networks\' mean losses."""
        seeds, _, rates, batch, classes = z.shape
        rows = y[:, None].expand(-1, rates, -1).reshape(-1)
        total = z.new_zeros(())
        for own, name, loss in zip(z.unbind(1), self.names, self.losses):
            more = {}
            if name == "ce_prior":
                own = own + self.frequencies[:, None, None]
            if name == "logitclip":
                own = clip_logits(own, 1.0)
            if name == "elr":
                network = torch.arange(seeds * rates, device=z.device).view(seeds, rates, 1)
                more["index"] = (network * self.samples + index[:, None]).reshape(-1)
            total = total + loss(own.reshape(-1, classes), rows, **more).sum()
        return total / batch


class Together:
    """Several kinds of losses as one."""

    def __init__(self, *losses: Any) -> None:
        self.losses = losses

    def start(self, seeds: int, rates: int, classes: int, samples: int, device: torch.device) -> list[Tensor]:
        """Prepare for a task; return the tensors to be zeroed before a training."""
        states = [tensor for loss in self.losses for tensor in loss.start(seeds, rates, classes, samples, device)]
        self.l1 = tuple(penalty for loss in self.losses for penalty in loss.l1)
        self.sizes = [len(loss.l1) for loss in self.losses]
        return states

    def know(self, labels: Tensor) -> None:
        """Show the training labels to those that look at them."""
        for loss in self.losses:
            loss.know(labels)

    def __call__(self, z: Tensor, y: Tensor, index: Tensor) -> Tensor:
        """Return the sum of all networks\' mean losses."""
        parts = z.split(self.sizes, 1)
        return torch.stack([loss(part, y, index) for loss, part in zip(self.losses, parts)]).sum()


class Scores(NamedTuple):
    """Accuracies in percent, (seeds, methods, rates): noisy validation; test, mean over classes, worst class."""

    valid: np.ndarray
    plain: np.ndarray
    balanced: np.ndarray
    least: np.ndarray


class Batch:
    """A task with all its networks, ready to be trained again and again on other seeds."""

    def __init__(
        self,
        task: Task,
        loss: Any,
        methods: int,
        seeds: int,
        data_dir: str,
        device: torch.device,
        rates: Sequence[float] = RATES,
    ) -> None:
        self.task, self.loss, self.device, self.data_dir = task, loss, device, data_dir
        self.grid = (seeds, methods, len(rates))
        self.networks = math.prod(self.grid)
        data = arrays(task.data, data_dir)
        self.classes, self.shape = data.classes, data.shape
        self.x_test = torch.from_numpy(data.x_test).to(device)
        self.y_test = torch.from_numpy(data.y_test.astype(np.int64)).to(device)
        sample = draw(task, 0, data_dir)
        self.batch = min(task.batch, len(sample.y))
        self.each_epoch = len(sample.y) // self.batch
        self.steps = self.each_epoch * task.epochs
        self.x = torch.zeros(seeds, *sample.x.shape, device=device)
        self.y = torch.zeros(seeds, len(sample.y), dtype=torch.long, device=device)
        self.order = torch.zeros(seeds, self.steps, self.batch, dtype=torch.long, device=device)
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        epochs = torch.arange(self.steps) // self.each_epoch
        factor = 0.5 * (1 + torch.cos(math.pi * epochs / task.epochs)) if task.cosine else torch.ones(self.steps)
        self.rate = (task.lr * factor).to(device)
        self.rates = torch.tensor(rates, device=device).repeat(seeds * methods).view(-1, 1, 1)
        self.states = loss.start(seeds, len(rates), self.classes, len(sample.y), device)
        self.l1 = torch.tensor(loss.l1, device=device).view(1, -1, 1).expand(self.grid).reshape(-1, 1, 1)
        self.decay = task.weight_decay * (self.l1 == 0).float()
        first = initial(task, self.shape, self.classes, torch.Generator().manual_seed(0))
        self.weights = [w.expand(self.networks, *w.shape).contiguous().to(device).requires_grad_() for w in first]
        self.moments = [torch.zeros_like(w) for w in self.weights]
        self.squares = [torch.zeros_like(w) for w in self.weights] if task.optimizer == "adamw" else []
        self.updates = torch.zeros(1, device=device)
        self.change: Any = CHANGES[task.optimizer, device.type == "cpu"]
        widths = task.layers if task.conv else ()
        self.norms = [
            [torch.zeros(self.networks * c, device=device), torch.ones(self.networks * c, device=device)]
            for c in widths
        ]
        self.graph = self._captured() if device.type == "cuda" else None

    def _captured(self) -> Any:
        # A stream of its own: matrix products of one stream share working memory, which those of graphs that run side
        # by side must not.
        stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        with CAPTURE:
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(2):
                    self.advance()
            torch.cuda.current_stream().wait_stream(stream)
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self.advance()
        return graph

    def advance(self) -> None:
        """Train all networks for one step."""
        task = self.task
        index = self.order.index_select(1, self.step).squeeze(1)
        x = self.x.gather(1, index.unsqueeze(-1).expand(-1, -1, self.x.shape[-1]))
        y, rate = self.y.gather(1, index), self.rate.index_select(0, self.step)
        z = self.forward(x, training=True).view(*self.grid, self.batch, self.classes)
        gradients = list(torch.autograd.grad(self.loss(z, y, index), self.weights, materialize_grads=True))
        with torch.no_grad():
            pace = -(rate * self.rates)
            if task.optimizer == "sgd":
                for w, moment, gradient in zip(self.weights, self.moments, gradients):
                    self.change(w, moment, gradient, pace, self.l1, self.decay)
            else:
                self.updates.add_(1)
                first, second = 1 - 0.9**self.updates, (1 - 0.999**self.updates).sqrt()
                for w, moment, square, gradient in zip(self.weights, self.moments, self.squares, gradients):
                    self.change(w, moment, square, gradient, pace, self.l1, self.decay, first, second)
            self.step.add_(1)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        """Return logits (networks, N, C): x (seeds, N, F), each seed's inputs for all its networks.

        Activations are (networks, units, N), or (networks, channels, N, height, width); the first layer of all
        networks of a seed is one product.
        """
        rows, seeds = x.shape[1], len(x)
        if not self.task.conv:
            h = x.transpose(1, 2)
            for i in range(0, len(self.weights), 2):
                w, bias = self.weights[i : i + 2]
                if i == 0:
                    w, bias = (part.reshape(seeds, -1, part.shape[-1]) for part in (w, bias))
                h = torch.baddbmm(bias, w, h).view(self.networks, -1, rows)
                h = F.relu(h) if i + 2 < len(self.weights) else h
            return h.transpose(1, 2)
        if self.device.type == "cpu":
            inputs = [self._last(own.reshape(rows, *self.shape)) for own in x]
            return torch.stack(
                [
                    self._alone(i, inputs[i * seeds // self.networks], own, training)
                    for i, own in enumerate(self._each())
                ]
            )
        h = x.reshape(seeds, rows, *self.shape).transpose(1, 2).bfloat16()  # twice as fast, as people train there
        for layer in range(len(self.task.layers)):
            pixels = F.pad(h, (1, 1, 1, 1)).unfold(3, 3, 2).unfold(4, 3, 2)
            height, width = pixels.shape[3:5]
            patches = pixels.permute(0, 1, 5, 6, 2, 3, 4).reshape(len(h), -1, rows * height * width)
            w, scale, shift = self.weights[3 * layer : 3 * layer + 3]
            h = torch.bmm(w.reshape(len(patches), -1, w.shape[-1]).to(h.dtype), patches)
            h = F.relu(self._normalised(h.view(1, -1, h.shape[-1]), scale, shift, self.norms[layer], training))
            h = h.view(self.networks, -1, rows, height, width)
        h = h.transpose(1, 2).reshape(self.networks, rows, -1).to(x.dtype)
        return torch.baddbmm(self.weights[-1], self.weights[-2], h.transpose(1, 2)).transpose(1, 2)

    def _each(self) -> Iterator[tuple[Tensor, ...]]:
        return zip(*(w.unbind() for w in self.weights))

    def _alone(self, i: int, x: Tensor, weights: Sequence[Tensor], training: bool) -> Tensor:
        """Return logits of one convolutional network, which a CPU does five times faster than many at once.

        Channels come last in memory, from the first to the last layer: their gradient takes a third of the time.
        """
        h = x
        for layer, width in enumerate(self.task.layers):
            w, scale, shift = weights[3 * layer : 3 * layer + 3]
            h = F.conv2d(h, self._last(w.view(width, -1, 3, 3)), stride=2, padding=1)
            norm = [part[i * width : (i + 1) * width] for part in self.norms[layer]]
            h = F.relu(self._normalised(h, scale, shift, norm, training))
        w = weights[-2].view(-1, *h.shape[1:]).permute(0, 2, 3, 1)
        return F.linear(h.permute(0, 2, 3, 1).flatten(1), w.flatten(1), weights[-1].squeeze(1))

    @staticmethod
    def _last(x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)

    def _normalised(self, h: Tensor, scale: Tensor, shift: Tensor, norm: list[Tensor], training: bool) -> Tensor:
        """Return h (., channels, …) scaled and shifted, after batch norm if there is any."""
        if not self.task.norm:
            return h + shift.to(h.dtype).view(-1, *[1] * (h.dim() - 2))
        mean, variance = norm
        return F.batch_norm(h, mean, variance, scale.view(-1), shift.view(-1), training, 0.1, 1e-5)

    def train(self, seeds: Sequence[int], looks: int = 1) -> list[Scores]:
        """Train all networks anew, under these seeds of data, noise, weights and order.

        looks: how often they are scored, after equal parts of the training; the last is the end.
        """
        task, drawn = self.task, [draw(self.task, seed, self.data_dir) for seed in seeds]
        with torch.no_grad():
            self.x.copy_(torch.from_numpy(np.stack([d.x for d in drawn])))
            self.y.copy_(torch.from_numpy(np.stack([d.y for d in drawn])))
            generators = [torch.Generator().manual_seed(derive_seed("many", task.label, seed)) for seed in seeds]
            firsts = [initial(task, self.shape, self.classes, generator) for generator in generators]
            each = self.networks // len(seeds)
            for place, w in enumerate(self.weights):
                w.copy_(torch.cat([first[place].to(self.device).expand(each, *w.shape[1:]) for first in firsts]))
            for tensor in (
                *self.moments,
                *self.squares,
                self.updates,
                self.step,
                *self.states,
                *[n[0] for n in self.norms],
            ):
                tensor.zero_()
            for norm in self.norms:
                norm[1].fill_(1)
            for s, generator in enumerate(generators):
                size = self.each_epoch * self.batch
                epochs = [torch.randperm(len(self.y[s]), generator=generator)[:size] for _ in range(task.epochs)]
                self.order[s].copy_(torch.cat(epochs).view(self.steps, self.batch))
        self.loss.know(self.y)
        found: list[Scores] = []
        for step in range(1, self.steps + 1):
            if self.graph is None:
                self.advance()
            else:
                self.graph.replay()
            if step * looks // self.steps > len(found):
                found.append(self._score(drawn))
        return found

    @torch.no_grad()
    def _score(self, drawn: Sequence[Any]) -> Scores:
        seeds = len(drawn)
        x = torch.from_numpy(np.stack([d.x_valid for d in drawn])).to(self.device)
        y = torch.from_numpy(np.stack([d.y_valid for d in drawn])).to(self.device)
        right = (self._predicted(x).view(*self.grid, -1) == y[:, None, None]).float().mean(-1)
        predicted = self._predicted(self.x_test.expand(seeds, *self.x_test.shape))
        hits = (predicted == self.y_test).float()
        count = torch.bincount(self.y_test, minlength=self.classes).float()
        recall = torch.zeros(self.networks, self.classes, device=self.device)
        recall = recall.scatter_add_(1, self.y_test.expand(self.networks, -1), hits) / count.clamp_min(1)
        recall = recall.view(*self.grid, -1)
        share = count / count.sum() if self.task.imbalance == 1 else None
        shares = torch.stack(
            [torch.from_numpy(d.share).float().to(self.device) if share is None else share for d in drawn]
        )
        plain = (recall * shares[:, None, None]).sum(-1)
        present = count > 0
        least = recall[..., present].amin(-1)
        return Scores(*(100 * v.cpu().numpy() for v in (right, plain, recall[..., present].mean(-1), least)))

    def _predicted(self, x: Tensor) -> Tensor:
        """Return predicted labels (networks, N), a wrong one for logits that are no numbers."""
        parts = [self.forward(part, training=False) for part in x.split(256, 1)]
        z = torch.cat([torch.where(p.isfinite().all(-1), p.argmax(-1), -1) for p in parts], 1)
        return z


def sgd(w: Tensor, moment: Tensor, gradient: Tensor, pace: Tensor, l1: Tensor, decay: Tensor) -> None:
    """Change weights (networks, ., .) in place, each network at its own pace: SGD with momentum 0.9."""
    moment.copy_(0.9 * moment + gradient + l1 * w.sign() + decay * w)
    w.add_(pace * moment)


def adamw(
    w: Tensor, moment: Tensor, square: Tensor, gradient: Tensor, pace: Tensor, l1: Tensor, decay: Tensor,
    first: Tensor, second: Tensor,
) -> None:  # fmt: skip
    """Change weights (networks, ., .) in place, each network at its own pace: AdamW."""
    gradient = gradient + l1 * w.sign()
    moment.copy_(0.9 * moment + 0.1 * gradient)
    square.copy_(0.999 * square + 0.001 * gradient * gradient)
    w.copy_(w * (1 + pace * decay) + pace / first * moment / (square.sqrt() / second + 1e-8))


CHANGES = {
    (function.__name__, compiled): torch.compile(function, dynamic=True) if compiled else function
    for function in (sgd, adamw)
    for compiled in (True, False)
}
"""By optimiser, and whether compiled, which is one sweep over memory where PyTorch alone makes ten."""


def initial(task: Task, shape: tuple[int, ...], classes: int, generator: torch.Generator) -> list[Tensor]:
    """Return initial weights of one network, uniform as PyTorch draws them: pairs (out, in), (out, 1); for a
    convolution (out, 9 in), and scale and shift (out, 1)."""

    def uniform(*size: int, fan: int) -> Tensor:
        return (torch.rand(*size, generator=generator) * 2 - 1) / math.sqrt(fan)

    weights: list[Tensor] = []
    if not task.conv:
        sizes = [math.prod(shape), *task.layers, classes]
        for i, o in pairwise(sizes):
            weights += [uniform(o, i, fan=i), uniform(o, 1, fan=i)]
        return weights
    channels, height, width = shape
    for out in task.layers:
        weights += [uniform(out, 9 * channels, fan=9 * channels), torch.ones(out, 1), torch.zeros(out, 1)]
        channels, height, width = out, (height + 1) // 2, (width + 1) // 2
    size = channels * height * width
    return [*weights, uniform(classes, size, fan=size), uniform(classes, 1, fan=size)]


class Lanes:
    """Threads side by side: of a GPU each has a stream of its own, of a CPU one core.

    What a lane made, it goes on with: item i of every `map` is done by the same one. Convolutions, which fill a GPU,
    are there all left to the first.
    """

    def __init__(self, device: torch.device, count: int = 4) -> None:
        self.device, self.count = device, count
        self.threads = [ThreadPoolExecutor(1) for _ in range(self.count)]
        for thread in self.threads:
            thread.submit(self._begin).result()

    def _begin(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_stream(torch.cuda.Stream())
        else:
            torch.set_num_threads(1)
            torch.set_flush_denormal(True)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], tasks: Sequence[Task]) -> list[Any]:
        """Return function(item) of all items, evenly over lanes; the most costly first, of convolutions last."""
        load, futures, shared = [0.0] * self.count, {}, self.device.type == "cuda"
        small = range(min(1, self.count - 1) if shared else 0, self.count)
        for i in sorted(range(len(items)), key=lambda i: cost(tasks[i]) * (1 if shared and tasks[i].conv else -1)):
            lane = 0 if shared and tasks[i].conv else min(small, key=load.__getitem__)
            load[lane] += cost(tasks[i])
            futures[i] = self.threads[lane].submit(self._twice, function, items[i])
        return [futures[i].result() for i in range(len(items))]

    def _twice(self, function: Callable[[Any], Any], item: Any) -> Any:
        try:
            return function(item)
        except RuntimeError as error:  # memory that another lane holds for a moment, as a rule
            print(f"again, after {error!r:.300}", flush=True)
        gc.collect()
        return function(item)


def cost(task: Task) -> float:
    """Return about how long a task takes, by its steps and what each takes."""
    steps = (task.size // min(task.batch, task.size)) * task.epochs
    return steps * (math.prod(task.layers) / 100 if task.conv else 1 + (task.optimizer == "adamw"))
