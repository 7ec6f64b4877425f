"""Command lines that cannot be meant: what was got, what was expected, what to try."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from cyclopts import App, ArgumentCollection, CycloptsError, Token, UnknownCommandError, UnknownOptionError
from cyclopts.exceptions import CoercionError, MissingArgumentError, UnusedCliTokensError

from autorobustloss.errors import ConfigError, unknown_name

NO_TEXT = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")
"""NUL, and halves of a surrogate pair that stand for no byte."""
NUMBERS: dict[Any, str] = {int: "a whole number", float: "a number"}


def take_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take what the command line leaves open from the file that --config names, if it does."""
    by_flag = {flag: argument for argument in arguments for flag in argument.names}
    given = {flag for flag, argument in by_flag.items() if argument.tokens}
    for file in [token.value for token in by_flag["--config"].tokens] if "--config" in given else ():
        from autorobustloss.cli.config_file import read_flags  # here, for it is slow

        for flag, value in read_flags(Path(file)).items():
            if flag not in by_flag:
                raise ConfigError(f"{file}: got {flag[2:]}, expected {nearest(flag, by_flag).removeprefix('--')}")
            if isinstance(value, bool) != (by_flag[flag].hint is bool):
                wanted = "a value" if isinstance(value, bool) else "true or false"
                raise ConfigError(f"{file}: got {flag[2:]} = {value!r}, expected {wanted}")
            if flag not in given and value is not False:
                by_flag[flag].append(Token(keyword=flag, value=str(value), source=file))


def check_values(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Raise ConfigError for a value that is no text as names of files are, or not the number it should be."""
    for argument in arguments:
        for token in argument.tokens:
            if NO_TEXT.search(token.value):
                raise ConfigError(f"got {token.value[:80]!r}, expected text without NUL characters or lone surrogates")
            for kind in NUMBERS.keys() & {argument.hint, *get_args(argument.hint)}:
                try:
                    kind(token.value)
                except ValueError:
                    raise ConfigError(f"got {token.keyword} {token.value!r:.80}, expected {NUMBERS[kind]}") from None


def nearest(flag: str, known: Iterable[str]) -> str:
    """Return the known flag that is most like one that is not known."""
    names = {name.lstrip("-"): name for name in known}  # all flags are alike in their dashes
    near = difflib.get_close_matches(flag.lstrip("-"), names, n=1)
    return names[near[0]] if near else "an option that it has"


def usage_error(error: CycloptsError) -> ConfigError:
    """Return what is wrong with a command line, in a sentence."""
    command = " ".join(("arl", *(error.command_chain or ())))
    if isinstance(error, UnknownCommandError) and error.app and error.unused_tokens:
        return unknown_name("command", error.unused_tokens[0], [n for n in error.app if not n.startswith("-")])
    if isinstance(error, CoercionError) and error.token and get_origin(error.target_type) is Literal:
        what = error.token.keyword or (error.argument.name if error.argument else "value")
        return unknown_name(what, error.token.value, get_args(error.target_type))
    got, wanted = str(error), "other words"
    if isinstance(error, UnknownOptionError):
        got = (error.token.keyword or error.token.value).partition("=")[0][:80]
        wanted = nearest(got, [name for argument in error.argument_collection for name in argument.names])
    elif isinstance(error, CoercionError) and error.token:
        got, wanted = f"{error.token.keyword} {error.token.value!r:.80}", "no value"
    elif isinstance(error, MissingArgumentError) and error.keyword:
        got, wanted = f"{error.keyword} without a value", f"{error.keyword} VALUE"
    elif isinstance(error, MissingArgumentError) and error.argument:
        got, wanted = f"no {error.argument.name}", f"{command} {error.argument.name}"
    elif isinstance(error, UnusedCliTokensError) and error.unused_tokens:
        got, wanted = f"{error.unused_tokens[0]!r:.80}", "options only"
    wrong = ConfigError(f"got {got}, expected {wanted}")
    if isinstance(error, UnknownOptionError) and wanted.startswith("--"):
        wrong.got, wrong.meant = got, wanted
    return wrong
