"""Standard streams, signals and errors as a user of `arl` meets them: one line and a code, whatever happens."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

from autorobustloss import __version__
from autorobustloss.columns import WIDTH
from autorobustloss.errors import ARLError, ConfigError, DataWarning
from autorobustloss.escape import message

SHOW = "ARL_TRACEBACK"
"""The environment variable that has tracebacks printed."""

NARROWEST = 40
"""Columns that text takes even where a terminal has fewer."""

TRACE = "\nTraceback (most recent call last):\n"

_received: list[int] = []


class Terminated(KeyboardInterrupt):
    """SIGTERM: the work is put down as for Ctrl-C; only the exit code differs."""


def out_width() -> int:
    """Return how many columns standard output has for text: those of its terminal, at most `WIDTH`."""
    try:
        return max(min(os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH, WIDTH), NARROWEST)
    except (AttributeError, OSError, ValueError):
        return WIDTH


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
            try:
                stream.flush()
            except (OSError, ValueError):
                with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as nowhere:
                    os.dup2(nowhere.fileno(), stream.fileno())
                    stream.flush()
            stream.reconfigure(errors=errors)


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

    def stop(number: int, frame: FrameType | None) -> None:
        _received.append(number)
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    stopping = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    # less those of which to take no notice, as by nohup or `&`
    before = {n: signal.signal(n, stop) for n in stopping if signal.getsignal(n) not in (signal.SIG_IGN, None)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _received.clear()


def stop_if_interrupted() -> None:
    """Stop now, if Ctrl-C or SIGTERM came and whatever it came upon swallowed it or made another error of it."""
    if _received:
        raise Terminated if signal.SIGTERM in _received else KeyboardInterrupt


def ending(error: Exception | KeyboardInterrupt) -> tuple[int, str]:
    """Return the exit code of an error and what is said of it."""
    if isinstance(error, KeyboardInterrupt) or _received:  # whatever a library made of Ctrl-C
        said = str(error) if isinstance(error, KeyboardInterrupt) else ""
        return (143 if isinstance(error, Terminated) else 130), said or "interrupted"
    if isinstance(error, ARLError):
        return (2 if isinstance(error, ConfigError) else 1), without_traceback(str(error))
    if isinstance(error, MemoryError):
        return 1, "memory ran out; fewer --workers, smaller networks, or fewer samples take less"
    if isinstance(error, OSError):
        return 1, f"{error.filename or 'cannot write standard output, or to a disk'}: {error.strerror or error}"
    import traceback  # slow, and hardly ever needed

    what = " ".join(f"{type(error).__name__}: {error}".split())
    return 1, without_traceback(what[:500] + "\n" + "".join(traceback.format_exception(error)))


def tell(error: Exception | KeyboardInterrupt, words: Sequence[str]) -> int:
    """Print what is said of an error of the command line `arl WORDS`, and below it the next step; return the code."""
    from autorobustloss.cli.steps import next_step

    code, text = ending(error)
    step = next_step(error, words, stopped=code in (130, 143))
    warn(f"{text}\n  try: {step}" if step else text)
    return code


def without_traceback(text: str) -> str:
    """Return the text of an error with a traceback in it, such as that of a job that failed, as one without.

    The traceback goes to a file of the temporary folder, if that can be.

    >>> without_traceback("cannot read x.npz")
    'cannot read x.npz'
    """
    said, found, trace = text.partition(TRACE)
    if not found or os.environ.get(SHOW):
        return text
    import tempfile  # slow, and hardly ever needed

    form: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "suffix": ".txt", "delete": False}
    try:
        with tempfile.NamedTemporaryFile("w", prefix="arl-error-", **form) as file:
            file.write(f"arl {__version__}, Python {sys.version}\n{' '.join(sys.argv)[:10000]}{TRACE}{trace}")
        how = f"the traceback, which is in {file.name}"
    except OSError:
        how = f"the traceback that {SHOW}=1 shows"
    return f"{said} (a fault of arl: please report it with the command and {how})"
