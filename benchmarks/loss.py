"""The loss: value and gradient of a batch against `F.cross_entropy`, eager and compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.losses import TaylorLoss, create_loss, kernel, list_losses
from benchmarks.settings import Settings, candidates, threads
from benchmarks.table import Table, times, verdict
from benchmarks.timing import Spread, side_by_side

SIZES = {2: 128, 10: 128, 100: 128, 1000: 4096, 32000: 128}
"""Classes, and samples in a batch: small batches for few classes, 4 million numbers for many."""

COMPILED, EAGER = 1.1, 1.6
GATED_COMPILED, GATED_EAGER = 1.15, 2.0
UNCOMPILED = "{}, without the kernel"
COMPILED_AT = (10, 100, 1000, 32000)
LossFunction = Callable[[Tensor, Tensor], Tensor]


def ours() -> dict[str, LossFunction]:
    theta = candidates(1)[0]
    return {
        "taylor": TaylorLoss(theta, scale="max"),
        "taylor + log": TaylorLoss(theta, log_weight=0.2, scale="max"),
        "arl-taylor": create_loss("arl-taylor"),
    }


def gated() -> dict[str, LossFunction]:
    return {"arl": create_loss("arl")}


def by_pytorch(loss: LossFunction) -> LossFunction:
    """Return a loss as it is where the installation found no C compiler."""

    def without_kernel(input: Tensor, target: Tensor) -> Tensor:
        with kernel.left_out():
            return loss(input, target)

    return without_kernel


def normalised() -> dict[str, LossFunction]:
    """Return the competitors that divide by a sum over all classes, alone and in pairs."""
    names = [n for n in list_losses() if n.startswith(("nce", "nfl", "anl"))]
    return {name: create_loss(name) for name in names}


def measure(settings: Settings) -> list[Table]:
    """Return a table of ratios to cross-entropy, eager and compiled."""
    sizes = {2: 8, 10: 8} if settings.quick else SIZES
    eager: dict[int, dict[str, Spread]] = {}
    compiled: dict[int, dict[str, Spread]] = {}
    compiler = "" if settings.quick else _no_compiler()
    with threads(1):
        for classes, samples in sizes.items():
            settings.log(f"loss: {samples} × {classes}")
            losses = {
                "ce": F.cross_entropy,
                **ours(),
                **gated(),
                **{UNCOMPILED.format(name): by_pytorch(create_loss(name)) for name in ("arl-taylor", "arl")},
                **normalised(),
            }
            eager[classes] = _ratios(settings, losses, samples, classes)
            if classes in COMPILED_AT and not settings.quick and not compiler:
                settings.log(f"loss: {samples} × {classes}, compiled")
                losses = {"ce": F.cross_entropy, **ours(), **gated()}
                torch._dynamo.reset()
                compiled[classes] = _ratios(settings, {n: _compiled(f) for n, f in losses.items()}, samples, classes)
    return [_table(sizes, eager, compiled, compiler)]


def _ratios(settings: Settings, losses: dict[str, LossFunction], samples: int, classes: int) -> dict[str, Spread]:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(samples, classes, generator=draw).requires_grad_()
    labels = torch.randint(classes, (samples,), generator=draw)
    things = {name: _gradient(loss, logits, labels) for name, loss in losses.items()}
    timed = side_by_side(things, *((2, 0.0005) if settings.quick else (9, 0.02)))
    return {name: timed.ratio(name, "ce") for name in things if name != "ce"}


def _gradient(loss: LossFunction, logits: Tensor, labels: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(loss(logits, labels), logits)


def _compiled(loss: LossFunction) -> LossFunction:
    """Return a compiled function that calls a loss, as a compiled training step does.

    A module compiled on its own has a wrapper of some microseconds around it, which a function has not.
    """
    return torch.compile(lambda input, target: loss(input, target), fullgraph=True, dynamic=False)


def _no_compiler() -> str:
    """Return why nothing can be compiled here, or nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.compile(lambda x: x.sin() + 1)(torch.ones(4))
        except Exception as error:
            return f"torch.compile does not work here: {str(error).splitlines()[0]}"
    return ""


def _table(
    sizes: dict[int, int], eager: dict[int, dict[str, Spread]], compiled: dict[int, dict[str, Spread]], compiler: str
) -> Table:
    names = list(eager[min(sizes)])
    columns = ["loss", *(f"{n}×{c}" for c, n in sizes.items())]
    rows = [[name, *(times(eager[c][name]) for c in sizes)] for name in names]
    for name in (*ours(), *gated()):
        if compiled:
            rows.append([f"{name}, compiled", *(times(compiled[c][name]) if c in compiled else "" for c in sizes)])
    kernel_notes = [f"{UNCOMPILED.format('…')}: by PyTorch's operations, as where the installation finds no C compiler"]
    if not kernel.available():
        kernel_notes.append("this installation has no kernel: no C compiler was found, and all rows are without it")
    slowest = max((eager[c][name].median, f"{name}, C = {c}") for c in sizes for name in ours())
    notes = [
        "value and gradient of a batch (N×C), as a multiple of F.cross_entropy's time in the same mode; one thread",
        "compiled: by torch.compile, in a compiled function, cross-entropy too",
        *kernel_notes,
        verdict(f"eager ≤ {EAGER:g}×", slowest[0] <= EAGER, f"worst {slowest[0]:.2f}×, {slowest[1]}"),
    ]
    slowest = max((eager[c][n].median, f"C = {c}") for c in sizes for n in gated())
    met = slowest[0] <= GATED_EAGER
    notes.append(verdict(f"arl: eager ≤ {GATED_EAGER:g}×", met, f"worst {slowest[0]:.2f}×, {slowest[1]}"))
    if compiled:
        slowest = max((compiled[c][n].median, f"C = {c}") for c in compiled for n in gated())
        met = slowest[0] <= GATED_COMPILED
        notes.append(verdict(f"arl: compiled ≤ {GATED_COMPILED:g}×", met, f"worst {slowest[0]:.2f}×, {slowest[1]}"))
        slowest = max((compiled[c][n].median, f"{n}, C = {c}") for c in compiled for n in ours())
        notes.append(
            verdict(
                f"compiled ≤ {COMPILED:g}× (C ≥ 10)", slowest[0] <= COMPILED, f"worst {slowest[0]:.2f}×, {slowest[1]}"
            )
        )
    elif compiler:
        notes.append(compiler)
    cheaper = {c: sorted(n for n in normalised() if eager[c][n].median <= eager[c]["taylor"].median) for c in sizes}
    found = "; ".join(f"C = {c}: {', '.join(names)} cheaper" for c, names in cheaper.items() if names)
    notes.append(verdict("taylor costs less than every normalised loss", not found, found or "at every C"))
    data = {
        mode: {c: {n: vars(s) for n, s in by_name.items()} for c, by_name in ratios.items()}
        for mode, ratios in (("eager", eager), ("compiled", compiled))
    }
    return Table("Loss: value and gradient against cross-entropy", columns, rows, notes, data)
