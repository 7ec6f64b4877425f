"""A run folder: one configuration, its store, and what it made, all text or SQLite, written atomically."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import msgspec

from autorobustloss.errors import RunFolderError
from autorobustloss.escape import clipped
from autorobustloss.reading import read_text, reading
from autorobustloss.runs.store import Store

CONFIG = "config.json"
STORE = "store.sqlite"
MANIFEST = "manifest.json"
COMMAND = "command.txt"
CURVES = "curves.json"
SUSPECTS = "suspects.json"
KINDS = {
    "loss.json": "card",
    "provenance.json": "provenance",
    "table*.json": "table",
    "answer.json": "answer",
    CURVES: "curves",
    SUSPECTS: "suspects",
    COMMAND: "command",
    "*.svg": "picture",
}
"""What a file holds, by its name; the others are copies in another form, or made of these."""
MOST_SHOWN = 20
"""Lines of a difference between two configurations that an error lists."""


class RunFolder(AbstractContextManager["RunFolder"]):
    """A folder that belongs to one configuration: opening it with another is an error that shows the difference.

    The configuration is written before anything is trained; results go to `store` as they finish. The same command
    therefore resumes a killed run, and a changed command never mixes with the results of another.
    """

    def __init__(self, path: str | Path, config: Mapping[str, Any], store: str | Path | None = None) -> None:
        """Open or create the folder; `store` shares a store that lies elsewhere."""
        self.path = Path(path)
        plain = json.loads(json.dumps(config))
        with reading(self.path, "cannot be made a run folder", "try another --out", RunFolderError):
            self.path.mkdir(parents=True, exist_ok=True)
        new = not os.path.lexists(self.path / CONFIG)
        if not new:
            self._check(plain)
        self._contents = contents(self.path)
        self.store = Store(Path(store) if store is not None else self.path / STORE)
        if new:
            self.write(CONFIG, json.dumps(plain, indent=2, sort_keys=True) + "\n")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, KeyboardInterrupt) and not error.args:
            error.args = (f"interrupted; {self._kept()}",)
        self.store.close()

    def _kept(self) -> str:
        """Say what of the run is left, as far as can be seen now."""
        if not self.store.lasting:
            return "what was trained is lost, its store was in memory"
        if not self.store.there:
            return f"the store {self.store.path} was deleted or moved, what was trained is not in it any more"
        return f"finished jobs are kept in {self.store.path}, the same command goes on from here"

    def _check(self, config: Mapping[str, Any]) -> None:
        """Raise for a configuration in the folder that differs."""
        file = self.path / CONFIG
        remedy = "restore it, remove it to go on with the settings given now, or choose another --out"
        if file.exists() and not file.is_file():  # reading would wait for ever for a pipe
            raise RunFolderError(f"{file} is a folder, pipe or device; {remedy}")
        text = read_text(file, remedy, RunFolderError)
        with reading(file, "is no configuration", remedy, RunFolderError):
            found = json.loads(text)
            if not isinstance(found, dict):
                raise ValueError("no settings in it")
            changes = list(differences(found, config))
        if changes:
            lines = [f"  {key}: {clipped(old, 200)} there, {clipped(new, 200)} now" for key, old, new in changes]
            if len(lines) > MOST_SHOWN:
                lines[MOST_SHOWN:] = [f"  and {len(lines) - MOST_SHOWN} more"]
            listed = "\n".join(lines)
            raise RunFolderError(
                f"{self.path} holds a run with another configuration:\n{listed}\n"
                "choose another --out (finished jobs can be shared with --store FILE), or repeat its settings"
            )

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of the folder atomically: whoever reads it sees the old one or the whole new one.

        In text, what has no UTF-8 (bytes of a file name that are none) is spelled out. In a folder that cannot be
        written, such as that of a finished run, a file that is there is left as it is. What the file holds is noted in
        the folder's manifest (see `contents`).
        """
        target = self.path / name
        data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
        try:
            if os.access(self.path, os.W_OK) or not target.is_file():
                replace_file(target, data)
        except OSError as error:
            raise RunFolderError(f"cannot write {target}: {error.strerror}; {self._kept()}") from error
        kind = _kind(name)
        if kind and name not in self._contents:
            self._contents[name] = kind
            self.write(MANIFEST, json.dumps({"files": self._contents}, indent=1) + "\n")
        return target


def contents(path: str | Path) -> dict[str, str]:
    """Return what a run folder holds, by file name in the order written: one of the kinds of `KINDS`.

    The manifest says it; in a folder of before there was one, the names of the files do. Files that were removed are
    left out. Raises RunFolderError for a manifest that does not read.
    """
    folder = Path(path)
    file = folder / MANIFEST
    if not file.is_file():
        return {found.name: kind for found in sorted(folder.iterdir()) if (kind := _kind(found.name))}
    remedy = "remove it and run the same command again"
    text = read_text(file, remedy, RunFolderError)
    with reading(file, "is no manifest", remedy, RunFolderError):
        files = msgspec.json.decode(text, type=dict[str, dict[str, str]])["files"]
    return {name: kind for name, kind in files.items() if name == Path(name).name and (folder / name).is_file()}


def _kind(name: str) -> str:
    return next((kind for pattern, kind in KINDS.items() if fnmatchcase(name, pattern)), "")


def replace_file(target: Path, data: bytes) -> None:
    """Write a file whole or not at all; a pipe or link of that name is replaced, not written to."""
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".arl-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (key, old, new) for each leaf in which two JSON values differ.

    >>> list(differences({"a": {"b": 1}, "c": [1, 2]}, {"a": {"b": 2}, "c": [1, 2]}))
    [('a.b', '1', '2')]
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            yield from differences(old.get(name, "nothing"), new.get(name, "nothing"), f"{key}.{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new)):
            yield from differences(a, b, f"{key}[{index}]")
    elif old != new:
        yield key.removeprefix("."), json.dumps(old), json.dumps(new)
