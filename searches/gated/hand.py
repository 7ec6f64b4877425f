"""Gated losses chosen by hand: what each number of the family is worth over the development tasks."""

from __future__ import annotations

from collections.abc import Mapping

FIRST = {"q": 1.2, "r": 1.6, "kappa": 10.0, "own": 1.0, "smooth": 0.08}
"""What the first verdict was on."""
BASE = {"r": 1.0, "rel": 1.0, "kappa": 15.0, "own": 1.0, "smooth": 0.1}
CHANGES: tuple[tuple[str, float], ...] = (
    ("q", 0.4), ("r", 0.5), ("r", 1.5), ("rel", 0.5), ("rel", 1.5), ("kappa", 7), ("kappa", 25), ("own", 0),
    ("own", 0.5), ("own", 2), ("smooth", 0), ("smooth", 0.05), ("smooth", 0.15), ("smooth", 0.2), ("pace", 0.5),
    ("pace", 1), ("shared", 0.3), ("shared", 1), ("sure", 5), ("sure", 25), ("power", 0), ("power", 2), ("peak", 0.5),
    ("prior", 0.5), ("window", 20), ("window", 200), ("pull", 0.1),
)  # fmt: skip
BOTH: tuple[Mapping[str, float], ...] = (
    {"r": 1.2, "rel": 1.2}, {"r": 1.5, "smooth": 0.15}, {"r": 0.7, "rel": 0.7, "smooth": 0.15}, {"r": 1.5, "rel": 0.5},
    {"r": 0, "rel": 2}, {"r": 0, "rel": 1}, {"kappa": 25, "sure": 20}, {"pace": 1, "sure": 20, "smooth": 0.13},
    {"q": 0.3, "r": 0.8, "rel": 0.8},
)  # fmt: skip


def named(values: Mapping[str, float]) -> str:
    """Return a change in words."""
    return ", ".join(f"{name} {value:g}" for name, value in values.items())


HAND: dict[str, dict[str, float]] = {
    "cross-entropy": {},
    "cross-entropy, smooth .1": {"smooth": 0.1},
    "gated at first": {"q": 0.83, "r": 2.1, "kappa": 4.35},
    "first verdict": FIRST,
    "base": BASE,
    **{f"base, {named({name: value})}": {**BASE, name: value} for name, value in CHANGES},
    **{f"base, {named(values)}": {**BASE, **values} for values in BOTH},
}
