"""Standard output and error as the user's system has them: closed, full, in another encoding; and its signals."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from types import FrameType
from typing import Any

from autorobustloss.errors import DataWarning
from autorobustloss.escape import message

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

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, DataWarning):
            warn(f"warning: {message}")
        else:
            before(message, category, *where)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


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
