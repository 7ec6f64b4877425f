"""One self-contained HTML page of a run folder, from the files in it alone; `page.html.j2` says how it looks.

Pictures are SVG embedded as data, shown by <img>: nothing is loaded from elsewhere, and no script that a stranger's
picture may hold is run. The template escapes every text.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from autorobustloss.benchmark import render
from autorobustloss.benchmark.grid import VIEWS
from autorobustloss.benchmark.render import distinct_tables
from autorobustloss.benchmark.table import Table
from autorobustloss.errors import ConfigError, RunFolderError
from autorobustloss.escape import visible
from autorobustloss.losses.gated.core import Gate
from autorobustloss.reading import read_text, reading
from autorobustloss.runs.result import Result
from autorobustloss.runs.run_folder import CONFIG, STORE, contents
from autorobustloss.runs.store import Store

PAGE = "report.html"
CARD = "loss.json"
PROVENANCE = "provenance.json"
LARGEST_FILE = 64 << 20
AGAIN = "restore it, or run the same command again"
PICTURES = ("picture", "curves", "validation", "orders", "sweep", "ranks", "features")
"""What pictures show, by a part of their file's name, in order; that of a search comes before the tables."""
SHOWN_OF_A_CARD = ("name", "order", "scale", "log_weight", "log_power", "theta", "canonical", *Gate._fields)

Section = tuple[str, str, tuple[Any, ...]]
"""A heading, the macro of the template that shows the section, and what that is called with."""


def folder_page(path: str | Path) -> str:
    """Return the page of a search's or benchmark's run folder: what is there is shown, what is not is left out.

    Read are config.json, the card, tables and pictures of its manifest, and provenance.json or else store.sqlite.
    Raises RunFolderError where there is no run or a file cannot be read.
    """
    folder = Path(path)
    config = _read(folder / CONFIG)
    command = str(config.get("command", "run"))
    sections = _sections(folder)
    if provenance := _provenance(folder):
        sections.append(("Provenance", "values", (provenance,)))
    sections.append(("Configuration", "folded", (config, f"all settings of this {command} ({CONFIG})")))
    return page(f"{command}: {folder.resolve().name}", sections)


def page(title: str, sections: Sequence[Section]) -> str:
    """Return a whole HTML page of these sections."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["json"] = json.dumps
    return templates.get_template("page.html.j2").render(title=title, sections=sections, tables=render)


def provenance_of(results: Iterable[Result]) -> dict[str, Any]:
    """Return what results were made with: how many, how long, where, and with which versions."""
    found = list(results)
    return {
        "trainings": len(found),
        "training hours": round(sum(r.wall_time for r in found) / 3600, 3),
        "hosts": dict(Counter(r.host for r in found)),
        "devices": dict(Counter(r.device for r in found)),
        "versions": _agreed([r.versions for r in found]),
        "diverged": sum(r.history.stopped == "diverged" for r in found),
    }


def _agreed(versions: list[dict[str, str]]) -> dict[str, str]:
    names = sorted({name for each in versions for name in each})
    return {name: " and ".join(sorted({str(each[name]) for each in versions if name in each})) for name in names}


def _sections(folder: Path) -> list[Section]:
    """Return what the files that the folder's manifest lists show, in order."""
    found = contents(folder)
    cards, tables, pictures = ([folder / n for n in found if found[n] == k] for k in ("card", "table", "picture"))
    pictures.sort(key=lambda file: (_place(file, PICTURES), file.name))
    tables.sort(key=lambda file: (_place(file, VIEWS), file.name))
    return [
        *(_card(file) for file in cards),
        *(_answer(folder / name) for name in found if found[name] == "answer"),
        *(_picture(file) for file in pictures if _place(file, PICTURES) == 0),
        *((table.title, "table", (table,)) for table in distinct_tables(map(_table, tables))),
        *(_picture(file) for file in pictures if _place(file, PICTURES) > 0),
    ]


def _place(file: Path, order: Collection[str]) -> int:
    return next((place for place, name in enumerate(order) if name in file.stem), len(order))


def _card(file: Path) -> Section:
    card = _read(file)
    shown = {name: card[name] for name in SHOWN_OF_A_CARD if name in card}
    return "The learned loss", "card", (shown, card, f"the whole card ({CARD})")


def _answer(file: Path) -> Section:
    return "Which loss?", "paragraph", (str(_read(file).get("text", "")),)


def _picture(file: Path) -> Section:
    title = file.stem.replace("-", " ").replace("_", " ").capitalize()
    kind = (*PICTURES, "other")[_place(file, PICTURES)]
    return title, "picture", (title, kind, base64.b64encode(_text(file).encode()).decode())


def _table(file: Path) -> Table:
    try:
        return Table.from_dict(_read(file))
    except ConfigError as error:
        raise RunFolderError(f"{file}: {error}; remove it and run the same command again") from None


def _provenance(folder: Path) -> dict[str, Any]:
    if (folder / PROVENANCE).is_file():
        return _read(folder / PROVENANCE)
    if not (folder / STORE).is_file():
        return {}
    with Store(folder / STORE) as store:
        return provenance_of(result for _, result in store.items())


def _read(file: Path) -> dict[str, Any]:
    """Return the names and values of a JSON file, which can be shown."""
    text = _text(file)
    with reading(file, "cannot be read", AGAIN, RunFolderError):
        found = json.loads(text)
        json.dumps(found, indent=2)  # where nesting too deep is noticed
        if not isinstance(found, dict):
            raise ValueError("no names and values in it")
        return found


def _text(file: Path) -> str:
    if not file.is_file():  # a pipe might never end
        raise RunFolderError(f"{file} is no file; {AGAIN}")
    return read_text(file, AGAIN, RunFolderError, LARGEST_FILE)


def _visible(value: Any) -> Any:
    """Spell out control characters in a text that the template shows, but not in what one of its macros made."""
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
