"""The command `arl`: parse, make a frozen configuration, make one call."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from autorobustloss import __version__
from autorobustloss.cli import bench, losses, report, search, train
from autorobustloss.cli.config_file import expand
from autorobustloss.errors import ARLError, ConfigError

EPILOG = """\
examples:
  arl search                                 search a loss on the bundled digits, some two minutes on two cores
  arl search --dataset mnist --data-dir DIR  the same on MNIST from DIR/mnist.npz
  arl train --loss gce --noise sym:0.8       train one network with one loss
  arl bench --methods ce,gce,sce             compare methods: table, ranks, significance
  arl losses list                            every loss that can be named

exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (the same command goes on where it stopped)
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `arl` with all its commands."""
    parser = argparse.ArgumentParser(
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
    """Run `arl` with these arguments and return the exit code."""
    parser = build_parser()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = parser.parse_args(expand(arguments))
        return int(options.run(options) or 0)
    except ConfigError as error:
        print(f"arl: {error}", file=sys.stderr)
        return 2
    except ARLError as error:
        print(f"arl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\narl: interrupted; finished jobs are kept, the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of stdout went away, as in `arl losses list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def entry_point() -> None:
    """Exit with the code of `main`: what the console script calls."""
    raise SystemExit(main())
