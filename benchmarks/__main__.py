"""`python -m benchmarks`: measure, and print a table for each section."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch

from benchmarks import card, cluster, floor, inner, loss, overhead, pipeline, scale, throughput, written
from benchmarks.settings import Settings
from benchmarks.table import Table

SECTIONS: Mapping[str, Callable[[Settings], Iterable[Table]]] = {
    "floor": floor.measure,
    "textbook": throughput.measure,
    "inner": inner.measure,
    "loss": loss.measure,
    "written": written.measure,
    "overhead": overhead.measure,
    "scale": scale.measure,
    "card": card.measure,
    "ray": cluster.measure,
    "ahead": pipeline.measure,
}
LONG = {"ahead"}
"""Sections that are measured when they are named."""
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    settings = Settings(quick=options.quick)
    start, tables, shown = time.perf_counter(), dict[str, list[Table]](), [_machine(settings)]
    print(shown[0], flush=True)
    for name in options.only:
        begun = time.perf_counter()
        settings.log(f"{name} …")
        tables[name] = []
        for table in SECTIONS[name](settings):
            tables[name].append(table)
            print("\n" + table.text(), flush=True)
        settings.log(f"{name}: {time.perf_counter() - begun:.0f} s")
    settings.log(f"all: {time.perf_counter() - start:.0f} s")
    if options.json:
        data = {name: {t.title: t.data for t in group} for name, group in tables.items()}
        options.json.write_text(json.dumps({"machine": shown[0], **data}, indent=1) + "\n")
    if options.write:
        parts = [shown[0], *(t.markdown() for group in tables.values() for t in group)]
        _write(options.write, "\n\n".join(parts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", type=_names, default=[s for s in SECTIONS if s not in LONG], metavar="NAMES", help=", ".join(SECTIONS)
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number there")
    parser.add_argument("--write", type=Path, metavar="FILE", help=f"put the tables between {BEGIN} and {END} there")
    parser.add_argument("--quick", action="store_true", help="a smoke test; its figures mean nothing")
    return parser


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in SECTIONS:
            raise argparse.ArgumentTypeError(f"got section {name!r}, expected some of {', '.join(SECTIONS)}")
    return names


def _machine(settings: Settings) -> str:
    """Return where and on what this is measured, in a line; says so when others use the machine."""
    model = re.search(r"model name\s*:\s*(.+)", _read("/proc/cpuinfo"))
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    parts = [
        model.group(1) if model else platform.processor() or platform.machine(),
        f"{settings.workers} cores",
        torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        f"PyTorch {torch.__version__}, Python {platform.python_version()}",
        f"load before the run {busy:.1f}" + (" (NOT quiet: figures are rough)" if busy > 0.5 else ""),
    ]
    return ("QUICK: sizes of a smoke test, the figures mean nothing. " if settings.quick else "") + "; ".join(parts)


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _write(path: Path, text: str) -> None:
    """Replace what is between the markers of a file."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path}: expected the lines {BEGIN} and {END}, in this order")
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
