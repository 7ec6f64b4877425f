"""Frozen specs as plain dictionaries, and stored dictionaries read strictly."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
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

    values: a dictionary, or a JSON text.

    Raises ConfigError for fields that are unknown or missing, and for values that its annotations do not allow.

    >>> from autorobustloss.data import DataSpec
    >>> read("data set", DataSpec, {"train_size": 10})
    Traceback (most recent call last):
        ...
    autorobustloss.errors.ConfigError: data set: Object missing required field `name`
    >>> read("data set", DataSpec, {"name": "digits", "train_size": "10"})
    Traceback (most recent call last):
        ...
    autorobustloss.errors.ConfigError: data set: Expected `int`, got `str` - at `$.train_size`
    """
    try:
        found = msgspec.json.decode(values) if isinstance(values, str) else values
        result = msgspec.convert(found, cls)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{what}: {error}") from error
    _check_names(what, cls, found)
    return result


def _check_names(what: str, cls: Any, values: Mapping[str, Any]) -> None:
    """Raise for names that are no fields, which msgspec passes over in a dataclass."""
    kinds = _types(cls)
    for name, value in values.items():
        if name not in kinds:
            raise unknown_name(f"{what} field", name, kinds)
        if is_dataclass(kinds[name]):
            _check_names(name, kinds[name], value)


_types = functools.cache(get_type_hints)
