"""The floor: how fast this machine multiplies matrices and copies memory, which bounds everything below."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import torch

from autorobustloss.runs.reproducible import environment
from autorobustloss.runs.worker import ENVIRONMENT
from benchmarks.settings import Settings, threads
from benchmarks.table import Table, share, times
from benchmarks.timing import Spread, side_by_side

SIDE = 1024
FAST_BFLOAT16 = 1.5
"""How many times faster than float32 bfloat16 products must be to be called fast."""


def product(
    dtype: torch.dtype = torch.float32, side: int = SIDE, device: str = "cpu", size: float = 1.0
) -> Callable[[], object]:
    """Return what multiplies two square matrices, the first of numbers of a given size."""
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    a *= size
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def product_flops(side: int = SIDE) -> int:
    return 2 * side**3


def measure(settings: Settings) -> list[Table]:
    """Matrix-product rates with one thread, with all cores at once, and on a GPU; copying of memory."""
    side, rounds = (128, 2) if settings.quick else (SIDE, 9)
    source = torch.randn((1 << 24) if not settings.quick else 1 << 16)
    target = torch.empty_like(source)
    things = {
        "float32": product(torch.float32, side),
        "bfloat16": product(torch.bfloat16, side),
        "denormal": product(torch.float32, side, size=1e-40),
        "copy": lambda: target.copy_(source),
    }
    with threads(1):
        timed = side_by_side(things, rounds, least=0.05)
    fast = timed.ratio("float32", "bfloat16")
    rate = product_flops(side) / timed["float32"].median
    copied = 2 * source.nbytes / timed["copy"].median
    rows = [
        ["float32 product, 1 thread", f"{rate / 1e9:.0f} GFLOP/s", "1×"],
        [
            "bfloat16 product, 1 thread",
            f"{product_flops(side) / timed['bfloat16'].median / 1e9:.0f} GFLOP/s",
            times(fast),
        ],
        ["float32 product, one factor denormal (below 10⁻³⁸)", "", times(timed.ratio("denormal", "float32"))],
        ["copy, 1 thread, read + write", f"{copied / 1e9:.1f} GB/s", f"{rate / copied * 4:.0f} FLOP a number"],
    ]
    notes = [f"square matrices of side {side}; the machine's speed may drift, so each section measures its floor again"]
    if fast.median < FAST_BFLOAT16:
        notes.append("this processor has no fast bfloat16")
    data = {
        "float32": rate,
        "bfloat16_times": vars(fast),
        "denormal_times": vars(timed.ratio("denormal", "float32")),
        "copy_bytes_per_second": copied,
    }
    if not settings.quick and settings.workers > 1:
        settings.log("floor: all cores at once")
        together = all_cores(settings.workers)
        rows.append([f"float32 product, {settings.workers} processes at once", "", times(together)])
        per_core = Spread(*(v / settings.workers for v in (together.median, together.low, together.high)))
        notes.append(f"a core that shares the machine keeps {share(per_core)} of its speed alone")
        data["all_cores_times"] = vars(together)
    if torch.cuda.is_available():
        rows += _gpu_rows(settings, rate)
    return [Table("Floor: matrix products", ["what", "rate", "of float32, 1 thread"], rows, notes, data)]


def _gpu_rows(settings: Settings, cpu_rate: float) -> list[list[str]]:
    side = 512 if settings.quick else 8192
    things = {str(d).removeprefix("torch."): product(d, side, "cuda") for d in (torch.float32, torch.bfloat16)}
    timed = side_by_side(things, 5, 0.1, torch.cuda.synchronize)
    rates = {name: product_flops(side) / timed[name].median for name in things}
    return [
        [f"{name} product, {torch.cuda.get_device_name()}", f"{r / 1e12:.1f} TFLOP/s", f"{r / cpu_rate:.0f}×"]
        for name, r in rates.items()
    ]


def all_cores(workers: int, rounds: int = 5, seconds: float = 0.4) -> Spread:
    """Return the rate of so many single-threaded processes at once as a multiple of one of them alone."""
    with _processes(workers) as connections:

        def rate(used: list[Connection]) -> float:
            for connection in used:
                connection.send(seconds)
            return sum(connection.recv() for connection in used)

        return Spread.of([rate(connections) / rate(connections[:1]) for _ in range(rounds)])


@contextmanager
def _processes(count: int) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context("spawn")
    connections, processes = [], []
    for _ in range(count):
        ours, theirs = context.Pipe()
        with environment(**ENVIRONMENT):
            processes.append(context.Process(target=multiply, args=(theirs,), daemon=True))
            processes[-1].start()
        connections.append(ours)
    try:
        for connection in connections:
            connection.recv()  # it is up
        yield connections
    finally:
        for process in processes:
            process.kill()
            process.join()


def multiply(connection: Connection) -> None:
    """Multiply matrices for as many seconds as asked, again and again; answer with products a second."""
    torch.set_num_threads(1)
    thing = product()
    thing()
    connection.send(0.0)
    while True:
        seconds, count, start = connection.recv(), 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            thing()
            count += 1
        connection.send(count / (time.perf_counter() - start))
