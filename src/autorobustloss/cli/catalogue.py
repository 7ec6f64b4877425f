"""`arl losses list`: every loss that can be named, from the files that register them; none is imported."""

from __future__ import annotations

import json
from typing import Any

from autorobustloss.registry import LOSSES

OF_EVERY_LOSS = ("weight", "ignore_index", "reduction")


def run_list(as_json: bool) -> int:
    """Print every loss, its hyper-parameters and the first sentence about it."""
    taken = {
        name: {key: value for key, value in LOSSES.written(name).items() if key not in OF_EVERY_LOSS} for name in LOSSES
    }
    if as_json:
        rows = [{"name": n, "hyperparameters": values, "about": LOSSES.about(n)} for n, values in taken.items()]
        print(json.dumps(rows, indent=2))
        return 0
    calls = {name: f"{name}({', '.join(map(_parameter, v.keys(), v.values()))})" for name, v in taken.items()}
    width = min(max(map(len, calls.values())), 60)
    for name, call in calls.items():
        print(f"{call:<{width}}  {LOSSES.about(name)}")
    return 0


def _parameter(name: str, default: Any) -> str:
    return name if default is None else f"{name}={default!r}"
