"""List what can be named.

Losses, methods (more than a loss), networks, label noise, data sets, training
protocols, with their hyper-parameters: gce is gce(q=0.7), and gce(q=0.5)
another one. Data sets of your own need no name: --dataset takes their path.

examples:
  arl list methods
  arl list datasets --json
"""

from typing import Annotated, Literal

from cyclopts import App, Parameter

app = App(name="list")

Kind = Literal["losses", "methods", "models", "noises", "datasets", "protocols"]


@app.default
def list_(kind: Kind, /, *, as_json: Annotated[bool, Parameter(name="--json", help="print JSON")] = False) -> None:
    """List.

    Args:
        kind: what to list
    """
    from autorobustloss.cli.known import print_known

    print_known(kind, as_json)
