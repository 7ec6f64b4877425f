"""`arl report`: one self-contained page of run folders, once or as long as a run goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from autorobustloss.cli.terminal import warn
from autorobustloss.errors import ConfigError, RunFolderError
from autorobustloss.report.folder import PAGE, folder_page, is_finished
from autorobustloss.runs.run_folder import CONFIG, contents, replace_file

EVERY = 5
"""Seconds between two looks at a run, and between two of its page at itself."""


def run(folders: Sequence[str], out: str | None, watch: bool) -> int:
    """Write the page; with watch write it again while a run goes on."""
    if len(folders) > 1 and out is None:
        raise ConfigError(f"got {len(folders)} run folders, expected --out FILE for the page of all of them")
    for folder in folders:
        if not os.path.isfile(Path(folder) / CONFIG):
            raise ConfigError(f"got {folder}, expected a run folder (one with a {CONFIG}), such as runs/NAME")
    target = Path(out) if out else Path(folders[0]) / PAGE
    if watch:
        follow(folders, target, bool(out))
    write(folders, target, bool(out))
    print(target)
    return 0


def write(folders: Sequence[str], target: Path, chosen: bool, refresh: int = 0) -> None:
    """Write the page of run folders; chosen: somebody named the target, which may be /dev/stdout."""
    text = folder_page(*folders, refresh=refresh)
    try:
        (Path.write_bytes if chosen else replace_file)(target, text.encode())
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}; try another --out FILE") from None


def follow(folders: Sequence[str], target: Path, chosen: bool, every: float = EVERY) -> None:
    """Write the page, which loads itself again, until all runs are finished and nothing changes any more."""
    before: object = None
    while True:
        now = state(folders, target)
        if now == before and all(map(finished, folders)):
            return
        if now != before:
            write(folders, target, chosen, refresh=max(round(every), 1))
        if before is None:
            warn(f"{target} follows the run; Ctrl-C ends that, and not the run")
        before = now
        time.sleep(every)


def finished(folder: str) -> bool:
    """Return whether a run has written what it is for."""
    try:
        return is_finished(json.loads((Path(folder) / CONFIG).read_text(encoding="utf-8")), contents(folder))
    except (ValueError, OSError, AttributeError) as error:
        raise RunFolderError(f"{Path(folder) / CONFIG} cannot be read ({error}); run the same command again") from None


def state(folders: Sequence[str], page: Path) -> list[tuple[str, int, int]]:
    """Return what changes where a run goes on: names, sizes and times of its files, less the page."""
    found = []
    for file in sorted(file for folder in folders for file in Path(folder).iterdir()):
        if file != page and not file.name.startswith(".") and file.name != PAGE and file.is_file():
            status = file.stat()
            found.append((str(file), status.st_size, status.st_mtime_ns))
    return found
