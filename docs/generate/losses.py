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

from autorobustloss.losses import RobustLoss, create_loss, export_loss
from autorobustloss.losses.cards import Learned
from autorobustloss.losses.cards.base import LossCard
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
    "How hard it pulls at the label's logit, −∂ℓ/∂z, by the probability that the network gives the label; ten classes, "
    "the other nine share the rest. A robust loss pulls less where the label is not believed."
)
INDEX = (
    "A *loss* takes the place of cross-entropy (`create_loss`), a *method* is a training around one (`arl bench "
    "--methods`). The numbers are places among 34 in the [held-out table](../evidence/held-out.md), as published, last "
    "epoch; the differences at the top are not significant, and [to whom the table is unfair](../evidence/README.md) "
    "is said there. Which to take: [choose a loss](../choose.md)."
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


def card_of(name: str) -> LossCard | None:
    """Return the card of a learned loss, None for another loss or a method."""
    loss = loss_of(name) if name in LOSSES else None
    return loss.card if isinstance(loss, Learned) else None


def made_of(name: str) -> Any:
    """Return the class or function behind a name."""
    return type(loss_of(name)) if name in LOSSES else METHODS.get(name)


def doc(name: str) -> str:
    """Return its docstring without the examples."""
    return re.split(r"\n\n>>> ", inspect.getdoc(made_of(name)) or "")[0]


def about(name: str) -> str:
    """Return what it is, in a line."""
    if card := card_of(name):
        return f"A learned loss, for {card.provenance['use_for']}."
    line = doc(name).split("\n\n")[0].removeprefix("Build ").replace("\n", " ")
    return line[0].upper() + line[1:]


def latex(name: str) -> str:
    """Return its formula at the defaults."""
    if name in LOSSES:
        return export_loss(loss_of(name), "latex")
    values = {k: Shown(v) if type(v) is float else v for k, v in default_values(name).items()}
    return re.sub(r"\{ ([^{}]+) \}", r"{\1}", fill(procedures()[name]["latex"], **values))


def picture(name: str) -> str:
    """Return its picture."""
    if name in LOSSES:
        return pictures.picture(pictures.of_loss(loss_of(name)), name)
    about = procedures()[name]
    how = {about["curves"]: True} if "curves" in about else {}
    return pictures.picture(pictures.of_method(METHODS.create(name, **about.get("options", {})), **how), name)


def source(name: str) -> str:
    """Return where it is from."""
    if card := card_of(name):
        search = card.provenance["search"]
        place = search.get("written", f"searches/{name}.toml")
        return f"`{place}`, a search of this library, on {card.provenance['found_on']}. Licence {card.licence}."
    return docstrings.source(doc(name)) or procedures()[name]["source"]


def use(name: str) -> str:
    """Return the lines that use it."""
    options = EXAMPLES.get(name, {})
    if name in METHODS:
        call = f'autorobustloss.bench(["{name}", "ce"], tasks)'
        return f"```python\n{call}\n```\n\n```bash\narl bench --dataset own.npz --methods {name},ce\n```"
    given = "".join(f", {key}={'T' if key == 'T' else repr(value)}" for key, value in options.items())
    lines = 'T = autorobustloss.transition_matrix("sym:0.36", 10)\n' if "T" in options else ""
    call = f'{lines}criterion = autorobustloss.create_loss("{name}"{given})'
    return f"```python\n{call}\n```"


def values(name: str) -> str:
    """Return its hyper-parameters, by number of classes where its authors choose them so."""
    if card_of(name):
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
    one = twins().get(name, name)
    standings, unseen = evidence.standings(one), evidence.unseen(one)
    if own := procedures().get(name, {}).get("fares"):
        return str(own)
    if not standings and not unseen:
        return (
            "No committed table has it. Compare it [on your own data](../tutorials/own-data.md): "
            f"`arl bench --dataset own.npz --methods {name},ce,gce`."
        )
    said = []
    if duel := evidence.duel(one):
        said.append(duel)
    if standings:
        parts, tables = dict.fromkeys(s.part for s in standings), dict.fromkeys((s.table, s.page) for s in standings)
        cells = {(s.part, s.table): f"{s.rank:.1f} ({s.place} of {s.methods})" for s in standings}
        rows = [[part, *(cells.get((part, title), "") for title, _ in tables)] for part in parts]
        head = ["average rank (place), last epoch", *(f"[{title}](../{page})" for title, page in tables)]
        said.append(table(head, rows))
    if unseen:
        rows = [[s.part, f"{s.tasks}", f"{s.rank:.1f} ({s.place} of {s.methods})"] for s in unseen]
        said.append(
            "Each method at its best of three learning rates, on tasks that no loss here was made on; the data of the "
            f"features were known to the search of `arl` ([second verdict](../{unseen[0].page})):"
        )
        said.append(table(["tasks", "how many", "average rank (place), last epoch"], rows))
    apart = "; the first places of the older ones cannot be told apart" if standings else ""
    return "\n\n".join([*said, f"To whom these tables are unfair stands at their heads{apart}."])


def other_names(name: str) -> str:
    """Return its aliases and twins."""
    said = [f"Also called `{alias}`." for alias in (LOSSES if name in LOSSES else METHODS).aliases(name)]
    alike = twins()
    if name in alike:
        said.append(f"At its defaults it trains exactly as [`{alike[name]}`]({alike[name]}.md) does.")
    said += [
        f"[`{twin}`]({twin}.md) trains exactly as it at its defaults." for twin, one in alike.items() if one == name
    ]
    return " ".join(said)


def more(name: str) -> str:
    """Return the rest of its docstring; of a learned loss when not to take it."""
    if card := card_of(name):
        text = f"**When not**: {card.provenance['when_not']}.\n\n[What the learned losses do](../learned-losses.md)."
    else:
        text = docstrings.as_markdown(docstrings.without_source(doc(name).partition("\n\n")[2]))
    return f"{text}\n\nAPI: {api(name)}"


def api(name: str) -> str:
    """Return links to the pages of the API."""
    if card_of(name):
        places = ("load_card", "create_loss")
    elif name in LOSSES:
        places = (type(loss_of(name)).__name__, "create_loss")
    else:
        places = ("MethodSpec", "benchmark.bench.bench")
    return ", ".join(f"[`{place.rpartition('.')[2]}`][autorobustloss.{place}]" for place in places)


@cache
def page(name: str) -> str:
    """Return the page of a loss or method."""
    note = procedures().get(name, {}).get("note", "")
    parts = [
        *(f"# {name}", docstrings.as_markdown(about(name)), other_names(name)),
        f"```math\n{latex(name)}\n```",
        f"<figure>\n{picture(name)}\n<figcaption>{PULL} {note}</figcaption>\n</figure>",
        *("## Use it", use(name)),
        *("## Values", values(name)),
        *("## Where it wins and loses", fares(name)),
        *("## Source", docstrings.as_markdown(source(name))),
        *("## More", more(name)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


@cache
def index() -> str:
    """Return the page that lists them all."""
    rows = []
    for name in names():
        found = {(s.table, s.part): s for s in evidence.standings(twins().get(name, name))}
        cells = [found.get(("as published", part)) for part in ("all", "images", "tables", "clean labels")]
        rows.append(
            [f"[`{name}`]({name}.md)", docstrings.as_markdown(about(name)), *(f"{s.place}" if s else "" for s in cells)]
        )
    head = table(["", "what", "all", "images", "tables", "clean"], rows).replace("---: | ---:", "--- | ---:", 1)
    return f"# Losses and methods\n\nAll {len(rows)} that a name finds. {INDEX}\n\n{head}\n"
