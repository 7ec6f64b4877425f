"""`arl losses`: show, plot and export the losses that can be named."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from autorobustloss import columns
from autorobustloss.cli.json_output import print_json
from autorobustloss.cli.lists import split_list
from autorobustloss.cli.outcomes import Shown
from autorobustloss.cli.terminal import out_width
from autorobustloss.errors import ConfigError
from autorobustloss.escape import markdown, message, visible
from autorobustloss.losses import GatedLoss, LearnableLoss, analysis, create_loss
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.cards import Learned
from autorobustloss.losses.export import export_loss

MOST_CLASSES = 1000
"""For so many classes the properties of a loss are still computed in seconds."""


def run_show(text: str, classes: int, latex: bool, as_json: bool, form: str) -> None:
    """Print what a loss is, or how several differ; form: of the table of several, text or markdown."""
    if not 2 <= classes <= MOST_CLASSES:
        raise ConfigError(f"got --classes {classes}, expected 2 to {MOST_CLASSES}")
    found = {name: create_loss(name) for name in split_list(text)}
    if not found:
        raise ConfigError("got no loss, expected at least one name; `arl losses list` prints them")
    properties = {name: analysis.properties(loss, classes) for name, loss in found.items()}
    if as_json:
        cards = {name: loss.card.to_dict() for name, loss in found.items() if isinstance(loss, Learned)}
        shown = [Shown(name, dict(properties[name]), cards.get(name)) for name in found]
        print_json(shown[0] if len(shown) == 1 else shown)
    elif len(found) > 1:
        heads, *rows = _properties_rows(properties, classes)
        print(_markdown([heads, *rows]) if form == "markdown" else columns.table([heads], rows, out_width()))
    else:
        ((name, loss),) = found.items()
        if latex:
            print(export_loss(loss, "latex"))
        elif isinstance(loss, LearnableLoss):
            print(columns.wrapped(loss.formula(), out_width()))
        else:
            print(columns.wrapped(inspect.getdoc(type(loss)) or "", out_width()))
        if isinstance(loss, GatedLoss):
            print("\n" + _triangle(loss))
        print(f"\nat {classes} classes:")
        print(_sketch(loss, classes))
        for what, value in properties[name].items():
            print(f"  {what.replace('_', ' '):<24} {value:.4g}")
        if isinstance(loss, Learned):
            print("\n" + columns.wrapped(message(loss.card.summary()), out_width()))


def _properties_rows(properties: Mapping[str, Mapping[str, float]], classes: int) -> list[list[str]]:
    """Return a table: a line for each property, a column for each loss."""
    rows = [[f"at {classes} classes", *map(visible, properties)]]
    for name in dict.fromkeys(name for values in properties.values() for name in values):
        rows.append([name.replace("_", " "), *(f"{v[name]:.3g}" if name in v else "" for v in properties.values())])
    return rows


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    heads, *others = ([*map(markdown, row)] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *others))


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


def run_plot(text: str, out: str) -> None:
    """Draw losses side by side."""
    from autorobustloss.report.loss_pictures import losses_picture
    from autorobustloss.report.style import save

    save(losses_picture({name: create_loss(name) for name in split_list(text)}), Path(out))
    print(out)


def run_export(text: str, format: str | None, out: str | None) -> None:
    """Write a loss out in a format, to a file or to the standard output."""
    loss, path = create_loss(text), Path(out) if out else None
    if format == "card" or (format is None and path is not None and path.suffix == ".json"):
        if not isinstance(loss, Learned):
            raise ConfigError(f"got {text!r}, expected a learned loss or a card: other losses are code, not numbers")
        if path is None:
            raise ConfigError("got no --out for a card, expected a name that ends in .json")
        loss.card.save(path)
    elif format is None and path is not None and path.suffix not in (".py", ".tex"):
        raise ConfigError(f"got --out {path}, expected a name that ends in .json, .py or .tex, or a --format")
    else:
        written = export_loss(loss, format or ("latex" if path is not None and path.suffix == ".tex" else "torch"))
        if path is None:
            print(written.rstrip("\n"))
            return
        try:
            path.write_text(written.rstrip("\n") + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}; try another --out") from None
    print(path)
