"""The HTML page of a run folder, from the files in it alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from autorobustloss.benchmark.bench import VIEWS
from autorobustloss.benchmark.render import distinct_tables
from autorobustloss.benchmark.table import Table
from autorobustloss.errors import ConfigError, RunFolderError
from autorobustloss.losses.gated.core import Gate
from autorobustloss.report.html import Section, json_html, mapping_html, page, picture, table_html
from autorobustloss.runs.result import Result
from autorobustloss.runs.run_folder import CONFIG, STORE
from autorobustloss.runs.store import Store

PAGE = "report.html"
CARD = "loss.json"
PROVENANCE = "provenance.json"
LARGEST_FILE = 64 << 20
FIRST = "picture"
"""The picture of a search, which comes before the tables; those of a benchmark come after."""

CAPTIONS = {
    "picture": "The learned loss among its competitors, and the search that found it",
    "curves": "Test accuracy per epoch of each method as published, mean ± standard error over seeds",
    "orders": "Test accuracy at the last epoch, mean ± standard error over tasks, by order of the learned polynomial",
    "sweep": "Test accuracy of each method as published at the last epoch, against the noise rate",
    "ranks": "Average ranks, as published; a bar joins methods that do not differ significantly (Nemenyi, α = 0.05)",
    "features": "t-SNE of penultimate features of test images, coloured by true class",
}


def folder_page(path: str | Path) -> str:
    """Return the page of a search's or benchmark's run folder: what is there is shown, what is not is left out.

    Read are config.json, loss.json, every table*.json and *.svg, and provenance.json or else store.sqlite.
    Raises RunFolderError where there is no run or a file cannot be read.
    """
    try:
        return _page(Path(path))
    except RecursionError:
        raise RunFolderError(f"{path}: a file is nested too deep to be read; run the same command again") from None


def _page(folder: Path) -> str:
    if not (folder / CONFIG).is_file():
        raise RunFolderError(f"{folder} holds no {CONFIG}, expected the folder of an arl search or arl bench run")
    config = _read(folder / CONFIG)
    command = str(config.get("command", "run")) if isinstance(config, dict) else "run"
    sections: list[Section] = []
    if (folder / CARD).is_file():
        sections.append(("The learned loss", _card_html(folder / CARD)))
    tables = map(_table, sorted(folder.glob("table*.json"), key=lambda f: (_view(f), f.name)))
    sections += map(_picture, folder.glob(f"{FIRST}.svg"))
    sections += [(table.title, table_html(table)) for table in distinct_tables(tables)]
    sections += map(_picture, _pictures(folder))
    provenance = _provenance(folder)
    if provenance:
        sections.append(("Provenance", mapping_html(provenance)))
    sections.append(("Configuration", json_html(config, f"all settings of this {command} ({CONFIG})")))
    return page(
        f"{command}: {folder.resolve().name}", sections, "Made by autorobustloss from the files of a run folder."
    )


def _picture(file: Path) -> Section:
    title, caption = _caption(file)
    return title, picture(_bytes(file), caption)


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


def _provenance(folder: Path) -> dict[str, Any]:
    if (folder / PROVENANCE).is_file():
        found = _read(folder / PROVENANCE)
        if not isinstance(found, dict):
            raise RunFolderError(f"{folder / PROVENANCE} holds no names and values; run the same command again")
        return found
    if not (folder / STORE).is_file():
        return {}
    with Store(folder / STORE) as store:
        return provenance_of(result for _, result in store.items())


def _card_html(file: Path) -> str:
    card = _read(file)
    if not isinstance(card, dict):
        raise RunFolderError(f"{file} is not a loss card; restore it, or run the search again")
    names = ("name", "order", "scale", "log_weight", "log_power", "theta", "canonical", *Gate._fields)
    shown = {name: card[name] for name in names if name in card}
    return mapping_html(shown) + json_html(card, f"the whole card ({CARD})")


def _pictures(folder: Path) -> list[Path]:
    order = list(CAPTIONS)
    files = [file for file in folder.glob("*.svg") if file.stem != FIRST]
    return sorted(files, key=lambda f: (min((i for i, k in enumerate(order) if k in f.stem), default=99), f.name))


def _view(file: Path) -> int:
    return next((i for i, view in enumerate(VIEWS) if file.stem.endswith(view)), 0)


def _caption(file: Path) -> tuple[str, str]:
    kind = next((kind for kind in CAPTIONS if kind in file.stem), "")
    title = file.stem.replace("-", " ").replace("_", " ").capitalize()
    return title, CAPTIONS.get(kind, title)


def _table(file: Path) -> Table:
    try:
        return Table.from_dict(_read(file))
    except ConfigError as error:
        raise RunFolderError(f"{file}: {error}; remove it and run the same command again") from None


def _read(file: Path) -> Any:
    try:
        found = json.loads(_bytes(file))
        json.dumps(found, indent=1)  # as the page shows it, which is where nesting too deep is noticed
        return found
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"cannot read {file}: {error}; restore it, or run the same command again") from None


def _bytes(file: Path) -> bytes:
    """Return the content of a file; a pipe, which might never end, or a huge file is an error."""
    try:
        if not file.is_file() or file.stat().st_size > LARGEST_FILE:
            raise RunFolderError(f"{file} is no file of at most {LARGEST_FILE >> 20} MiB; run the same command again")
        return file.read_bytes()
    except OSError as error:
        raise RunFolderError(f"cannot read {file}: {error}; restore it, or run the same command again") from None
