"""JSON as loss cards hold it: every number finite, every field once, nothing that reads back as something else."""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from autorobustloss.errors import CardError, ConfigError
from autorobustloss.losses.numbers import as_floats
from autorobustloss.losses.taylor.scale import check_scale


def read_json(text: str | bytes) -> Any:
    """Return what a JSON text says; raise CardError for a field given twice, a number that is none, or no JSON."""
    try:
        text = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
    except CardError:
        raise
    except (ValueError, RecursionError) as error:
        raise CardError(f"not the JSON text of a loss card: {error}") from None


def plain_json(name: str, value: Any) -> Any:
    """Return a copy in JSON's own types."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()  # half a surrogate pair cannot be written
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise CardError(f"{name}: {error}; expected texts, finite numbers, lists and objects only") from None


def digest(content: Mapping[str, Any]) -> str:
    """Return the hash of plain JSON, whatever the order of its fields."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def hexed(value: Any) -> Any:
    """Return a number, or each of several, as a hex float; anything else as it is."""
    return list(map(hexed, value)) if isinstance(value, tuple) else value.hex() if isinstance(value, float) else value


def same(got: Any, wanted: Any) -> bool:
    """Compare as JSON text, so that 1, 1.0 and True differ nowhere but in how a number is written."""
    texts = [json.dumps(json.loads(json.dumps(v), parse_int=float), sort_keys=True) for v in (got, wanted)]
    return texts[0] == texts[1]


def read_numbers(name: str, values: Any) -> tuple[float, ...]:
    """Return numbers of a card as floats; raise CardError for what is none, or not finite."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise CardError(f"{name}: got {short(values)}, expected a list of numbers")
    values = list(values)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise CardError(f"{name}: got {short(value)}, expected a number")
    try:
        return as_floats(values, name)
    except (ConfigError, OverflowError) as error:
        raise CardError(f"{name}: {error}") from None


def read_number(name: str, value: Any) -> float:
    """Return a number of a card as a float."""
    return read_numbers(name, [value])[0]


def read_scale(name: str, value: Any) -> Any:
    """Return a scale rule or factor as it is."""
    try:
        return check_scale(value)
    except ConfigError as error:
        raise CardError(f"{name}: {error}") from None


READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "tuple[float, ...]": read_numbers,
    "float": read_number,
    "float | None": lambda name, value: None if value is None else read_number(name, value),
    "Scale": read_scale,
}
"""How a field of a card is read, by its type."""


def short(value: Any) -> str:
    """Return a value as a short text on one line."""
    return " ".join(f"{reprlib.repr(value):.80}".split())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise CardError(f"got a field twice in {short(sorted(k for k, _ in pairs))}, expected each once")
    return content


def _refuse(constant: str) -> Any:
    raise CardError(f"got {constant}, expected finite numbers")
