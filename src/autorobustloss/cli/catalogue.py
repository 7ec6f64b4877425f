"""`arl losses list`."""

from __future__ import annotations

import inspect
import json
from typing import Any

from autorobustloss.losses import LOSSES, list_losses


def run_list(as_json: bool) -> int:
    """Print every loss, its hyper-parameters and the first sentence about it."""
    rows: list[dict[str, Any]] = []
    for name in list_losses():
        parameters = {
            key: default
            for key, default in LOSSES.parameters(name).items()
            if key not in ("weight", "ignore_index", "reduction")
        }
        about = (inspect.getdoc(LOSSES.get(name)) or "").split("\n")[0]
        shown = {k: None if d is inspect.Parameter.empty else d for k, d in parameters.items()}
        rows.append({"name": name, "hyperparameters": shown, "about": about})
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
        return 0
    calls = [f"{r['name']}({', '.join(_parameter(k, v) for k, v in r['hyperparameters'].items())})" for r in rows]
    width = min(max(map(len, calls)), 60)
    for call, row in zip(calls, rows):
        print(f"{call:<{width}}  {row['about']}")
    return 0


def _parameter(name: str, default: Any) -> str:
    return name if default is None else f"{name}={default!r}"
