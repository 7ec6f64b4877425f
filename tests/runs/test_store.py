"""The store keeps what it was given, whatever happens to the file, the disk or the process."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from autorobustloss.data import DataSpec
from autorobustloss.errors import StoreError
from autorobustloss.methods import MethodSpec
from autorobustloss.runs import Job, Result, Store, Task
from autorobustloss.runs import store as module
from autorobustloss.training import History, TrainingProtocol

TASK = Task(DataSpec("digits"), "sym:0.4", "mlp2", TrainingProtocol(epochs=3))


def job(seed: int) -> Job:
    return Job(TASK, MethodSpec.of("gce", q=0.5), seed=seed)


def result(of: Job, value: float = 0.1) -> Result:
    return Result(of.key, History([1], [value], [1 / 3], [], [2.5]), 0.4, 1.5, "cpu", "here", {"torch": "2.4"})


def filled(path, count: int = 5) -> list[Job]:
    jobs = [job(seed) for seed in range(count)]
    with Store(path) as store:
        for j in jobs:
            store.put(j, result(j))
    return jobs


def test_what_is_put_is_there_after_reopening(tmp_path):
    path = tmp_path / "new" / "folder" / "store.sqlite"
    jobs = filled(path)
    with Store(path) as store:
        assert [store.get(j.key) for j in jobs] == [result(j) for j in jobs]
        assert list(store.items()) == [(j, result(j)) for j in jobs]
        assert store.keys() == [j.key for j in jobs]
        assert len(store) == 5
        assert store.get(job(99).key) is None
    assert [file.name for file in path.parent.iterdir()] == ["store.sqlite"]  # the log is folded in


def test_get_many_takes_any_number_of_keys(tmp_path):
    path = tmp_path / "store.sqlite"
    jobs = filled(path)
    with Store(path) as store:
        found = store.get_many([*(f"{i:064x}" for i in range(1700)), *(j.key for j in jobs), jobs[0].key])
        assert list(found.items()) == [(j.key, result(j)) for j in jobs]
        assert store.get_many([]) == {}


def test_the_first_result_stays():
    with Store(":memory:") as store:
        assert store.put(job(0), result(job(0), 0.1)) == result(job(0), 0.1)
        assert store.put(job(0), result(job(0), 0.9)) == result(job(0), 0.1)
        assert len(store) == 1


def test_the_first_text_kept_stays(tmp_path):
    """Also where another process keeps its own between the look and the write."""
    path = tmp_path / "store.sqlite"
    with Store(path) as store, Store(path) as other:
        assert store.get_meta("a") is None
        assert store.keep("a", "first") == "first"
        assert other.keep("a", "second") == "first"
        assert store.keep("b", "") == "" == other.keep("b", "third")
        looks = iter([None, "theirs"])
        other.keep("c", "theirs")
        store.get_meta = lambda name: next(looks)
        assert store.keep("c", "ours") == "theirs"
    with Store(path) as store:
        assert [store.get_meta(name) for name in "abc"] == ["first", "", "theirs"]


def test_results_of_earlier_training_semantics_are_kept_but_not_mixed_in(tmp_path, monkeypatch):
    path = tmp_path / "store.sqlite"
    filled(path, 2)
    monkeypatch.setattr(module, "TRAINING_VERSION", module.TRAINING_VERSION + 1)
    monkeypatch.setattr("autorobustloss.runs.job.TRAINING_VERSION", module.TRAINING_VERSION)
    with Store(path) as store:
        assert store.get(job(0).key) is None
        store.put(job(0), result(job(0), 0.7))
        assert list(store.items()) == [(job(0), result(job(0), 0.7))]
    assert sqlite3.connect(path).execute("SELECT count(*) FROM results").fetchone() == (3,)


def test_a_result_of_another_job_is_refused():
    with Store(":memory:") as store, pytest.raises(StoreError, match="got the result of job"):
        store.put(job(0), result(job(1)))


def test_garbage_is_no_store_and_stays_as_it_is(tmp_path):
    path = tmp_path / "thesis.doc"
    path.write_bytes(random.Random(0).randbytes(9000))
    with pytest.raises(StoreError, match=r"thesis\.doc: file is not a database; .*name another file"):
        Store(path)
    assert path.read_bytes() == random.Random(0).randbytes(9000)


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "bookmarks.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE moz_places (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"bookmarks\.sqlite is a database of another program; name another file"):
        Store(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_an_error_with_a_remedy(tmp_path, share):
    path = tmp_path / "store.sqlite"
    filled(path, 100)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(StoreError, match=r"store\.sqlite.*; .*(restore it|name another)"):
        Store(path)
    assert path.read_bytes() == content[: int(share * len(content))]


def test_a_damaged_page_is_an_error(tmp_path):
    path = tmp_path / "store.sqlite"
    filled(path, 100)
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 4 * 4096] = random.Random(0).randbytes(4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="restore it"):
        Store(path)


def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "store.sqlite"
    filled(path, 1)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreError, match=r"has schema 2, .* reads up to 1; upgrade"):
        Store(path)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("result", "{}"),
        ("result", "\x00\x01"),
        ("result", result(job(1)).to_json()),
        ("job", "[]"),
        ("job", '{"task": 1}'),
        ("job", json.dumps(job(1).to_dict())),
    ],
)
def test_a_broken_row_is_named_with_the_way_to_remove_it(tmp_path, column, text):
    path = tmp_path / "store.sqlite"
    key = filled(path, 1)[0].key
    with sqlite3.connect(path) as database:
        database.execute(f"UPDATE results SET {column} = ?", (text,))
    with Store(path) as store:
        with pytest.raises(StoreError) as caught:
            list(store.items())
        command = str(caught.value).split("DELETE")[1].removesuffix('"')
        assert key in command
        sqlite3.connect(path).executescript("DELETE" + command)  # the remedy works
        assert len(store) == 0


def test_a_path_that_cannot_be_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot open the store"):
        Store(tmp_path / "file" / "store.sqlite")
    with pytest.raises(StoreError, match="cannot open the store"):
        Store(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match=r"cannot open the store .*pipe"):
        Store(tmp_path / "pipe")


def test_a_file_that_cannot_be_written_is_opened_for_reading(tmp_path, monkeypatch):
    path = tmp_path / "store.sqlite"
    (stored,) = filled(path, 1)
    content = path.read_bytes()
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with Store(path) as store:
        assert store.read_only
        assert store.get(stored.key) == result(stored)
        assert store.keep("name", "value") == "value"
        with pytest.raises(StoreError, match=r"can be read only.*change the permissions"):
            store.check_writable()
        with pytest.raises(StoreError, match="permissions"):
            store.put(job(7), result(job(7)))
    assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["store.sqlite"]


def test_a_read_only_database_is_an_error(tmp_path):
    path = tmp_path / "store.sqlite"
    filled(path, 1)
    with Store(path) as store:
        store._database.execute("PRAGMA query_only = 1")
        with pytest.raises(StoreError, match=r"write to the store .*store\.sqlite: .*readonly.*permissions"):
            store.put(job(7), result(job(7)))


def test_a_full_disk_loses_nothing_that_was_stored(tmp_path):
    path = tmp_path / "store.sqlite"
    with Store(path) as store:
        store._database.execute("PRAGMA max_page_count = 20")
        kept: list[Job] = []

        def fill() -> None:
            for seed in range(1000):
                store.put(job(seed), result(job(seed)))
                kept.append(job(seed))

        with pytest.raises(StoreError, match="full; free some disk space"):
            fill()
        assert len(kept) > 10
        store._database.execute("PRAGMA max_page_count = 1000")
        store.put(job(1000), result(job(1000)))
    with Store(path) as store:
        assert store.keys() == [j.key for j in [*kept, job(1000)]]


def test_a_store_locked_by_another_process(tmp_path):
    path = tmp_path / "store.sqlite"
    jobs = filled(path, 1)
    other = sqlite3.connect(path, isolation_level=None)
    with Store(path, timeout=0.05) as store:
        other.execute("BEGIN IMMEDIATE")
        assert store.get(jobs[0].key) == result(jobs[0])  # readers do not wait
        with pytest.raises(StoreError, match="another process holds it"):
            store.put(job(5), result(job(5)))
        other.execute("COMMIT")
        store.put(job(5), result(job(5)))
        assert len(store) == 2
    other.close()


def test_a_closed_store_says_so(tmp_path):
    store = Store(tmp_path / "store.sqlite")
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.put(job(0), result(job(0)))


def test_many_open_a_new_store_at_the_same_moment(tmp_path):
    """Whoever comes while another creates the file must not take it for somebody else's."""
    barrier = threading.Barrier(4)

    def open_all() -> int:
        total = 0
        for number in range(60):
            barrier.wait(timeout=60)
            with Store(tmp_path / f"{number}.sqlite") as store:
                total += len(store)
        return total

    with ThreadPoolExecutor(4) as threads:
        assert [future.result() for future in [threads.submit(open_all) for _ in range(4)]] == [0] * 4


WRITER = """
import sys
from autorobustloss.runs import Job, Result, Store
path, start, stop, value = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
sys.stdin.readline()
from autorobustloss.data import DataSpec
from autorobustloss.runs import Task
from autorobustloss.methods import MethodSpec
from autorobustloss.training import History, TrainingProtocol
task = Task(DataSpec("digits"), "sym:0.4", "mlp2", TrainingProtocol(epochs=3))
with Store(path) as store:
    for seed in range(start, stop):
        job = Job(task, MethodSpec.of("gce", q=0.5), seed=seed)
        result = Result(job.key, History([1], [value], [1 / 3], [], [2.5]), 0.4, 1.5, "cpu", "here", {})
        print(job.key, store.put(job, result).history.valid_clean[0], flush=True)
"""


def start_writer(path, *arguments) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def go(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    writer.stdin.write("\n")
    writer.stdin.flush()


def test_two_processes_create_and_fill_one_store_and_see_the_same_results(tmp_path):
    path = tmp_path / "store.sqlite"
    writers = [start_writer(path, 0, 150, 0.1), start_writer(path, 0, 150, 0.9)]
    for writer in writers:
        go(writer)
    first, second = (writer.communicate(timeout=60)[0].splitlines() for writer in writers)
    assert len(first) == 150
    assert first == second  # the result that `put` returns is the one in the store, whoever stored it
    with Store(path) as store:
        assert [
            f"{key} {store.get(key).history.valid_clean[0]}" for key in (line.split()[0] for line in first)
        ] == first
        assert len(store) == 150


def test_a_process_killed_while_it_writes_loses_nothing_that_was_put(tmp_path):
    path = tmp_path / "store.sqlite"
    put: list[str] = []
    moments = random.Random(1)
    writers = [start_writer(path, 1000 * i, 1000 * i + 1000, 0.1) for i in range(3)]
    for writer in writers:
        go(writer)
        assert writer.stdout is not None
        put.append(writer.stdout.readline())
        time.sleep(moments.uniform(0, 0.5))
        writer.send_signal(signal.SIGKILL)
        put += writer.communicate(timeout=60)[0].splitlines()
        with Store(path) as store:
            stored = set(store.keys())
        assert {line.split()[0] for line in put if line.endswith(("0.1", "0.1\n"))} <= stored
    assert len(put) > 3
    with Store(path) as store:
        assert len(list(store.items())) == len(store)


@pytest.mark.parametrize("value", [None, 7, 1.5, b"\xff\0", b"{}", "[" * 9000, "NaN", "9" * 9000, '{"key": 1}'])
@pytest.mark.parametrize("column", ["result", "job", "key"])
def test_values_of_any_type_are_an_error_that_names_the_store(tmp_path, column, value):
    path = tmp_path / "store.sqlite"
    filled(path, 1)
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE loose (key, training_version INTEGER, job, result, created);"
            "INSERT INTO loose SELECT * FROM results; DROP TABLE results; ALTER TABLE loose RENAME TO results;"
        )
        database.execute(f"UPDATE results SET {column} = ?", (value,))
    with Store(path) as store, pytest.raises(StoreError) as caught:
        list(store.items())
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "code",
    [
        "CREATE VIEW loop AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT * FROM n",
        "CREATE TRIGGER gone AFTER INSERT ON results BEGIN DELETE FROM results; END",
        "DROP TABLE results",
        "ALTER TABLE results RENAME TO others",
    ],
)
def test_a_store_with_another_schema_is_refused(tmp_path, code):
    path = tmp_path / "store.sqlite"
    filled(path, 1)
    with sqlite3.connect(path) as database:
        database.execute(code)
    with pytest.raises(StoreError, match=r"store\.sqlite"), Store(path) as store:
        list(store.items())


def test_a_path_with_a_zero_character():
    with pytest.raises(StoreError, match="cannot open the store"):
        Store("a\0b/store.sqlite")
