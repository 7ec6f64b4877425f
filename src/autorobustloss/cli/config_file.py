"""`--config FILE.toml`: what the flags say, in a file; flags on the command line win."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any

import msgspec

from autorobustloss.errors import ConfigError
from autorobustloss.reading import read_text, reading

REMEDY = "expected a TOML file of flags"


def read_flags(file: Path) -> dict[str, str | bool]:
    """Return what a TOML file says of flags: a key is a flag without its dashes, a list is joined by commas."""
    text = read_text(file, REMEDY, ConfigError)
    with reading(file, "is not TOML", REMEDY, ConfigError):
        table = msgspec.toml.decode(text)
    if "config" in table:
        raise ConfigError(f"{file}: got config = {table['config']!r}, expected flags; a file of flags names no other")
    return {"--" + key.replace("_", "-"): _value(file, key, value) for key, value in table.items()}


def _value(file: Path, key: str, value: Any) -> str | bool:
    if isinstance(value, list):
        return ",".join(str(_value(file, key, v)) for v in value)
    if isinstance(value, (bool, str, int, float)):
        return value if isinstance(value, bool) else str(value)
    raise ConfigError(f"{file}: got {key} = {reprlib.repr(value)}, expected a number, a text, true, or a list of them")
