"""A run folder: one configuration, its store, and what it made, all text or SQLite, written atomically."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autorobustloss.errors import RunFolderError
from autorobustloss.jobs.store import Store

CONFIG = "config.json"
STORE = "store.sqlite"


class RunFolder:
    """A folder that belongs to one configuration: opening it with another is an error that shows the difference.

    The configuration is written before anything is trained; results go to `store` as they finish. The same command
    therefore resumes a killed run, and a changed command never mixes with the results of another.
    """

    def __init__(self, path: str | Path, config: Mapping[str, Any], store: str | Path | None = None) -> None:
        """Open or create the folder; `store` shares a store that lies elsewhere."""
        self.path = Path(path)
        plain = json.loads(json.dumps(config))
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(
                f"cannot create the run folder {self.path}: {error.strerror}; try another --out"
            ) from error
        self._check(plain)
        self.store = Store(Path(store) if store is not None else self.path / STORE)
        if not (self.path / CONFIG).exists():
            self.write(CONFIG, json.dumps(plain, indent=2, sort_keys=True) + "\n")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def _check(self, config: Mapping[str, Any]) -> None:
        file = self.path / CONFIG
        if not file.exists():
            return
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunFolderError(f"cannot read {file}: {error}; restore it, or choose another --out") from error
        changes = list(differences(found, config))
        if changes:
            listed = "\n".join(f"  {key}: {old} there, {new} now" for key, old, new in changes)
            raise RunFolderError(
                f"{self.path} holds a run with another configuration:\n{listed}\n"
                "choose another --out (finished jobs can be shared with --store FILE), or repeat its settings"
            )

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file of the folder atomically: whoever reads it sees the old one or the whole new one."""
        target = self.path / name
        data = content.encode() if isinstance(content, str) else content
        try:
            handle, temporary = tempfile.mkstemp(dir=self.path, prefix=f".{name}.")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.chmod(temporary, 0o644)
                os.replace(temporary, target)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise RunFolderError(
                f"cannot write {target}: {error.strerror}; finished jobs are safe in the store, rerun to go on"
            ) from error
        return target


def differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield (key, old, new) for each leaf in which two JSON values differ.

    >>> list(differences({"a": {"b": 1}, "c": [1, 2]}, {"a": {"b": 2}, "c": [1, 2]}))
    [('a.b', '1', '2')]
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted({*old, *new}):
            path = f"{key}.{name}" if key else str(name)
            yield from differences(old.get(name, "nothing"), new.get(name, "nothing"), path)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new)):
            yield from differences(a, b, f"{key}[{index}]")
    elif old != new:
        yield key, json.dumps(old), json.dumps(new)
