"""Reading stored dictionaries strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from autorobustloss.errors import ConfigError, unknown_name


def exact_fields(what: str, cls: type, values: Any) -> dict[str, Any]:
    """Return `values` as a dictionary if its keys are exactly the fields of a dataclass, else raise ConfigError.

    >>> from autorobustloss.methods import MethodSpec
    >>> exact_fields("method", MethodSpec, {"name": "ce"})
    Traceback (most recent call last):
        ...
    autorobustloss.errors.ConfigError: method: got no hyperparameters, expected name, hyperparameters
    """
    names = [f.name for f in fields(cls)]
    if not isinstance(values, Mapping):
        raise ConfigError(f"{what}: got {type(values).__name__}, expected a mapping with {', '.join(names)}")
    for name in values:
        if name not in names:
            raise unknown_name(f"{what} field", str(name), names)
    missing = [name for name in names if name not in values]
    if missing:
        raise ConfigError(f"{what}: got no {', '.join(missing)}, expected {', '.join(names)}")
    return dict(values)
