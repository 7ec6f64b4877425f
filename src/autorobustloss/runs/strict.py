"""Frozen specs as plain dictionaries, and stored dictionaries read strictly."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, get_type_hints

import msgspec

from autorobustloss.errors import ConfigError, unknown_name

T = TypeVar("T")


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


def read(what: str, cls: type[T], values: Any) -> T:
    """Return a dataclass, and those in its fields, from what JSON holds of it; what it has a default for may be absent.

    Raises ConfigError for fields that are unknown or missing, and for values that its annotations do not allow.

    >>> from autorobustloss.data.spec import DataSpec
    >>> read("data set", DataSpec, {"train_size": 10})
    Traceback (most recent call last):
        ...
    autorobustloss.errors.ConfigError: data set: got no name, expected name, train_size, valid_size, test_size, …
    >>> read("data set", DataSpec, {"name": "digits", "train_size": "10"})
    Traceback (most recent call last):
        ...
    autorobustloss.errors.ConfigError: data set: Expected `int`, got `str` - at `$.train_size`
    """
    _check_fields(what, cls, values)
    try:
        return msgspec.convert(values, cls)
    except (msgspec.ValidationError, ValueError, RecursionError) as error:
        raise ConfigError(f"{what}: {error}") from error


def _check_fields(what: str, cls: Any, values: Any) -> None:
    names = [f.name for f in fields(cls)]
    if not isinstance(values, Mapping):
        raise ConfigError(f"{what}: got {type(values).__name__}, expected a mapping with {', '.join(names)}")
    for name in values:
        if name not in names:
            raise unknown_name(f"{what} field", str(name), names)
    missing = [f.name for f in fields(cls) if f.name not in values and f.default is f.default_factory is MISSING]
    if missing:
        raise ConfigError(f"{what}: got no {', '.join(missing)}, expected {', '.join(names)}")
    for name, kind in _types(cls).items():
        if is_dataclass(kind) and name in values:
            _check_fields(name, kind, values[name])


_types = functools.cache(get_type_hints)
