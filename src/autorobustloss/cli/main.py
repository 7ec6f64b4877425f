"""The command `arl`: parse, make a frozen configuration, make one call; no traceback, whatever happens.

What takes long to import is imported under the handler of errors, so that Ctrl-C may come at any moment.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from autorobustloss.cli.terminal import plain_warnings, stop_signals, tell, text_streams
from autorobustloss.errors import ConfigError


def parse(words: Sequence[str]) -> partial[Any]:
    """Return the call that a command line means."""
    from cyclopts import CycloptsError

    from autorobustloss.cli.app import COMMANDS, FIRST_STEPS, app, load
    from autorobustloss.cli.usage import usage_error

    if not words:
        return partial(print, FIRST_STEPS)
    if words[0] in COMMANDS:
        load(words[0])
    try:
        command, bound, _ = app.parse_args(list(words), exit_on_error=False, print_error=False, verbose=False)
    except CycloptsError as error:
        raise usage_error(error) from None
    if command == app.help_print:
        from autorobustloss.cli.console import LastingConsole

        if not {"--help", "-h"} & set(words):
            raise ConfigError(f"got no command after {' '.join(('arl', *words))!r}, expected one that it has")
        return partial(command, *bound.args, console=LastingConsole())
    return partial(command, *bound.args, **bound.kwargs)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `arl` with these arguments and return the exit code; every error becomes a line on standard error."""
    words = sys.argv[1:] if argv is None else argv
    with text_streams(), plain_warnings(), stop_signals():
        try:
            code = int(parse(words)() or 0)
            print(end="", flush=True)  # here, where an error still finds a reader
        except BrokenPipeError:  # the reader of standard output went away, as in `arl losses list | head`
            code = 0
        except (Exception, KeyboardInterrupt) as error:
            code = tell(error, words)
    return code


def entry_point() -> None:
    """Exit with the code of `main`: what the console script calls."""
    try:
        code = main()
    except KeyboardInterrupt:  # once more, while the first was answered
        code = 130
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done and said: while Python ends, Ctrl-C changes nothing
    raise SystemExit(code)
