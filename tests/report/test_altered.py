"""A run folder that was cut, changed or made by a stranger: `arl report` writes the page, or names the file."""

import copy
import json
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autorobustloss.cli.main import main

BENCH = "bench --dataset iris --models linear --noise clean,sym:0.2 --methods ce,mae --seeds 1 --epochs 1 --workers 1"
SEARCH = (
    "search --dataset iris --models linear --noise sym:0.2 --generations 1 --population 4 --finalists-seeds 1 "
    "--epochs 1 --compare ce --compare-seeds 1 --workers 1"
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
BYTES = st.sampled_from(
    [b"", b"{", b"[1]", b"7", b"null", b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 5000, b'"\\ud800"']
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    for name, command in (("bench", BENCH), ("search", SEARCH)):
        assert main([*command.split(), "--quiet", "--out", str(home / name)]) == 0
    os.remove(home / "search" / "picture.png")
    return home


def report(folder, capsys):
    """Write the page; whatever is in the folder, it ends with a code and a message that names the folder's file."""
    capsys.readouterr()
    code = main(["report", str(folder), "--out", str(folder.parent / "page.html")])
    err = capsys.readouterr().err
    assert code in (0, 1, 2)
    assert "fault of arl" not in err
    assert "Traceback" not in err
    assert (err == "") == (code == 0)
    assert code == 0 or str(folder) in err
    return code


@pytest.mark.parametrize("run", ["bench", "search"])
@pytest.mark.parametrize("change", ["missing", "folder", "empty", "half", "binary", "pipe", "link to itself"])
def test_any_file_may_be_changed(runs, run, change, tmp_path, capsys):
    for name in sorted(os.listdir(runs / run)):
        folder = tmp_path / name.replace(".", "-")
        shutil.copytree(runs / run, folder)
        file = folder / name
        content = file.read_bytes()
        file.unlink()
        if change == "folder":
            file.mkdir()
        elif change == "pipe":
            os.mkfifo(file)
        elif change == "link to itself":
            file.symlink_to(file)
        elif change != "missing":
            file.write_bytes({"empty": b"", "half": content[: len(content) // 2], "binary": bytes(range(256))}[change])
        report(folder, capsys)


def places(value, path=()):
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data())
def test_any_value_may_be_another(runs, data, capsys):
    run, name = data.draw(
        st.sampled_from(
            [
                *(("bench", f"{stem}.json") for stem in ("config", "provenance", "table-published")),
                *(("search", f"{stem}.json") for stem in ("config", "loss", "table")),
            ]
        )
    )
    file = runs / run / name
    before = file.read_bytes()
    content = json.loads(before)
    path = data.draw(st.sampled_from(sorted(places(content), key=str)))
    changed = copy.deepcopy(content)
    value = data.draw(JSON)
    if not path:
        changed = value
    else:
        place = changed
        for key in path[:-1]:
            place = place[key]
        if data.draw(st.booleans()):
            place[path[-1]] = value
        else:
            del place[path[-1]]
    try:
        file.write_text(json.dumps(changed))
        report(runs / run, capsys)
    finally:
        file.write_bytes(before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(content=BYTES, name=st.sampled_from(["config", "provenance", "table-published"]))
def test_any_content_may_stand_in_a_file(runs, content, name, capsys):
    file = runs / "bench" / f"{name}.json"
    before = file.read_bytes()
    try:
        file.write_bytes(content)
        report(runs / "bench", capsys)
    finally:
        file.write_bytes(before)


def test_a_row_of_the_store_may_be_anything(runs, capsys, tmp_path):
    import sqlite3

    folder = tmp_path / "run"
    shutil.copytree(runs / "search", folder)
    for column in ("job", "result"):
        for value in ("", "{}", "[1]", "7", None, b"\xff", "[" * 100_000, '{"key": 1}', 5):
            with sqlite3.connect(folder / "store.sqlite") as database:
                (old,) = database.execute(f"SELECT {column} FROM results LIMIT 1").fetchone()
                try:
                    database.execute(f"UPDATE results SET {column} = ? WHERE rowid = 1", (value,))
                except sqlite3.IntegrityError:
                    continue
            assert report(folder, capsys) == 1
            with sqlite3.connect(folder / "store.sqlite") as database:
                database.execute(f"UPDATE results SET {column} = ? WHERE rowid = 1", (old,))
    assert report(folder, capsys) == 0


def test_a_page_that_cannot_be_written_is_said(runs, capsys):
    assert main(["report", str(runs / "bench"), "--out", "/nowhere/page.html"]) == 2
    assert "try another --out" in capsys.readouterr().err
    for name in ("r" * 400, "none", "\0"):
        assert main(["report", name]) == 2


@pytest.mark.parametrize(
    ("run", "name"), [("bench", "config.json"), ("bench", "provenance.json"), ("search", "loss.json")]
)
def test_a_file_nested_too_deep_is_named(runs, run, name, capsys, tmp_path):
    shutil.copytree(runs / run, tmp_path / "run")
    (tmp_path / "run" / name).write_text('{"a":' * 100_000)
    assert main(["report", str(tmp_path / "run")]) == 1
    assert name in capsys.readouterr().err


def test_a_pipe_in_the_place_of_the_page_is_replaced(runs, capsys, tmp_path):
    shutil.copytree(runs / "bench", tmp_path / "run")
    (tmp_path / "run" / "report.html").unlink()
    os.mkfifo(tmp_path / "run" / "report.html")
    assert main(["report", str(tmp_path / "run")]) == 0, capsys.readouterr().err
    assert (tmp_path / "run" / "report.html").is_file()
