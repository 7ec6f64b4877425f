"""Timing things side by side, so that a machine that is faster one minute than the next does not decide who wins."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """A median and the range around it."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Times:
    """Seconds of one call of several things, one value for each round; in a round they took turns."""

    seconds: Mapping[str, Sequence[float]]

    def __getitem__(self, name: str) -> Spread:
        return Spread.of(self.seconds[name])

    def ratio(self, one: str, other: str, factor: float = 1.0) -> Spread:
        """Return factor · time of `one` / time of `other`, taken within each round."""
        return Spread.of([factor * a / b for a, b in zip(self.seconds[one], self.seconds[other])])


def side_by_side(
    things: Mapping[str, Callable[[], object]],
    rounds: int = 9,
    least: float = 0.02,
    synchronise: Callable[[], object] = int,
) -> Times:
    """Time each thing in turn, A B C A B C …, each for at least `least` seconds in a round, after a warm-up.

    `synchronise` waits for the device, for things that return before they are done.
    """
    calls = {name: _calls(thing, least, synchronise) for name, thing in things.items()}
    seconds: dict[str, list[float]] = {name: [] for name in things}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, thing in things.items():
                seconds[name].append(_time(thing, calls[name], synchronise))
    finally:
        if collecting:
            gc.enable()
    return Times(seconds)


def _calls(thing: Callable[[], object], least: float, synchronise: Callable[[], object]) -> int:
    """Warm up, and return how many calls fill `least` seconds."""
    thing()
    thing()
    once = min(_time(thing, 1, synchronise), _time(thing, 1, synchronise))
    return max(1, round(least / max(once, 1e-7)))


def _time(thing: Callable[[], object], calls: int, synchronise: Callable[[], object]) -> float:
    synchronise()
    start = time.perf_counter()
    for _ in range(calls):
        thing()
    synchronise()
    return (time.perf_counter() - start) / calls
