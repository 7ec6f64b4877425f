"""The commands of `arl`, each loaded when it is asked for."""

from __future__ import annotations

from cyclopts import App, Parameter

from autorobustloss import __version__
from autorobustloss.cli.usage import check_values

EPILOG = """\
examples:
  arl search                                 search a loss on the bundled digits, some two minutes on two cores
  arl search --dataset mnist --data-dir DIR  the same on MNIST from DIR/mnist.npz
  arl train --loss gce --noise sym:0.8       train one network with one loss
  arl bench --methods ce,gce,sce             compare methods: table, ranks, significance
  arl losses list                            every loss that can be named
  arl --install-completion                   let the shell complete commands and options (bash, zsh, fish)

exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated (the same command of a search or benchmark
goes on where it stopped)
"""

app = App(
    name="arl",
    help="Losses for noisy labels: search, train, compare.",
    help_epilogue=EPILOG,
    help_format="plaintext",
    version=f"arl {__version__}",
    default_parameter=Parameter(negative=(), allow_repeating=True),  # of a flag given twice, the last counts
    config=check_values,
)
for name, about in {
    "search": "search for a loss",
    "train": "train one network with a loss",
    "bench": "compare methods",
    "losses": "list, show, plot, export losses",
    "report": "write the HTML page of a run folder",
}.items():
    app.command(f"autorobustloss.cli.options.{name}:app", name=name, help=about)
app.register_install_completion_command(help="let the shell complete commands and options")
