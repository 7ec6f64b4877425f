"""Finished jobs in one SQLite file.

A result is committed the moment it exists, in a transaction of its own, in write-ahead mode with SQLite's default
`synchronous=FULL`: when `put` returns, the result survives the death of the process and a power failure. That costs
about 4 ms, against jobs of seconds; `NORMAL` would save half of it and lose the last results with the power.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path

from autorobustloss.errors import ConfigError, StoreError
from autorobustloss.runs.job import TRAINING_VERSION, Job
from autorobustloss.runs.result import Result

SCHEMA_VERSION = 1
APPLICATION_ID = 0x41524C53  # "ARLS", what `file` and SQLite show for a store of this library

_SCHEMA = f"""
CREATE TABLE results (
    key TEXT PRIMARY KEY,
    training_version INTEGER NOT NULL,
    job TEXT NOT NULL,
    result TEXT NOT NULL,
    created TEXT NOT NULL
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


class Store(contextlib.AbstractContextManager["Store"]):
    """Results by job key, in one file that several runs, one after another or at once, can share.

    Use it as a context manager, or call `close`. The path ":memory:" gives a store that ends with the process.
    Every failure of the file is a StoreError that names it and what to do; the file is never deleted or replaced.
    A file that cannot be written, as on a read-only disk, is opened for reading (`read_only`).

    >>> with Store(":memory:") as store:
    ...     len(store)
    0
    """

    def __init__(self, path: str | Path, timeout: float = 60.0) -> None:
        """Open or create the file; `timeout`: seconds to wait for another process that is writing."""
        self.path = Path(path)
        self.lasting = str(path) != ":memory:"
        self.read_only = False
        self._file = ""
        with self._errors("open"):
            address: str | Path = self.path
            if self.lasting and self.path.exists():
                if not self.path.is_file():  # SQLite would wait for ever for a pipe
                    raise StoreError(f"cannot open the store {self.path}: it is a folder, pipe or device; name a file")
                # SQLite writes its log beside the file.
                writable = all(os.access(path, os.W_OK) for path in (self.path, self.path.parent))
                self.read_only = not writable and self.path.stat().st_size > 0
            if self.read_only:
                # Beside it nothing can be made, nor does anybody write.
                log = self.path.with_name(f"{self.path.name}-wal")
                unchanging = "" if log.is_file() and log.stat().st_size else "&immutable=1"
                address = f"{self.path.resolve().as_uri()}?mode=ro{unchanging}"
            elif self.lasting:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(address, timeout=timeout, isolation_level=None, uri=self.read_only)
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise
        self._file = _file_number(self.path)

    @property
    def there(self) -> bool:
        """Whether the file is where it was opened: neither deleted, nor moved, nor replaced by another."""
        return _file_number(self.path) == self._file

    def check_writable(self) -> None:
        """Raise StoreError if a result could not be kept; to be asked before anything is trained."""
        if self.read_only:
            raise StoreError(
                f"the store {self.path} can be read only, and trainings are missing in it; change the permissions, "
                "or name another file for the store"
            )
        self._check_there()

    def _check_there(self) -> None:
        if not self.there:
            raise StoreError(
                f"the store {self.path} was deleted, moved or replaced while this process used it, so what it trains "
                "cannot be kept; put the file back, or start again"
            )

    def _prepare(self) -> None:
        """Check that the file is a store, make a new one a store; nothing is written to what is none."""
        execute = self._database.execute
        # Two processes may create the file at the same moment: the second waits, and finds it made.
        execute("BEGIN" if self.read_only else "BEGIN IMMEDIATE")
        with self._database:
            if self._schema_version() == 0:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    execute(statement)
        # Where the file system cannot, SQLite stays with its rollback journal. It waits for other processes everywhere
        # but here, where two that switch at once would wait for each other: one of them switches for both.
        with contextlib.suppress(sqlite3.OperationalError):
            execute("PRAGMA journal_mode = WAL")
        fault = execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            raise sqlite3.DatabaseError(f"malformed: {fault}")

    def _schema_version(self) -> int:
        """Return the version of the schema, 0 for an empty file; raise for one that is not ours or too new."""
        query = (
            "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master), "
            "(SELECT count(*) FROM sqlite_master WHERE type IN ('view', 'trigger')) "
            "FROM pragma_user_version, pragma_application_id"
        )
        version, application, tables, code = self._database.execute(query).fetchone()
        if tables and application != APPLICATION_ID:
            raise StoreError(f"{self.path} is a database of another program; name another file for the store")
        if code:  # which a stranger may have put there, and which would run at the first query
            raise StoreError(f"the store {self.path} holds views or triggers, expected tables; get it from its source")
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"the store {self.path} has schema {version}, this version of autorobustloss reads up to "
                f"{SCHEMA_VERSION}; upgrade autorobustloss, or name another file"
            )
        return int(version)

    def put(self, job: Job, result: Result) -> Result:
        """Commit a result and return what the store now holds for the job: the first result put, for ever.

        Where two processes share a store and train the same job, both go on with the same numbers.
        """
        if result.key != job.key:
            raise StoreError(f"got the result of job {result.key[:12]}… for job {job.key[:12]}… ({job.label})")
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        row = (job.key, TRAINING_VERSION, json.dumps(job.to_dict()), result.to_json(), now)
        with self._errors("write to"):
            cursor = self._database.execute("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?)", row)
        self._check_there()
        return result if cursor.rowcount else self.get_many([job.key])[job.key]

    def get(self, key: str) -> Result | None:
        """Return the result of a job's key, or None."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Result]:
        """Return the results there are for these keys, in their order."""
        query = "SELECT result FROM results WHERE key = ?"
        return {key: self._read(key, text) for key in dict.fromkeys(keys) for (text,) in self._rows(query, (key,))}

    def keys(self) -> list[str]:
        """Return the keys of all results of the present training semantics, oldest first."""
        return [key for (key,) in self._rows(f"SELECT key FROM results {_CURRENT}", (TRAINING_VERSION,))]

    def items(self) -> Iterator[tuple[Job, Result]]:
        """Yield every job and its result, oldest first; those of an earlier `TRAINING_VERSION` are passed over."""
        for key, text, result in self._rows(f"SELECT key, job, result FROM results {_CURRENT}", (TRAINING_VERSION,)):
            with self._row(key):
                job = Job.from_dict(json.loads(text))
                if job.key != key:
                    raise ConfigError(f"it holds job {job.key}")
            yield job, self._read(key, result)

    def __len__(self) -> int:
        return len(self.keys())

    def keep(self, name: str, value: str) -> str:
        """Return the text kept under a name; `value`, and keep it, if there is none: the first one kept, for ever."""
        if not self.read_only and self.get_meta(name) is None:
            with self._errors("write to"):
                self._database.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
        kept = self.get_meta(name)
        return value if kept is None else kept

    def get_meta(self, name: str) -> str | None:
        """Return a text kept with `keep`, or None."""
        rows = self._rows("SELECT value FROM meta WHERE name = ?", (name,))
        return rows[0][0] if rows else None

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it."""
        with self._errors("close"):
            self._database.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, query: str, parameters: Iterable[object]) -> list[tuple]:
        with self._errors("read"):
            return self._database.execute(query, tuple(parameters)).fetchall()

    def _read(self, key: str, text: str) -> Result:
        with self._row(key):
            result = Result.from_json(text)
            if result.key != key:
                raise ConfigError(f"it holds the result of job {result.key}")
        return result

    @contextlib.contextmanager
    def _row(self, key: str) -> Iterator[None]:
        """Name the row whose reading fails; somebody may have altered it, so it may raise nearly anything."""
        try:
            yield
        except Exception as error:
            raise StoreError(
                f"the store {self.path} has a row that does not read, {key}: {error}. A newer version of "
                "autorobustloss may have written it; if it is broken, remove it, and the job runs again:\n"
                f"  sqlite3 {self.path} \"DELETE FROM results WHERE key = '{key}'\""
            ) from error

    @contextlib.contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, ValueError) as error:  # ValueError: a path with a NUL
            if self._file:
                self._check_there()
            known = (remedy for sign, remedy in _REMEDIES.items() if sign in str(error).lower())
            remedy = next(known, "check that its folder exists, can be written, and is on a local disk")
            raise StoreError(f"cannot {verb} the store {self.path}: {error}; {remedy}") from error


_CURRENT = "WHERE training_version = ? ORDER BY rowid"

_REMEDIES = {
    "locked": "another process holds it: wait for that to end, or name another file",
    "not a database": "it is not a SQLite file: name another file for the store",
    "malformed": "truncated or damaged: restore it from a copy, or save what is left with `sqlite3 FILE .recover`",
    "no such": "its tables are not those of a store: restore it from a copy, or name another file",
    "full": "free some disk space and run again: what was stored before is safe",
    "readonly": "it or its folder cannot be written: change the permissions, or name another file",
    "disk i/o": "the disk failed, or is a network drive that SQLite cannot lock: use a file on a local disk",
    "closed": "it was closed already: open it again",
    "thread": "it belongs to the thread that opened it: open it once more in this one",
}


def _file_number(path: Path) -> str:
    """Return what tells a file from another that takes its place."""
    with contextlib.suppress(OSError, ValueError):
        status = path.stat()
        return f"{status.st_dev} {status.st_ino}"
    return "none"
