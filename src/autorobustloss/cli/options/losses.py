"""List, show, plot, export losses.

Losses by name, with hyper-parameters in brackets: gce, gce(q=0.5),
sce(alpha=0.1, beta=1), a learned loss that ships with the library, or the path
of a loss card (runs/NAME/loss.json).
"""

from typing import Annotated

from cyclopts import App, Parameter

app = App(name="losses")

AsJson = Annotated[bool, Parameter(name="--json", help="print JSON")]


@app.command(name="list")
def list_(*, as_json: AsJson = False) -> int:
    """Every loss with its hyper-parameters."""
    from autorobustloss.cli.catalogue import run_list

    return run_list(as_json)


@app.command
def show(loss: str, /, *, classes: int = 10, latex: bool = False, as_json: AsJson = False) -> int:
    """Formula, picture, properties, where it comes from; of several losses a table of properties.

    Args:
        loss: a name, name(key=value, …), or the path of a loss card; several, joined by commas
        classes: number of classes
        latex: print the formula as LaTeX
    """
    from autorobustloss.cli.losses import run_show

    return run_show(loss, classes, latex, as_json)


@app.command
def plot(losses: str, /, *, out: str = "losses.png") -> int:
    """Draw losses as in the paper's Figure 2.

    Args:
        losses: names or cards, joined by commas
        out: file of the picture: .png, .svg or .pdf
    """
    from autorobustloss.cli.losses import run_plot

    return run_plot(losses, out)


@app.command
def export(loss: str, /, *, out: str) -> int:
    """Write a learned loss as a card, or as PyTorch code without dependencies.

    Args:
        loss: a learned loss or the path of a card
        out: FILE.json for the card, FILE.py for code
    """
    from autorobustloss.cli.losses import run_export

    return run_export(loss, out)
