"""JSON as loss cards hold it: every number finite, every field once, nothing that reads back as something else."""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping
from typing import Any

import msgspec

from autorobustloss.errors import CardError


def read_json(text: str | bytes) -> Any:
    """Return what a JSON text says; raise CardError for a field given twice, or no JSON."""
    try:
        return json.loads(text, object_pairs_hook=_object)
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


def read_field(name: str, value: Any, kind: Any) -> Any:
    """Return a field of a card as a value of its type; raise CardError for one that is none."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError, UnicodeError, SystemError) as error:
        # The last but one of half a character, the last of an integer beyond all floats.
        raise CardError(f"{name}: got {short(value)}: {error}") from None


def short(value: Any) -> str:
    """Return a value as a short text on one line."""
    return " ".join(f"{reprlib.repr(value):.80}".split())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError(f"got a field twice in {short(sorted(k for k, _ in pairs))}, expected each once")
    return content
