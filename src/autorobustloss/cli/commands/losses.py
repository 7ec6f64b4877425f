"""List, show, plot, export losses.

Losses by name, with hyper-parameters in brackets: gce, gce(q=0.5),
sce(alpha=0.1, beta=1), a learned loss that ships with the library, or the path
of a loss card (runs/NAME/loss.json).
"""

from typing import Annotated, Literal

from cyclopts import App, Parameter

app = App(name="losses")

AsJson = Annotated[bool, Parameter(name="--json", help="print JSON")]


@app.command(name="list")
def list_(*, as_json: AsJson = False) -> None:
    """Every loss with its hyper-parameters."""
    from autorobustloss.cli.known import print_known

    print_known("losses", as_json)


@app.command
def show(
    loss: str,
    /,
    *,
    classes: int = 10,
    latex: bool = False,
    format: Literal["text", "markdown"] = "text",
    as_json: AsJson = False,
) -> None:
    """Formula, picture, properties, where it comes from; of several losses a table of properties.

    Args:
        loss: a name, name(key=value, …), or the path of a loss card; several, joined by commas
        classes: number of classes
        latex: print the formula as LaTeX
        format: of the table of several losses
    """
    from autorobustloss.cli.losses import run_show

    run_show(loss, classes, latex, as_json, format)


@app.command
def plot(losses: str, /, *, out: str = "losses.png") -> None:
    """Draw losses as in the paper's Figure 2.

    Args:
        losses: names or cards, joined by commas
        out: file of the picture: .png, .svg or .pdf
    """
    from autorobustloss.cli.losses import run_plot

    run_plot(losses, out)


@app.command
def export(loss: str, /, *, format: str | None = None, out: str | None = None) -> None:
    """Write a loss out: as code without dependencies, as a formula, or a learned one as a card.

    The code is one file that needs nothing but its library: `loss(logits, labels)` with weight, ignore_index and
    reduction (in Keras a class `Loss`). A loss with a memory is an object, or in NumPy and JAX a function of a state.

    Args:
        loss: a name, name(key=value, …), or the path of a loss card
        format: torch, numpy, jax, keras (any backend) or latex (default: torch, or card for a FILE.json)
        out: a file to write; without it the text is printed
    """
    from autorobustloss.cli.losses import run_export

    run_export(loss, format, out)
