"""`--config FILE.toml`: what the flags say, in a file; flags on the command line come after and win."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autorobustloss.errors import ConfigError
from autorobustloss.reading import read_text, reading

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REMEDY = "expected a TOML file of flags"


def expand(arguments: Sequence[str]) -> list[str]:
    """Replace `--config FILE` by the flags that FILE stands for, put right after the command's name.

    A key is a flag without its dashes; true is a flag without a value, a list is joined by commas.
    """
    rest: list[str] = []
    flags: list[str] = []
    words = iter(arguments)
    for word in words:
        name, _, file = word.partition("=")
        if name != "--config":
            rest.append(word)
        elif file := file or next(words, ""):
            flags += read_flags(Path(file))
        else:
            raise ConfigError("got --config without a file, expected --config FILE.toml")
    return rest[:1] + flags + rest[1:]


def read_flags(file: Path) -> list[str]:
    """Return the flags that a TOML file stands for."""
    text = read_text(file, REMEDY, ConfigError)
    with reading(file, "is not TOML", REMEDY, ConfigError):
        table = tomllib.loads(text)
    flags: list[str] = []
    for key, value in table.items():
        flag = "--" + key.replace("_", "-")
        if flag == "--config":
            raise ConfigError(f"{file}: got config = {value!r}, expected flags; a file of flags names no other")
        if value is True:
            flags.append(flag)
        elif value is not False:
            flags.append(f"{flag}={_text(file, key, value)}")
    return flags


def _text(file: Path, key: str, value: Any) -> str:
    if isinstance(value, list):
        return ",".join(_text(file, key, v) for v in value)
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    raise ConfigError(f"{file}: got {key} = {reprlib.repr(value)}, expected a number, a text, true, or a list of them")
