"""Reading stored dictionaries strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from autorobustloss.errors import ConfigError, unknown_name


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
