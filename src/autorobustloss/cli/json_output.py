"""`--json`: how every command prints its outcome as JSON. What is in it, by command, is in `cli.outcomes`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True)
class Named:
    """Something that can be named. hyperparameters: their defaults, null where there is none."""

    name: str
    hyperparameters: dict[str, Any]
    about: str


def print_json(outcome: Any) -> None:
    """Print an outcome in one line of ASCII; a number that is none, or infinite, is null."""
    plain = msgspec.to_builtins(outcome, enc_hook=lambda value: value.tolist())  # NumPy's numbers and arrays
    print(json.dumps(_finite(plain), allow_nan=False), flush=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(v) for key, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value
