"""The inner loop: training steps as a share of the matrix-product rate, and what the rest of a step goes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from autorobustloss.data.splits import Splits
from autorobustloss.losses import TaylorLoss
from autorobustloss.losses.base import value_and_gradient
from autorobustloss.models import build_model
from autorobustloss.training import LossObjective, TrainingProtocol, fit
from autorobustloss.training.backprop import Chain, create_backprop
from autorobustloss.training.evaluation import autocast
from autorobustloss.training.optimisers import create_optimiser
from benchmarks import precision
from benchmarks.floor import FAST_BFLOAT16, SIDE, product, product_flops
from benchmarks.settings import NETWORKS, Settings, candidates, threads
from benchmarks.table import Table, percent, share, times, verdict
from benchmarks.textbook import CNN4
from benchmarks.timing import Times, side_by_side

BATCH = 128
ROUNDS, STEPS = 9, 15
SUBJECTS = [(name, side, ROUNDS, STEPS) for side in (28, 8) for name in NETWORKS] + [("jocor-net", 28, 3, 2)]
"""Network, side of its images, rounds of timing, steps of an epoch; few for the network that takes long."""
TARGETS = {"float32": 0.5, "bfloat16": 1 / 3}
PHASES = ("batch", "forward", "loss", "backward", "update")
PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward")


def measure(settings: Settings) -> list[Table]:
    """Return a table for float32, and one for bfloat16 where that is fast."""
    with threads(1):
        side = 256 if settings.quick else SIDE
        fast = side_by_side({d: product(getattr(torch, d), side) for d in TARGETS}, 3, 0.05).ratio(
            "float32", "bfloat16"
        )
        tables = [_steps(settings, "float32")]
        if fast.median >= FAST_BFLOAT16:
            tables.append(_steps(settings, "bfloat16"))
    if fast.median < FAST_BFLOAT16:
        text = f"bfloat16 products are {times(fast)} as fast as float32 here: this processor has no fast bfloat16"
        tables.append(Table("Inner loop, bfloat16", ["answer"], [[text]], data={"bfloat16_times": vars(fast)}))
    return [*tables, precision.measure(settings, bfloat16=fast.median >= FAST_BFLOAT16)]


def _steps(settings: Settings, precision: str) -> Table:
    rows, notes, data = [], [], {}
    target = TARGETS[precision]
    for network, side, rounds, steps in SUBJECTS[:3] if settings.quick else SUBJECTS:
        name = f"{network} {side}×{side}"
        settings.log(f"inner loop: {name}, {precision}")
        step = Step(network, (1, side, side), precision, steps)
        timed = _time(settings, step, rounds)
        floor = step.flops / product_flops(256 if settings.quick else SIDE)
        reached = timed.ratio("floor", "fit", floor * steps)
        bare = timed.ratio("floor", "products", floor)
        bound = timed.ratio("floor", "products and update", floor)
        phases = {phase: timed.ratio(phase, "fit", steps) for phase in PHASES}
        rest = 1 - sum(p.median for p in phases.values())
        met = "yes" if reached.median >= target else "no"
        parts = [percent(p.median) for p in phases.values()]
        rows.append([name, share(reached), met, share(bare), share(bound), *parts, percent(rest)])
        data[name] = {"share": vars(reached), "bare_products": vars(bare), "flops": step.flops}
        data[name] |= {"with_update": vars(bound)} | {phase: p.median for phase, p in phases.items()}
        if "conv2d" in timed.seconds:
            slower, least = timed.ratio("conv2d", "fit", steps), timed.ratio("conv2d products", "fit", steps)
            notes.append(
                f"{name}: the same network of nn.Conv2d, channels last, takes {times(slower)} our step with "
                f"cross-entropy; its bare convolutions and products alone {times(least)}"
            )
    reached_all = all(row[2] == "yes" for row in rows)
    names = ", ".join(row[0] for row in rows if row[2] == "yes") or "none"
    notes = [
        "share: FLOP of the products of a step of 128 ÷ (time of a step in `fit` × rate of the floor); one thread",
        "bare products: the share if nothing but the step's own matrix products and convolutions ran, at their sizes; "
        "with update: these and the optimiser's update, the least that a step can be",
        "batch … rest: share of a step's time, each part timed alone; loss is its value and gradient; rest: the loop, "
        "and what the parts take longer one after the other, when each finds the caches full of what the last one used",
        verdict(f"{percent(target)} of the floor", reached_all, f"reached by {names}"),
        "where it is missed: small products do not reach the floor even alone (bare products), and what is beside them "
        "(gather, bias, ReLU, loss, update, calls) moves memory or waits for the interpreter",
        *notes,
    ]
    columns = ["network", "share of floor", f"≥ {percent(target)}", "bare products", "with update", *PHASES, "rest"]
    return Table(f"Inner loop, {precision}: a step against the floor", columns, rows, notes, data)


def _time(settings: Settings, step: Step, rounds: int) -> Times:
    side, dtype = 256 if settings.quick else SIDE, getattr(torch, step.protocol.precision)
    products, phases = step.replay(step.run), step.phases()
    things: dict[str, Callable[[], object]] = {"floor": product(dtype, side), "fit": step.fit, "products": products}
    things |= {"products and update": lambda: (products(), phases["update"]())} | phases
    if step.shape[1] == 28 and step.name == "cnn4":
        conv = Step("conv2d", step.shape, step.protocol.precision)
        things |= {"conv2d": conv.run, "conv2d products": conv.replay(conv.run)}
    return side_by_side(things, *((2, 0.001) if settings.quick else (rounds, 0.05)))


class Step:
    """A training step, whole and in parts."""

    def __init__(self, name: str, shape: tuple[int, int, int], precision: str, steps: int = STEPS) -> None:
        draw = torch.Generator().manual_seed(0)
        count = BATCH * steps
        self.x = torch.randn(count, *shape, generator=draw)
        self.y = torch.randint(10, (count,), generator=draw)
        self.index = torch.randperm(count, generator=draw)[:BATCH]
        self.name, self.shape, self.protocol = name, shape, TrainingProtocol(lr=1e-6, epochs=1, precision=precision)
        self.network: nn.Module = CNN4(shape[1]) if name == "conv2d" else build_model(name, shape, 10, seed=0)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss: nn.Module = nn.CrossEntropyLoss() if name == "conv2d" else TaylorLoss(candidates(1)[0], scale="max")
        self.parameters = list(self.network.parameters())
        self.objective = LossObjective(self.network, self.loss)
        self.backprop = create_backprop(self.objective, self.parameters, precision)
        self.update = create_optimiser(self.parameters, self.protocol)
        nothing, labels = self.x[:0], self.y[:0]
        self.splits = Splits(
            self.x, self.y, self.y, nothing, labels, labels, nothing, labels, num_classes=10, noise_rate=None
        )
        with FlopCounterMode(display=False) as counter:
            torch.autograd.grad(self.network(self.batch()[0]).sum(), self.parameters)
        self.flops = counter.get_total_flops()

    def fit(self) -> None:
        """Train for an epoch as a job does."""
        fit(self.objective, self.splits, self.protocol, seed=0, evaluate=())

    def run(self) -> None:
        """Take one step."""
        _, _, gradients = self.backprop(*self.batch(), 1)
        self.update(gradients, self.protocol.lr, self.protocol.momentum)

    def batch(self) -> tuple[Tensor, Tensor]:
        return self.x.index_select(0, self.index), self.y.index_select(0, self.index)

    def phases(self) -> dict[str, Callable[[], object]]:
        """Return the parts of a step, each on inputs that are there."""
        x, y = self.batch()
        gradients = [torch.full_like(p, 1e-3) for p in self.parameters]  # under zeros momentum decays to slow denormals
        parts: dict[str, Callable[[], object]] = {
            "batch": self.batch,
            "update": lambda: self.update(gradients, self.protocol.lr, self.protocol.momentum),
        }
        if isinstance(chain := self.backprop, Chain):
            inputs, logits = chain.forward(x)
            _, pull = value_and_gradient(self.loss, logits, y)
            parts |= {"forward": lambda: chain.forward(x), "backward": lambda: chain.backward(inputs, pull)}
        else:

            def forward() -> Tensor:
                with autocast(self.protocol.precision, x.device):
                    return self.network(x)

            graph = forward()
            logits = graph.detach()
            _, pull = value_and_gradient(self.loss, logits, y)
            parts["forward"] = forward
            parts["backward"] = lambda: torch.autograd.grad(graph, self.parameters, pull, retain_graph=True)
        return parts | {"loss": lambda: value_and_gradient(self.loss, logits, y)}

    def replay(self, call: Callable[[], object]) -> Callable[[], None]:
        """Return what runs the matrix products and convolutions of a call again, and nothing else."""
        with Recorder() as recorder:
            call()

        @torch.inference_mode()
        def again() -> None:
            for function, args, kwargs in recorder.calls:
                function(*args, **kwargs)

        return again


class Recorder(TorchDispatchMode):
    """Keeps the calls of matrix products and convolutions, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func.overloadpacket.__name__ in PRODUCTS:
            kept = tuple(a.detach() if isinstance(a, Tensor) else a for a in args)
            self.calls.append((func, kept, kwargs or {}))
        return func(*args, **(kwargs or {}))
