"""`arl report`: one self-contained page of a run folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from autorobustloss.errors import ConfigError
from autorobustloss.runs.run_folder import replace_file


def add_parser(commands: Any) -> None:
    """Add `report` to the commands of `arl`."""
    parser = commands.add_parser(
        "report",
        help="write the HTML page of a run folder",
        description="Write one self-contained HTML page of a search's or benchmark's run folder: tables, pictures, the "
        "learned loss, configuration, provenance. It needs no other file and no network.",
    )
    parser.add_argument("folder", help="a run folder, such as runs/NAME")
    parser.add_argument("--out", metavar="FILE", help="where to write the page (default: report.html in the folder)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the page."""
    from autorobustloss.report.page import PAGE, folder_page

    folder = Path(options.folder)
    if not is_file(folder / "config.json"):
        raise ConfigError(f"got {folder}, expected a run folder (one with a config.json), such as runs/NAME")
    text = folder_page(folder)
    out = Path(options.out) if options.out else folder / PAGE
    try:
        if options.out:  # which may be /dev/stdout
            out.write_bytes(text.encode())
        else:
            replace_file(out, text.encode())
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}; try another --out FILE") from None
    print(out)
    return 0


def is_file(path: Path) -> bool:
    """Return whether there is a file of this path, however long or odd it is."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
