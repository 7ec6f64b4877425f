"""Losses written out for PyTorch against the library's own, and against their bare formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from autorobustloss.losses import create_loss, export_loss
from benchmarks.settings import Settings, threads
from benchmarks.table import Table, times, verdict
from benchmarks.timing import side_by_side

LOSSES = ("gce", "nce+mae", "taylor(theta=[0,0,0.3,0.2,-1,0.4,-2,0.1], log_weight=0.2, scale='max')")
SIZES = {10: 128, 1000: 4096}
TARGET, LARGE = 1.5, 1000


def measure(settings: Settings) -> list[Table]:
    """Return a table of the time of what is written out over the time of its formula."""
    sizes = {2: 8} if settings.quick else SIZES
    rows, data, worst = [], {}, 0.0
    with threads(1):
        for text in LOSSES:
            cells = []
            for classes, samples in sizes.items():
                settings.log(f"written: {text[:12]}, {samples} × {classes}")
                timed = side_by_side(_things(text, samples, classes), *((2, 0.0005) if settings.quick else (9, 0.02)))
                found = [timed.ratio(name, "formula") for name in ("file", "scale each time", "library")]
                cells += map(times, found)
                data[f"{text.partition('(')[0]}, {classes}"] = [spread.median for spread in found]
                worst = max(worst, found[0].median if classes >= min(LARGE, max(sizes)) else 0.0)
            rows.append([text.partition("(")[0], *cells])
    columns = [f"{what}, {n}×{c}" for c, n in sizes.items() for what in ("file", "scale each time", "library")]
    notes = [
        "value and gradient of a batch (N×C), as a multiple of the mean of the bare formula: no class weights, no "
        "label to be ignored, no check of shapes; one thread",
        "file: what `arl losses export NAME` writes; scale each time: the same if it forgot its scale after each call, "
        "as it did at first (other losses have none to forget); library: the loss itself",
        verdict(f"file ≤ {TARGET:g}× its formula (C ≥ {LARGE})", worst <= TARGET, f"worst {worst:.2f}×"),
    ]
    return [Table("Written out: what a file of its own costs", ["loss", *columns], rows, notes, data)]


def _things(text: str, samples: int, classes: int) -> dict[str, Callable[[], object]]:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(samples, classes, generator=draw).requires_grad_()
    labels = torch.randint(classes, (samples,), generator=draw)
    loss = create_loss(text)
    names: dict[str, Any] = {}
    exec(compile(export_loss(loss, "torch"), "written.py", "exec"), names)

    def forgetful(input: Tensor, target: Tensor) -> Tensor:
        names.get("SCALES", {}).clear()
        return names["loss"](input, target)

    things = {
        "formula": lambda z, y: names["rows"](z, y).mean(),
        "file": names["loss"],
        "scale each time": forgetful,
        "library": loss,
    }
    return {name: _gradient(thing, logits, labels) for name, thing in things.items()}


def _gradient(loss: Callable[..., Tensor], logits: Tensor, labels: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(loss(logits, labels), logits)
