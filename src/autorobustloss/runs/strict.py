"""Frozen specs as plain dictionaries, and stored dictionaries read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from autorobustloss.errors import ConfigError, unknown_name


def plain(value: Any) -> Any:
    """Return what `dataclasses.asdict` does, less fields of the metadata "added" that are at their default.

    A field that is added later is marked so, and what was written before it came still compares equal.
    """
    if is_dataclass(value) and not isinstance(value, type):
        found = {f.name: (f, getattr(value, f.name)) for f in fields(value)}
        return {name: plain(v) for name, (f, v) in found.items() if not (f.metadata.get("added") and v == f.default)}
    if isinstance(value, Mapping):
        return {key: plain(v) for key, v in value.items()}
    return type(value)(map(plain, value)) if isinstance(value, (list, tuple)) else value


def known_fields(what: str, cls: type, values: Any) -> dict[str, Any]:
    """Return `values` as a dictionary if its keys are fields of a dataclass and none without a default is missing.

    Raises ConfigError otherwise.

    >>> from autorobustloss.methods import MethodSpec
    >>> known_fields("method", MethodSpec, {"hyperparameters": []})
    Traceback (most recent call last):
        ...
    autorobustloss.errors.ConfigError: method: got no name, expected name, hyperparameters
    """
    names = [f.name for f in fields(cls)]
    if not isinstance(values, Mapping):
        raise ConfigError(f"{what}: got {type(values).__name__}, expected a mapping with {', '.join(names)}")
    for name in values:
        if name not in names:
            raise unknown_name(f"{what} field", str(name), names)
    missing = [f.name for f in fields(cls) if f.name not in values and f.default is f.default_factory is MISSING]
    if missing:
        raise ConfigError(f"{what}: got no {', '.join(missing)}, expected {', '.join(names)}")
    return dict(values)
