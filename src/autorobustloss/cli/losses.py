"""`arl losses`: list, show, plot and export the losses that can be named."""

from __future__ import annotations

import argparse
import inspect
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autorobustloss.cli.options import split_list
from autorobustloss.errors import ConfigError
from autorobustloss.escape import markdown, message
from autorobustloss.losses import GatedLoss, LearnableLoss, analysis, create_loss, list_losses
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.cards import Learned, LossCard
from autorobustloss.registry import LOSSES

DESCRIPTION = """\
Losses by name, with hyper-parameters in brackets: gce, gce(q=0.5), sce(alpha=0.1, beta=1),
a learned loss that ships with the library, or the path of a loss card (runs/NAME/loss.json).
"""


def add_parser(commands: Any) -> None:
    """Add `losses` to the commands of `arl`."""
    parser = commands.add_parser(
        "losses",
        help="list, show, plot, export losses",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="every loss with its hyper-parameters")
    listing.set_defaults(run=run_list)
    show = actions.add_parser(
        "show", help="formula, picture, properties, where it comes from; of several losses a table of properties"
    )
    show.add_argument("loss", help="a name, name(key=value, …), or the path of a loss card; several, joined by commas")
    show.add_argument("--classes", type=int, default=10, metavar="C", help="number of classes (default: %(default)s)")
    show.add_argument("--latex", action="store_true", help="print the formula as LaTeX")
    show.set_defaults(run=run_show)
    plot = actions.add_parser("plot", help="draw losses as in the paper's Figure 2")
    plot.add_argument("losses", help="names or cards, joined by commas")
    plot.add_argument("--out", default="losses.png", metavar="FILE", help=".png, .svg or .pdf (default: %(default)s)")
    plot.set_defaults(run=run_plot)
    export = actions.add_parser(
        "export", help="write a learned loss as a card, or as PyTorch code without dependencies"
    )
    export.add_argument("loss", help="a learned loss or the path of a card")
    export.add_argument("--out", required=True, metavar="FILE", help="FILE.json for the card, FILE.py for code")
    export.set_defaults(run=run_export)
    for action in (listing, show):
        action.add_argument("--json", action="store_true", help="print JSON")


MOST_CLASSES = 1000
"""For so many classes the properties of a loss are still computed in seconds."""


def named_loss(text: str) -> tuple[RobustLoss, LossCard | None]:
    """Return the loss behind a name or a path, and its card if it was learned."""
    loss = create_loss(text)
    return loss, loss.card if isinstance(loss, Learned) else None


def run_list(options: argparse.Namespace) -> int:
    """Print every loss, its hyper-parameters and the first sentence about it."""
    rows: list[dict[str, Any]] = []
    for name in list_losses():
        parameters = {
            key: default
            for key, default in LOSSES.parameters(name).items()
            if key not in ("weight", "ignore_index", "reduction")
        }
        about = (inspect.getdoc(LOSSES.get(name)) or "").split("\n")[0]
        shown = {k: None if d is inspect.Parameter.empty else d for k, d in parameters.items()}
        rows.append({"name": name, "hyperparameters": shown, "about": about})
    if options.json:
        print(json.dumps(rows, indent=2, default=str))
        return 0
    calls = [f"{r['name']}({', '.join(_parameter(k, v) for k, v in r['hyperparameters'].items())})" for r in rows]
    width = min(max(map(len, calls)), 60)
    for call, row in zip(calls, rows):
        print(f"{call:<{width}}  {row['about']}")
    return 0


def _parameter(name: str, default: Any) -> str:
    return name if default is None else f"{name}={default!r}"


def run_show(options: argparse.Namespace) -> int:
    """Print what a loss is, or how several differ."""
    if not 2 <= options.classes <= MOST_CLASSES:
        raise ConfigError(f"got --classes {options.classes}, expected 2 to {MOST_CLASSES}")
    names = split_list(options.loss)
    if not names:
        raise ConfigError("got no loss, expected at least one name; `arl losses list` prints them")
    found = {name: named_loss(name) for name in names}
    properties = {name: analysis.properties(loss, options.classes) for name, (loss, _) in found.items()}
    if options.json:
        shown = [
            {"loss": name, "properties": properties[name], "card": card.to_dict() if card else None}
            for name, (_, card) in found.items()
        ]
        print(json.dumps(shown[0] if len(shown) == 1 else shown))
    elif len(found) > 1:
        print(_properties_table(properties, options.classes))
    else:
        loss, card = found[names[0]]
        if isinstance(loss, LearnableLoss):
            print(loss.latex() if options.latex else loss.formula())
        else:
            print(inspect.getdoc(type(loss)))
        if isinstance(loss, GatedLoss):
            print("\n" + _triangle(loss))
        print(f"\nat {options.classes} classes:")
        print(_sketch(loss, options.classes))
        for name, value in properties[names[0]].items():
            print(f"  {name.replace('_', ' '):<24} {value:.4g}")
        if card is not None:
            print("\n" + message(card.summary()))
    return 0


def _properties_table(properties: Mapping[str, Mapping[str, float]], classes: int) -> str:
    """Return a table in Markdown: a line for each property, a column for each loss."""
    rows = [[f"at {classes} classes", *map(markdown, properties)], ["---"] * (len(properties) + 1)]
    for name in dict.fromkeys(name for values in properties.values() for name in values):
        rows.append([name.replace("_", " "), *(f"{v[name]:.3g}" if name in v else "" for v in properties.values())])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _sketch(loss: RobustLoss, classes: int, width: int = 48) -> str:
    """Draw in two lines how hard a loss pulls at the label, and pushes at a wrong class, by its probability.

    A bar is a share of the largest gradient of the two; a dot stands where the sign turns: the label is pushed down,
    or the wrong class is drawn up.
    """
    t = np.linspace(0, 1, width)
    pull = -analysis.along_line(loss, t, classes, labelled=True).gradient
    push = analysis.along_line(loss, t, classes, labelled=False).gradient
    largest = max(np.abs(pull).max(), np.abs(push).max()) or 1.0

    def bar(share: float) -> str:
        return "·" if share < -0.005 else " ▁▂▃▄▅▆▇█"[math.ceil(8 * min(max(share, 0.0), 1.0) - 1e-9)]

    lines = {"pull at the label": pull, "push at a wrong class": push}
    drawn = [f"  {what:<24} {''.join(bar(v / largest) for v in values)}" for what, values in lines.items()]
    return "\n".join([*drawn, f"  {'predicted probability':<24} 0{'1':>{width - 1}}"])


def _triangle(loss: GatedLoss, lines: int = 9) -> str:
    """Draw the weight of a gated loss over the predictions: p of the label to the right, m of another class upwards."""
    _, weight = analysis.triangle(loss, 4 * lines - 3)
    drawn = []
    for row in range(len(weight) - 1, -1, -4):
        shades = "".join("" if np.isnan(w) else " ░▒▓█"[math.ceil(4 * w - 0.02)] for w in weight[row])
        m = "m = 1" if row == len(weight) - 1 else "0" if row == 0 else ""
        drawn.append(f"  {m:>5} │{shades}")
    axis = f"  {'':>5} └{'─' * weight.shape[1]}\n  {'':>5}  0{'p = 1':>{weight.shape[1] - 1}}"
    about = "weight of a sample, of one whose label is believed fully on others (b̄ = 1):"
    return "\n".join([about, *drawn, axis, f"  {'':>5}  ░ up to ¼, ▒ ½, ▓ ¾, █ 1"])


def run_plot(options: argparse.Namespace) -> int:
    """Draw losses side by side."""
    from autorobustloss.report.loss_pictures import losses_picture
    from autorobustloss.report.style import save

    losses = {name: named_loss(name)[0] for name in split_list(options.losses)}
    save(losses_picture(losses), Path(options.out))
    print(options.out)
    return 0


def run_export(options: argparse.Namespace) -> int:
    """Write a learned loss to a file."""
    loss, card = named_loss(options.loss)
    if card is None or not isinstance(loss, LearnableLoss):
        raise ConfigError(f"got {options.loss!r}, expected a learned loss or a card; {options.loss!r} is code already")
    out = Path(options.out)
    if out.suffix == ".json":
        card.save(out)
    elif out.suffix == ".py":
        try:
            out.write_text(loss.code(), encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {out}: {error.strerror}; try another --out") from None
    else:
        raise ConfigError(f"got --out {out}, expected a name that ends in .json or .py")
    print(out)
    return 0
