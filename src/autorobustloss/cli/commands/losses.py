"""List, show, plot, export losses.

Losses by name, with hyper-parameters in brackets: gce, gce(q=0.5),
sce(alpha=0.1, beta=1), a learned loss that ships with the library, or the path
of a loss card (runs/NAME/loss.json).
"""

import json
from typing import Annotated

from cyclopts import App, Parameter

from autorobustloss.registry import LOSSES

app = App(name="losses")

OF_EVERY_LOSS = ("weight", "ignore_index", "reduction", "label_smoothing")

AsJson = Annotated[bool, Parameter(name="--json", help="print JSON")]


@app.command(name="list")
def list_(*, as_json: AsJson = False) -> None:
    """Every loss with its hyper-parameters."""
    rows, calls = [], []
    for name, parameters in LOSSES.written().items():
        values = {k: v for k, v in parameters.items() if k not in OF_EVERY_LOSS}
        rows.append({"name": name, "hyperparameters": values, "about": LOSSES.about(name)})
        calls.append(f"{name}({', '.join(k if v is None else f'{k}={v!r}' for k, v in values.items())})")
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    width = min(max(map(len, calls)), 60)
    for call, row in zip(calls, rows):
        print(f"{call:<{width}}  {row['about']}")


@app.command
def show(loss: str, /, *, classes: int = 10, latex: bool = False, as_json: AsJson = False) -> None:
    """Formula, picture, properties, where it comes from; of several losses a table of properties.

    Args:
        loss: a name, name(key=value, …), or the path of a loss card; several, joined by commas
        classes: number of classes
        latex: print the formula as LaTeX
    """
    from autorobustloss.cli.losses import run_show

    run_show(loss, classes, latex, as_json)


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
