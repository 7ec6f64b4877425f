"""The next step after an error: a command to run as it stands, or how to change the one that failed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence

from autorobustloss.cli.app import COMMANDS
from autorobustloss.errors import (
    ARLError,
    CardError,
    ClusterError,
    ConfigError,
    DataError,
    LossInputError,
    MissingDependencyError,
    RunFolderError,
    StoreError,
    UnknownNameError,
    UnsupportedArgumentError,
    WorkerError,
)

RESUMED = ("search", "bench", "labels")
"""Commands that keep every finished training in their run folder."""
LISTS = {"loss": "losses", "method": "methods", "model": "models", "noise": "noises", "data set": "datasets"}
LISTS |= {"protocol": "protocols"}
LONGEST = 300
"""Characters of a command that is told whole."""


def next_step(error: BaseException, words: Sequence[str], stopped: bool) -> str:
    """Return what to do after an error of the command line `arl WORDS`, "" where there is nothing better than nothing.

    stopped: whether it was Ctrl-C or SIGTERM.
    """
    command = words[0] if words and words[0] in COMMANDS else ""
    if stopped:
        return _go_on(command, words)
    if isinstance(error, ConfigError) and (better := _corrected(error, words)):
        return better
    for kind in type(error).__mro__:
        if kind in STEPS:
            return STEPS[kind](str(error), command, words)
    return ""


def same(words: Sequence[str]) -> str:
    """Return a command line as it can be pasted; of a very long one, what it is."""
    text = shlex.join(["arl", *words])
    return text if len(text) <= LONGEST else "the same command"


def _go_on(command: str, words: Sequence[str]) -> str:
    if command in RESUMED or (command == "train" and any(word.startswith("--store") for word in words)):
        return f"{same(words)}  (it goes on: what is finished is kept)"
    return f"{same(words)} --store train.sqlite  (which keeps what is finished)" if command == "train" else ""


def _corrected(error: ConfigError, words: Sequence[str]) -> str:
    """Return the command line with the name or option that was probably meant, if it is clear where that goes."""
    if not error.meant:
        return ""
    whole = re.compile(rf"(?<![\w-]){re.escape(error.got)}(?![\w-])")
    if sum(len(whole.findall(word)) for word in words) != 1:
        return ""
    return same([whole.sub(lambda _: error.meant, word) for word in words])


def _help(said: str, command: str, words: Sequence[str]) -> str:
    if offered := re.search(r"\((arl [^()]+)\)", said):
        return offered[1]
    asked = [command, *(w for w in words[1:2] if command == "losses" and w in ("list", "show", "plot", "export"))]
    return " ".join(filter(None, ["arl", *asked, "--help"]))


def _listed(said: str, command: str, words: Sequence[str]) -> str:
    kind = re.match(r"unknown ([a-z ]+) '", said)
    return f"arl list {LISTS[kind[1]]}" if kind and kind[1] in LISTS else _help(said, command, words)


def _installed(said: str, command: str, words: Sequence[str]) -> str:
    found = re.search(r"pip install ('[^']+'|[\w\[\]-]+)", said)
    return found[0] if found else ""


def _with(change: str, *commands: str) -> Callable[[str, str, Sequence[str]], str]:
    """Return the step to run one of these commands again with a change."""
    return lambda said, command, words: (
        f"{same(words)} {change}" if command in commands else _help(said, command, words)
    )


def _again(said: str, command: str, words: Sequence[str]) -> str:
    return f"{same(words)}  (what is finished is kept)" if command in RESUMED else _help(said, command, words)


STEPS: Mapping[type[BaseException], Callable[[str, str, Sequence[str]], str]] = {
    ARLError: _help,
    ConfigError: _help,
    UnknownNameError: _listed,
    LossInputError: lambda *_: "arl list losses",
    UnsupportedArgumentError: lambda *_: "arl list losses",
    DataError: lambda *_: "arl list datasets",
    CardError: lambda *_: "arl list losses",
    StoreError: _with("--store new.sqlite", "search", "train", "bench", "labels"),
    RunFolderError: _with("--out runs/new", *RESUMED),
    WorkerError: _again,
    ClusterError: _with("--executor local", "search", "train", "bench", "labels"),
    MissingDependencyError: _installed,
    MemoryError: _with("--workers 1", "search", "train", "bench", "labels"),
    OSError: _with("--out runs/new", *RESUMED),
}
"""What to do after each kind of error; of kinds that inherit from each other the nearest counts."""
