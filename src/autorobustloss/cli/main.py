"""The command `arl`: parse, make a frozen configuration, make one call; no traceback, whatever happens.

What takes long to import is imported under the handler of errors, so that Ctrl-C may come at any moment.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from autorobustloss import __version__, escape
from autorobustloss.cli.faults import unexpected, without_traceback
from autorobustloss.cli.streams import Terminated, interrupted, plain_warnings, stop_signals, text_streams, warn
from autorobustloss.errors import ARLError, ConfigError

EPILOG = """\
examples:
  arl search                                 search a loss on the bundled digits, some two minutes on two cores
  arl search --dataset mnist --data-dir DIR  the same on MNIST from DIR/mnist.npz
  arl train --loss gce --noise sym:0.8       train one network with one loss
  arl bench --methods ce,gce,sce             compare methods: table, ranks, significance
  arl losses list                            every loss that can be named

exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated (the same command of a search or benchmark
goes on where it stopped)
"""


class Parser(argparse.ArgumentParser):
    """An argument parser, its commands' parsers too, that quotes what was typed as a terminal may show it."""

    def error(self, message: str) -> NoReturn:
        """Print usage and the message on standard error, and exit with 2."""
        super().error(escape.message(message))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `arl` with all its commands."""
    from autorobustloss.cli import bench, losses, report, search, train

    parser = Parser(
        prog="arl",
        description="Losses for noisy labels: search, train, compare.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"arl {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in (search, train, bench, losses, report):
        module.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run `arl` with these arguments and return the exit code; every error becomes a line on standard error."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with text_streams(), plain_warnings(), stop_signals():
        try:
            code = _run(arguments)
            print(end="", flush=True)  # here, where an error still finds a reader
        except BrokenPipeError:  # the reader of standard output went away, as in `arl losses list | head`
            code = 0
        except (Exception, KeyboardInterrupt) as error:
            code, text = ending(error)
            warn(text)
    return code


def _run(arguments: Sequence[str]) -> int:
    from autorobustloss.cli.config_file import expand

    words = expand(arguments)
    for word in words:
        try:
            if b"\0" in word.encode("utf-8", "surrogateescape"):  # as names of files are
                raise ValueError
        except ValueError:
            raise ConfigError(f"got {word[:80]!r}, expected text without NUL characters or lone surrogates") from None
    options = build_parser().parse_args(words)
    return int(options.run(options) or 0)


def ending(error: Exception | KeyboardInterrupt) -> tuple[int, str]:
    """Return the exit code of an error and what is said of it."""
    if isinstance(error, KeyboardInterrupt) or interrupted():  # whatever a library made of Ctrl-C
        said = str(error) if isinstance(error, KeyboardInterrupt) else ""
        return (143 if isinstance(error, Terminated) else 130), said or "interrupted"
    if isinstance(error, ConfigError):
        return 2, str(error)
    if isinstance(error, ARLError):
        return 1, without_traceback(str(error))
    if isinstance(error, MemoryError):
        return 1, "memory ran out; try fewer --workers, smaller networks, or fewer samples"
    if isinstance(error, OSError):
        return 1, f"{error.filename or 'cannot write standard output, or to a disk'}: {error.strerror or error}"
    return 1, unexpected(error)


def entry_point() -> None:
    """Exit with the code of `main`: what the console script calls."""
    try:
        code = main()
    except KeyboardInterrupt:  # once more, while the first was answered
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done and said: while Python ends, Ctrl-C changes nothing
    raise SystemExit(code)
