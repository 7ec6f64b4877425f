"""Gated losses chosen by hand: what each number of the family is worth over the development tasks."""

from __future__ import annotations

FIRST = {"q": 0.83, "r": 2.1, "kappa": 4.35}
BASE = {"q": 0.9, "r": 1.5, "kappa": 5.0}
HAND: dict[str, dict[str, float]] = {
    "cross-entropy": {},
    "cross-entropy, smooth .1": {"smooth": 0.1},
    "first": FIRST,
    "first by agreement": {**FIRST, "power": 0},
    "first, power .5": {**FIRST, "power": 0.5, "kappa": 2.5},
    "base": BASE,
    **{f"base, {name} {value:g}": {**BASE, name: value} for name, value in (
        ("q", 0.5), ("q", 1.3), ("r", 0.7), ("r", 3), ("kappa", 2.5), ("kappa", 10), ("pace", 1), ("power", 0.6),
        ("own", 0.4), ("own", 1), ("own", 2), ("peak", 0.3), ("peak", 1), ("window", 20), ("window", 250),
        ("smooth", 0.02), ("smooth", 0.06), ("smooth", 0.12), ("smooth", 0.25), ("pull", 0.1), ("pull", 0.3),
        ("pull", 0.7), ("prior", 0.5),
    )},
    **{", ".join(f"{name} {value:g}" for name, value in values.items()): {**BASE, **values} for values in (
        {"own": 1, "peak": 0.3}, {"own": 1, "smooth": 0.06}, {"own": 1, "smooth": 0.12},
        {"own": 1, "peak": 0.3, "smooth": 0.06},
        {"own": 1, "pull": 0.2}, {"own": 1, "pull": 0.2, "smooth": 0.06}, {"own": 0.5, "peak": 1, "smooth": 0.06},
        {"own": 1, "kappa": 10, "smooth": 0.06}, {"own": 1, "kappa": 2.5, "smooth": 0.06},
        {"q": 1.3, "r": 0.7, "smooth": 0.06},
        {"q": 1.3, "own": 1, "smooth": 0.06}, {"q": 0.5, "own": 1, "smooth": 0.06}, {"r": 3, "own": 1, "smooth": 0.06},
        {"own": 1, "peak": 0.3, "smooth": 0.06, "pull": 0.2}, {"own": 2, "smooth": 0.12}, {"own": 1, "window": 250},
        {"peak": 0.3, "smooth": 0.06}, {"peak": 1, "kappa": 2.5, "smooth": 0.06},
    )},
}  # fmt: skip
