"""A page for every loss and method, and one that lists them, from the registry and the committed tables."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import docstrings
import evidence
import msgspec
import pictures

import autorobustloss
from autorobustloss.losses import RobustLoss, create_loss, export_loss
from autorobustloss.losses.cards import Learned
from autorobustloss.losses.literature.formulas import Shown
from autorobustloss.losses.literature.values import AUTHORS
from autorobustloss.losses.writing import fill
from autorobustloss.methods import MethodSpec
from autorobustloss.methods.duplicates import firsts_alike
from autorobustloss.methods.values import default_values
from autorobustloss.registry import LOSSES, METHODS

HERE = Path(__file__).parent
EXAMPLES: dict[str, dict[str, Any]] = {
    "forward": {"T": [[0.64 if i == j else 0.04 for j in range(10)] for i in range(10)]},
    "taylor": {"theta": [0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 0, 0], "scale": "init"},
}
"""Hyper-parameters for the losses that have no defaults: 36 % of the labels wrong, mean absolute error."""
SETTINGS = {"few": "up to 20 classes", "many": "more than 20 classes", "mnist": "MNIST"}
PULL = (
    "How hard it pulls at the label's logit, −∂ℓ/∂z, by the probability that the network gives the label; ten classes, the "
    "other nine share the rest. A robust loss pulls less where the label is not believed."
)


@cache
def procedures() -> dict[str, dict[str, Any]]:
    """Return methods.toml."""
    return msgspec.toml.decode((HERE / "methods.toml").read_bytes())


def names() -> list[str]:
    """Return every loss and method, by name."""
    return sorted([*LOSSES, *METHODS])


def path(name: str) -> str:
    """Return the page of a loss or method, from docs/."""
    return f"losses/{name}.md"


@cache
def loss_of(name: str) -> RobustLoss:
    """Return a loss at its defaults, or at an example where it has none."""
    return create_loss(name, **EXAMPLES.get(name, {}))


@cache
def twins() -> dict[str, str]:
    """Return for each loss that trains exactly as another does, that one."""
    specs = [MethodSpec.of(name, **EXAMPLES.get(name, {})) for name in LOSSES]
    return {spec.name: first.name for spec, first in firsts_alike(specs).items() if spec != first}


def made_of(name: str) -> Any:
    """Return the class or function behind a name."""
    return type(loss_of(name)) if name in LOSSES else METHODS.get(name)


def doc(name: str) -> str:
    """Return its docstring without the examples."""
    return re.split(r"\n\n>>> ", inspect.getdoc(made_of(name)) or "")[0]


def about(name: str) -> str:
    """Return what it is, in a line."""
    loss = loss_of(name) if name in LOSSES else None
    if isinstance(loss, Learned):
        return f"A learned loss, for {loss.card.provenance['use_for']}."
    return doc(name).split("\n\n")[0].removeprefix("Build ").replace("\n", " ")


def latex(name: str) -> str:
    """Return its formula at the defaults."""
    if name in LOSSES:
        return export_loss(loss_of(name), "latex")
    values = {k: Shown(v) if type(v) is float else v for k, v in default_values(name).items()}
    return re.sub(r"\{ ([^{}]+) \}", r"{\1}", fill(procedures()[name]["latex"], **values))


def picture(name: str) -> str:
    """Return its picture."""
    if name in LOSSES:
        return pictures.svg(pictures.of_loss(loss_of(name)), name)
    about = procedures()[name]
    how = {about["curves"]: True} if "curves" in about else {}
    return pictures.svg(pictures.of_method(METHODS.create(name, **about.get("options", {})), **how), name)


def source(name: str) -> str:
    """Return where it is from."""
    loss = loss_of(name) if name in LOSSES else None
    if isinstance(loss, Learned):
        found = f"`searches/{name}.toml`, a search of this library, on {loss.card.provenance['found_on']}."
        return f"{found} Date {loss.card.provenance['date']}, licence {loss.card.licence}."
    return docstrings.source(doc(name)) or procedures()[name]["source"]


def use(name: str) -> str:
    """Return the lines that use it."""
    options = EXAMPLES.get(name, {})
    if name in METHODS:
        call = f'autorobustloss.bench(["{name}", "ce"], tasks)'
        return f"```python\n{call}\n```\n\n```bash\narl bench --dataset own.npz --methods {name},ce\n```"
    given = "".join(f", {key}={'T' if key == 'T' else repr(value)}" for key, value in options.items())
    lines = "T = autorobustloss.transition_matrix(\"sym:0.36\", 10)\n" if "T" in options else ""
    call = f'{lines}criterion = autorobustloss.create_loss("{name}"{given})  # was: torch.nn.CrossEntropyLoss()'
    return f"```python\n{call}\n```"


def values(name: str) -> str:
    """Return its hyper-parameters, by number of classes where its authors choose them so."""
    loss = loss_of(name) if name in LOSSES else None
    if isinstance(loss, Learned):
        return f"Its numbers are fixed, at every number of classes: `arl losses show {name}` prints them."
    if name in EXAMPLES:
        return "It has no defaults; the formula and the picture are those of the line below."
    defaults = {key: value for key, value in default_values(name).items() if key not in ("legacy", "l1")}
    if not defaults:
        return "It has none."
    authors = AUTHORS.get(name, {})
    rows = [["default", *(shown(value) for value in defaults.values())]]
    rows += [
        [f"its authors', {where}", *(shown(authors[key].get(option, value)) for option, value in defaults.items())]
        for key, where in SETTINGS.items()
        if key in authors
    ]
    text = table(["", *(f"`{key}`" for key in defaults)], rows)
    penalties = {SETTINGS[key]: value["l1"] for key, value in authors.items() if "l1" in value}
    if penalties:
        listed = "; ".join(f"{where} {shown(value)}" for where, value in penalties.items())
        text += f"\n\nIts authors train with an L1 penalty on the weights in place of weight decay: {listed}."
    if authors:
        text += "\n\n`arl bench` takes its authors' values for the data by itself; `published_values` returns them."
    return text


def shown(value: Any) -> str:
    """Return a hyper-parameter as a cell."""
    return f"{value:g}" if isinstance(value, float) else f"`{value}`" if isinstance(value, (str, tuple)) else str(value)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    head = list(head)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fares(name: str) -> str:
    """Return what the committed tables say of it."""
    standings = evidence.of(twins().get(name, name))
    if not standings:
        return (
            "No committed table has it. Compare it on your own data: `arl bench` does "
            f"([how](../tutorials/own-data.md)), with `--methods {name},ce,gce`."
        )
    first = min(standings, key=lambda s: (s.place / s.methods, -s.tasks))
    last = max(standings, key=lambda s: (s.place / s.methods, s.tasks))
    text = (
        f"**Best**: place {first.place} of {first.methods} ({first.table}, {first.part}). "
        f"**Worst**: place {last.place} of {last.methods} ({last.table}, {last.part})."
    )
    if duel := evidence.duel(twins().get(name, name)):
        text += " " + duel.text()
    rows = [
        [f"[{s.table}](../{s.page}): {s.part}", str(s.tasks), f"{s.rank:.1f}", f"{s.place} of {s.methods}"]
        for s in standings
    ]
    return f"{text}\n\n" + table(["accuracy at the last epoch", "tasks", "average rank", "place"], rows) + (
        "\n\nTo whom these tables are unfair stands at their heads; the differences at the top are not significant."
    )  # fmt: skip


def other_names(name: str) -> str:
    """Return its aliases and twins."""
    said = [f"Also called `{alias}`." for alias in (LOSSES if name in LOSSES else METHODS).aliases(name)]
    alike = twins()
    if name in alike:
        said.append(f"At its defaults it trains exactly as [`{alike[name]}`]({alike[name]}.md) does.")
    said += [f"[`{twin}`]({twin}.md) trains exactly as it at its defaults." for twin, one in alike.items() if one == name]
    return " ".join(said)


def api(name: str) -> str:
    """Return a link to its class among the pages of the API."""
    loss = loss_of(name) if name in LOSSES else None
    if isinstance(loss, Learned):
        return "[`load_card`][autorobustloss.load_card] reads its card, [`TaylorLoss`][autorobustloss.TaylorLoss] is its class."
    if loss is not None:
        return f"[`{type(loss).__name__}`][autorobustloss.{type(loss).__name__}] and what a call takes."
    return "[`MethodSpec`][autorobustloss.MethodSpec], and [`bench`][autorobustloss.benchmark.bench.bench], which trains with it."


def page(name: str) -> str:
    """Return the page of a loss or method."""
    kind = "loss" if name in LOSSES else "method"
    rest = "\n\n".join(doc(name).split("\n\n")[1:])
    loss = loss_of(name) if kind == "loss" else None
    if isinstance(loss, Learned):
        rest = f"**When not**: {loss.card.provenance['when_not']}.\n\n[What the learned losses do](../learned-losses.md)."
    note = procedures().get(name, {}).get("note", "")
    parts = [
        f"# {name}", docstrings.as_markdown(about(name)), other_names(name),
        f"```math\n{latex(name)}\n```", f"<figure markdown>\n{picture(name)}\n<figcaption>{PULL} {note}</figcaption>\n</figure>",
        "## Use it", use(name), "## Values", values(name), "## Where it wins and loses", fares(name),
        "## Source", docstrings.as_markdown(source(name)), "## More", docstrings.as_markdown(rest) if kind != "loss" or not isinstance(loss, Learned) else rest,
        f"API: {api(name)}",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def index() -> str:
    """Return the page that lists them all."""
    rows = []
    for name in names():
        found = {(s.table, s.part): s for s in evidence.of(twins().get(name, name))}
        cells = [found.get(("as published", part)) for part in ("all", "images", "tables", "clean labels")]
        rows.append([f"[`{name}`]({name}.md)", docstrings.as_markdown(about(name)), *(f"{s.place}" if s else "" for s in cells)])
    return (
        "# Losses and methods\n\n"
        f"All {len(rows)} that a name finds: `arl losses list`. A *loss* takes the place of cross-entropy "
        "(`create_loss`), a *method* is a training around one (`arl bench --methods`). The numbers are places among 34 in the "
        "[held-out table](../evidence/held-out.md), as published, last epoch; the differences at the top are not significant, "
        "and [to whom the table is unfair](../evidence/README.md) is said there. Which to take: [choose a loss](../choose.md).\n\n"
        + table(["", "what", "all", "images", "tables", "clean"], rows).replace("---: | ---:", "--- | ---:", 1)
        + "\n"
    )


VERSION = autorobustloss.__version__
