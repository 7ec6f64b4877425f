"""Command lines that cannot be meant: what was got, what was expected, what to try."""

from __future__ import annotations

import difflib
from typing import Any, Literal, get_args, get_origin

from cyclopts import App, ArgumentCollection, CycloptsError, UnknownCommandError, UnknownOptionError
from cyclopts.exceptions import CoercionError, MissingArgumentError, UnusedCliTokensError

from autorobustloss.errors import ConfigError, unknown_name

NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}


def check_values(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Raise ConfigError for a value that is no text as names of files are, or not the number it should be."""
    for argument in arguments:
        for token in argument.tokens:
            check_text(token.value)
            for kind in NUMBERS.keys() & {argument.hint, *get_args(argument.hint)}:
                try:
                    kind(token.value)
                except ValueError:
                    raise ConfigError(f"got {token.keyword} {token.value!r:.80}, expected {NUMBERS[kind]}") from None


def check_text(word: str) -> None:
    """Raise ConfigError for a text with NUL characters, or with half a surrogate pair that stands for no byte."""
    try:
        if b"\0" in word.encode("utf-8", "surrogateescape"):
            raise ValueError
    except ValueError:
        raise ConfigError(f"got {word[:80]!r}, expected text without NUL characters or lone surrogates") from None


def usage_error(error: CycloptsError) -> ConfigError:
    """Return what is wrong with a command line, in a sentence."""
    command = " ".join(("arl", *(error.command_chain or ())))
    if isinstance(error, UnknownCommandError) and error.app and error.unused_tokens:
        names = [name for name in error.app if not name.startswith("-")]
        return unknown_name("command", error.unused_tokens[0], names)
    if isinstance(error, UnknownOptionError):
        flag = (error.token.keyword or error.token.value).partition("=")[0]
        near = difflib.get_close_matches(flag, [name for a in error.argument_collection for name in a.names], n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return ConfigError(f"got {flag:.80}, which is no option of {command}; {hint}See {command} --help")
    if isinstance(error, MissingArgumentError) and error.argument:
        name = f"value for {error.keyword}" if error.keyword else error.argument.name
        return ConfigError(f"got no {name}, expected {error.argument.parameter.help}; see {command} --help")
    if isinstance(error, CoercionError) and error.token:
        kind = error.target_type
        wanted = f"one of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else "no value"
        near = difflib.get_close_matches(error.token.value, get_args(kind), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return ConfigError(f"got {error.token.keyword} {error.token.value!r:.80}, expected {wanted}{hint}")
    if isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        return ConfigError(f"got {error.unused_tokens[0]!r:.80}, expected options only; see {command} --help")
    return ConfigError(f"{error}; see {command} --help")
