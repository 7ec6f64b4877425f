"""The page of run folders, from the files in them alone: what is there is shown, what is not is left out."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from autorobustloss.benchmark.curves import Panel
from autorobustloss.benchmark.curves import from_dict as curves_from_dict
from autorobustloss.benchmark.grid import VIEWS
from autorobustloss.benchmark.render import distinct_tables
from autorobustloss.benchmark.table import Table
from autorobustloss.errors import ConfigError, RunFolderError
from autorobustloss.labels.gallery import Gallery
from autorobustloss.reading import read_text, reading
from autorobustloss.report import charts, conclusion
from autorobustloss.report.conclusion import Conclusion, Standing
from autorobustloss.report.formula import formula_of_card, formula_of_method
from autorobustloss.report.page import Report, Section, page
from autorobustloss.report.progress import running
from autorobustloss.runs.result import Result
from autorobustloss.runs.run_folder import CONFIG, STORE, contents
from autorobustloss.runs.store import Store

PAGE, LABELS_PAGE = "report.html", "labels.html"
PROVENANCE = "provenance.json"
LARGEST_FILE = 64 << 20
AGAIN = "restore it, or run the same command again"
PICTURES = {
    "picture": "The learned loss among its competitors, and the search that found it",
    "curves": "Test accuracy per epoch of each method as published, mean ± standard error over seeds",
    "validation": "Accuracy on noisy validation labels per epoch, by which an epoch, a method and a rate can be chosen",
    "orders": "Test accuracy at the last epoch, mean ± standard error over tasks, by order of the learned polynomial",
    "sweep": "Test accuracy of each method as published at the last epoch, against the noise rate",
    "ranks": "Average ranks, as published; a bar joins methods that do not differ significantly (Nemenyi, α = 0.05)",
    "features": "t-SNE of penultimate features of test images, coloured by true class",
}
"""What pictures show, by a part of their file's name, in order; that of a search comes before the tables."""
DRAWN = ("curves", "validation", "sweep")
"""Pictures that the page draws itself where the numbers are there."""
TITLES = {"bench": "Benchmark", "search": "Search", "labels": "Labels"}
Read = TypeVar("Read")


def folder_page(*paths: str | Path, refresh: int = 0) -> str:
    """Return the page of run folders of searches, benchmarks and labels.

    Read are config.json, what the manifest lists, and provenance.json or else store.sqlite. refresh: as in `page`.
    Raises RunFolderError where there is no run or a file cannot be read.
    """
    return page([read_run(Path(path)) for path in paths], refresh)


def read_run(folder: Path) -> Report:
    """Return what a page says of a run folder."""
    config = _read(folder / CONFIG)
    command = str(config.get("command", "run"))
    found = contents(folder)
    files = {kind: [folder / name for name in found if found[name] == kind] for kind in found.values()}
    title = f"{TITLES.get(command, command)}: {folder.resolve().name}"
    if is_finished(config, found):
        shown, sections = _finished(command, files)
    else:
        shown, sections = running(config, folder / STORE)
    provenance = _provenance(folder)
    sections = [*sections, _reproduce(folder, files, provenance)]
    if provenance:
        sections.append(("Provenance", "values", (provenance, "where, how long and with what it was made")))
    sections.append(("Configuration", "values", (config, f"all settings of this {command} ({CONFIG})")))
    return Report(title, shown, tuple(sections))


def is_finished(config: Mapping[str, Any], found: Mapping[str, str]) -> bool:
    """Return whether a run has written what it is for; found: its files and their kinds (see `contents`)."""
    kinds, compared = set(found.values()), config.get("compare") and config.get("compare_seeds")
    wanted = {"bench": {"table"}, "search": {"card", "table"} if compared else {"card"}, "labels": {"suspects"}}
    return wanted.get(str(config.get("command")), set()) <= kinds


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


def _finished(command: str, files: Mapping[str, list[Path]]) -> tuple[Conclusion | None, list[Section]]:
    """Return what a finished run shows, and sections: formula, pictures, tables."""
    cards = [_read(file) for file in files.get("card", ())]
    tables = [_parsed(f, Table.from_dict) for f in sorted(files.get("table", ()), key=lambda f: _place(f, VIEWS))]
    tables = distinct_tables(table for table in tables if table.blocks)
    galleries = [_parsed(file, Gallery.from_dict) for file in files.get("suspects", ())]
    answers = [(file, _read(file)) for file in files.get("answer", ())]
    panels = [panel for file in files.get("curves", ()) for panel in _parsed(file, curves_from_dict)]
    shown = None
    if galleries:
        first, _, rest = galleries[0].summary.partition(". ")
        shown = Conclusion(f"{first}.", rest)
    elif answers:
        shown = _parsed(answers[0][0], conclusion.of_answers)
    elif command == "search":
        shown = conclusion.of_search(tables[0] if tables else None, _fitness(cards))
    elif tables:
        shown = conclusion.of_tables(tables)
    ranked = _ranked(tables)
    names = [each.name for each in ranked] or ([*tables[0].methods] if tables else [])
    sections = [
        *(section for card in cards for section in _card(card)),
        *_formulas(names, bool(ranked) and not cards),
        *(("Which loss?", "paragraph", (str(content.get("text", "")),)) for _, content in answers),
        *_pictures(files.get("picture", ()), ("picture",), cards, tables),
        *_ranks(ranked, tables),
        *_curves(panels, names),
        *((table.title, "table", (table,)) for table in tables),
        *_pictures(files.get("picture", ()), _left_to_show(bool(panels), bool(tables)), cards, tables),
        *(section for gallery in galleries for section in _gallery(gallery)),
    ]
    return shown, sections


def _left_to_show(drawn: bool, ranked: bool) -> tuple[str, ...]:
    """Return the kinds of pictures that the page does not draw itself."""
    shown = {"picture", *(DRAWN if drawn else ()), *(("ranks",) if ranked else ())}
    return tuple(kind for kind in (*PICTURES, "") if kind not in shown)


def _card(card: Mapping[str, Any]) -> list[Section]:
    """Return the learned loss: its formula, how it was found, its numbers."""
    provenance = _mapping(card.get("provenance"))
    history = provenance.get("generations")
    rows = [each for each in history if isinstance(each, Mapping)] if isinstance(history, list) else []
    told = {name: value for name, value in card.items() if name != "provenance"}
    told |= {name: value for name, value in provenance.items() if name not in ("search", "generations")}
    sections: list[Section] = [("The learned loss", "formula", (formula_of_card(card), told))]
    shares = [[float(v) for name in ("best", "mean", "worst") if _is_share(v := each.get(name))] for each in rows]
    triples = [(best, mean, worst) for best, mean, worst in (each for each in shares if len(each) == 3)]
    if len(triples) == len(rows) and (figure := charts.progress_figure(triples)):
        sections.append(("The search", "search", (figure, rows)))
    return sections


def _is_share(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and 0 <= value <= 1


def _fitness(cards: Sequence[Mapping[str, Any]]) -> float | None:
    value = _mapping(cards[0].get("provenance")).get("fitness") if cards else None
    return float(value) if _is_share(value) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _formulas(methods: Sequence[str], ranked: bool) -> list[Section]:
    """Return the formulas of those methods of a table that are losses; ranked: the first of them is the best."""
    found = [(name, formula) for name in methods if (formula := formula_of_method(name))]
    if not found:
        return []
    best = "The best loss" if found[0][0] == methods[0] else "The best loss that has a formula"
    return [(f"{best}: {found[0][0]}" if ranked else "Formulas", "formulas", (found, ranked))]


def _ranks(ranked: Sequence[Standing], tables: Sequence[Table]) -> list[Section]:
    chart = charts.rank_chart([(each.name, each.rank) for each in ranked], tables[0].blocks[0]) if ranked else None
    return [("Average ranks", "ranks", (chart,))] if chart else []


def _curves(panels: Sequence[Panel], best: Sequence[str]) -> list[Section]:
    """Return curves of the best methods, and of cross-entropy, by which one sees what label noise does."""
    known = list(dict.fromkeys(curve.method for panel in panels for curve in panel.curves))
    names = [name for name in best if name in known] or known
    shown = names[: charts.MOST_LINES]
    if "ce" in names and "ce" not in shown:
        shown[-1] = "ce"
    figures = charts.figures(panels, shown)
    by_epoch = [figure for figure in figures if figure.counts == "epoch"]
    swept = [figure for figure in figures if figure.counts != "epoch"]
    sections: list[Section] = []
    for heading, group in (("Training", by_epoch), ("Against the noise rate", swept)):
        if group:
            sections.append((heading, "curves", (group, len(names) - len(shown))))
    return sections


def _gallery(gallery: Gallery) -> list[Section]:
    count = f"{len(gallery.suspects)} most suspicious of {gallery.samples} samples"
    return [
        (f"The {count}", "suspects", (gallery.suspects,)),
        ("What is taken for what", "mistakes", (gallery.mistakes,)),
    ]


def _pictures(
    files: Iterable[Path], kinds: Sequence[str], cards: Sequence[Mapping[str, Any]], tables: Sequence[Table]
) -> list[Section]:
    """Return pictures of these kinds, each with a text that says what it shows; "" is any other."""
    sections: list[Section] = []
    for file in sorted(files, key=lambda file: (_place(file, PICTURES), file.name)):
        kind = (*PICTURES, "")[_place(file, PICTURES)]
        if kind in kinds:
            title = file.stem.replace("-", " ").replace("_", " ").capitalize()
            caption = PICTURES.get(kind, title)
            data = base64.b64encode(_text(file).encode()).decode()
            sections.append(
                (title if kind != "picture" else "The losses", "picture", (caption, _alt(caption, tables), data))
            )
    return sections


def _ranked(tables: Sequence[Table]) -> list[Standing]:
    """Return the ranked methods of the first table, the best first; none where all is at chance."""
    block = tables[0].blocks[0] if tables else None
    return conclusion.standings(tables[0], block) if block and block.telling else []


def _alt(caption: str, tables: Sequence[Table]) -> str:
    """Return a caption with the figures of the first table, which its picture shows."""
    said = ", ".join(f"{each.name} {each.mean:.1f} %" for each in _ranked(tables))
    return f"{caption}. Mean test accuracy: {said}." if said else caption


def _reproduce(folder: Path, files: Mapping[str, list[Path]], provenance: Mapping[str, Any]) -> Section:
    """Return the commands that make the run, and its page, again."""
    lines = [line for file in files.get("command", ()) for line in _text(file).splitlines() if line.startswith("arl ")]
    versions = _mapping(provenance.get("versions"))
    pins = [f"{n}=={str(versions[n]).partition('+')[0]}" for n in ("autorobustloss", "torch") if n in versions]
    install = [f"pip install {' '.join(pins)}"] if pins and not any(" " in pin for pin in pins) else []
    return "To reproduce", "commands", ([*install, *lines, f"arl report {folder.name}"], bool(lines), folder.name)


def _provenance(folder: Path) -> dict[str, Any]:
    if (folder / PROVENANCE).is_file():
        return _read(folder / PROVENANCE)
    if not (folder / STORE).is_file():
        return {}
    with Store(folder / STORE) as store:
        return provenance_of(result for _, result in store.items())


def _place(file: Path, order: Collection[str]) -> int:
    return next((place for place, name in enumerate(order) if name in file.stem), len(order))


def _parsed(file: Path, parse: Callable[[dict[str, Any]], Read]) -> Read:
    """Return what a JSON file holds; RunFolderError, which names it, where that does not read."""
    try:
        return parse(_read(file))
    except ConfigError as error:
        raise RunFolderError(f"{file}: {error}; remove it and run the same command again") from None


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
