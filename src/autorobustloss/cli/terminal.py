"""Standard streams, signals and errors as a user of `arl` meets them: one line and a code, whatever happens."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

from autorobustloss import __version__
from autorobustloss.errors import ARLError, ConfigError, DataWarning
from autorobustloss.escape import message

T = TypeVar("T")

SHOW = "ARL_TRACEBACK"
"""The environment variable that has tracebacks printed."""

TRACE = "\nTraceback (most recent call last):\n"

_received: list[int] = []


class Terminated(KeyboardInterrupt):
    """SIGTERM: the work is put down as for Ctrl-C; only the exit code differs."""


def warn(text: str) -> None:
    """Print a line of `arl` on standard error, if that can be written to."""
    with contextlib.suppress(OSError, ValueError):
        print(f"arl: {message(text)}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def text_streams() -> Iterator[None]:
    """Replace characters that a stream cannot encode; where a stream is broken, let the process still end in peace.

    Python flushes both streams at its end, and would complain, with an exit code of its own, of what they still hold.
    """
    if sys.stderr is None:  # closed; libraries write to it without a look
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, it lives as long as the process
    streams = {s: s.errors for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper)}
    try:
        for stream in streams:
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
        yield
    finally:
        for stream, errors in streams.items():
            _drop_what_cannot_be_written(stream)
            stream.reconfigure(errors=errors)


def _drop_what_cannot_be_written(stream: io.TextIOWrapper) -> None:
    try:
        stream.flush()
    except (OSError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
            stream.flush()


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Print warnings about data as lines of `arl`; those of libraries, for programmers, keep their form."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, DataWarning):
            warn(f"warning: {message}")
        else:
            before(message, category, *where, **more)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Put the work down in order at SIGTERM, which batch systems send, as at Ctrl-C; remember that either came."""
    _received.clear()
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        _received.append(number)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    stopping = (signal.SIGINT, signal.SIGTERM)  # less those of which to take no notice, as by nohup or `&`
    before = {n: signal.signal(n, stop) for n in stopping if signal.getsignal(n) not in (signal.SIG_IGN, None)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()


def interrupted() -> bool:
    """Return whether Ctrl-C or SIGTERM came, even if the library it came upon made another error of it."""
    return bool(_received)


def stop_if_interrupted() -> None:
    """Stop now, if Ctrl-C or SIGTERM came and whatever it came upon swallowed it or made another error of it."""
    if interrupted():
        raise Terminated if signal.SIGTERM in _received else KeyboardInterrupt


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
    import traceback  # slow, and hardly ever needed

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
