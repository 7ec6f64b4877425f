"""Losses for noisy labels: search, train, compare.

examples:
  arl search
      search a loss on the bundled digits, some two minutes on two cores
  arl search --dataset mnist --data-dir DIR
      the same on MNIST from DIR/mnist.npz
  arl train --loss gce --noise sym:0.8
      train one network with one loss
  arl bench --methods ce,gce,sce
      compare methods: table, ranks, significance
  arl labels --dataset own.npz
      which of my labels look wrong?
  arl losses list
      every loss that can be named
  arl --install-completion
      let the shell complete commands and options (bash, zsh, fish)

exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated
(the same command of a search or benchmark goes on where it stopped)
"""

import re
from dataclasses import is_dataclass
from importlib import import_module
from typing import Literal

from cyclopts import App, Parameter

from autorobustloss import __version__
from autorobustloss.cli.usage import check_values, take_file
from autorobustloss.errors import ConfigError

ABOUT, _, EXAMPLES = str(__doc__).partition("\n\n")
MODULES = "autorobustloss.cli.commands"

app = App(
    name="arl",
    help=ABOUT,
    help_epilogue=EXAMPLES,
    help_format="plaintext",
    version=f"arl {__version__}",
    default_parameter=Parameter(
        negative=(),
        allow_repeating=True,  # the last counts
        show_default=lambda value: None if value is False or value == "" else value,
    ),
    config=(take_file, check_values),
)
COMMANDS = {
    "search": "Search for a loss.",
    "train": "Train one network with each loss.",
    "bench": "Compare methods.",
    "labels": "Find labels that look wrong.",
    "losses": "List, show, plot, export losses.",
    "list": "List what can be named.",
    "report": "Write the HTML page of run folders.",
    "schema": "Print the JSON Schema of what --json prints.",
    "completion": "Print the script that completes arl in a shell.",
}
"""The first line about each command; the rest is in its module, imported when it is asked for."""
FIRST_STEPS = """\
Losses for noisy labels. What would you like?
  one line to change      criterion = arl.create_loss("arl")   (import autorobustloss as arl)
  which loss for my data  arl bench --dataset own.csv --methods ce,gce,nce+mae,arl
  which labels are wrong  arl labels --dataset own.csv
  a loss of my own        arl search
  everything else         arl --help"""
"""What `arl` alone prints."""

for number, (name, about) in enumerate(COMMANDS.items()):
    app.command(f"{MODULES}.{name}:app", name=name, help=about, sort_key=number)


@app.command(name="--install-completion", help_epilogue="")
def install_completion(*, shell: Literal["bash", "zsh", "fish", "powershell"] | None = None) -> None:
    """Let the shell complete commands and options: that of --shell, or the one that runs."""
    from cyclopts.completion.detect import ShellDetectionError

    try:
        print(app.install_completion(shell=shell))
    except ShellDetectionError:
        raise ConfigError("got no shell to ask, expected --shell bash, zsh or fish") from None


def load(name: str) -> None:
    """Import a command: its page is what its module says, up to the examples, and of each option in one line."""
    module = import_module(f"{MODULES}.{name}")
    about, heading, examples = str(module.__doc__).partition("examples:\n")
    app[name].help, app[name].help_epilogue = about, heading + examples
    for group in filter(is_dataclass, type(getattr(module, "DEFAULTS", None)).__mro__):
        group.__doc__ = re.sub(r"\n {12}", " ", str(group.__doc__))
