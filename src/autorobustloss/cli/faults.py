"""Errors that nobody wrote a message for: one line for the user, the traceback in a file for those who mend it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import TypeVar

from autorobustloss import __version__
from autorobustloss.cli.streams import Terminated, interrupted, stop_if_interrupted, warn
from autorobustloss.errors import ARLError, ConfigError

T = TypeVar("T")

SHOW = "ARL_TRACEBACK"
"""The environment variable that has tracebacks printed."""

TRACE = "\nTraceback (most recent call last):\n"


def ending(error: Exception | KeyboardInterrupt) -> tuple[int, str]:
    """Return the exit code of an error and what is said of it."""
    if isinstance(error, KeyboardInterrupt) or interrupted():  # whatever a library made of Ctrl-C
        said = str(error) if isinstance(error, KeyboardInterrupt) else ""
        return (143 if isinstance(error, Terminated) else 130), said or "interrupted"
    if isinstance(error, ARLError):
        return (2 if isinstance(error, ConfigError) else 1), without_traceback(str(error))
    if isinstance(error, MemoryError):
        return 1, "memory ran out; try fewer --workers, smaller networks, or fewer samples"
    if isinstance(error, OSError):
        return 1, f"{error.filename or 'cannot write standard output, or to a disk'}: {error.strerror or error}"
    return 1, unexpected(error)


def unexpected(error: Exception) -> str:
    """Say what happened, that it is no fault of the user's, and where the traceback is."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return without_traceback(what[:500] + "\n" + "".join(traceback.format_exception(error)))


def without_traceback(text: str) -> str:
    """Return the text of an error with a traceback in it, such as that of a job that failed, as one without.

    >>> without_traceback("cannot read x.npz")
    'cannot read x.npz'
    """
    said, found, trace = text.partition(TRACE)
    if not found or os.environ.get(SHOW):
        return text
    where = _kept(trace)
    how = f"the traceback, which is in {where}" if where else f"the traceback that {SHOW}=1 shows"
    return f"{said} (a fault of arl: please report it with the command and {how})"


def _kept(trace: str) -> str:
    """Write a traceback to a file of the temporary folder; return its path, "" where that cannot be."""
    import tempfile  # slow, and hardly ever needed

    try:
        handle, name = tempfile.mkstemp(prefix="arl-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"arl {__version__}, Python {sys.version}\n{' '.join(sys.argv)[:10000]}{TRACE}{trace}")
    except OSError:
        return ""
    return name


def warned_only(what: str, do: Callable[[], T]) -> T | None:
    """Return what `do` does; where it fails, warn on standard error and return None: it is not worth a result."""
    try:
        return do()
    except Exception as error:
        stop_if_interrupted()
        reason = str(error) if isinstance(error, ARLError) else unexpected(error)
        warn(f"warning: {what}: {reason}")
        return None
