import json
import os

import pytest

from autorobustloss.errors import RunFolderError
from autorobustloss.runs.run_folder import RunFolder, contents, differences

CONFIG = {"command": "search", "seed": 0, "tasks": [{"noise": "sym:0.8"}], "space": {"order": 4}}


def test_the_same_configuration_opens_again(tmp_path):
    with RunFolder(tmp_path / "run", CONFIG):
        pass
    with RunFolder(tmp_path / "run", {**CONFIG, "tasks": ({"noise": "sym:0.8"},)}) as folder:
        assert json.loads((folder.path / "config.json").read_text()) == CONFIG


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    RunFolder(tmp_path, CONFIG).store.close()
    before = sorted((p.name, p.read_bytes()) for p in tmp_path.iterdir() if p.name == "config.json")
    with pytest.raises(RunFolderError, match=r"(?s)seed: 0 there, 1 now.*space\.order: 4 there, 3 now.*--out"):
        RunFolder(tmp_path, {**CONFIG, "seed": 1, "space": {"order": 3}})
    assert before == sorted((p.name, p.read_bytes()) for p in tmp_path.iterdir() if p.name == "config.json")


@pytest.mark.parametrize("text", ['{"seed": ', "null", "[]", "9" * 5000, '{"a":' * 50_000, "\0"])
def test_a_broken_configuration_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"config\.json.*--out"):
        RunFolder(tmp_path, CONFIG)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_configuration_that_is_no_file_is_refused_without_waiting(make, tmp_path):
    make(tmp_path / "config.json")
    with pytest.raises(RunFolderError, match=r"config\.json is a folder, pipe or device"):
        RunFolder(tmp_path, CONFIG)


def test_a_store_in_memory_is_not_said_to_be_kept(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="lost"), RunFolder(tmp_path, CONFIG, ":memory:"):
        raise KeyboardInterrupt


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunFolderError, match="run folder"):
        RunFolder(tmp_path / "run", CONFIG)


def test_writing_is_atomic(tmp_path, monkeypatch):
    with RunFolder(tmp_path, CONFIG) as folder:
        folder.write("loss.json", "old")

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(RunFolderError, match="No space left"):
            folder.write("loss.json", "new")
        assert (tmp_path / "loss.json").read_text() == "old"
        assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_differences_of_lists():
    assert list(differences([1, 2], [1, 3])) == [("[1]", "2", "3")]
    assert list(differences({"a": [1]}, {"a": [1, 2]})) == [("a", "[1]", "[1, 2]")]


WRITTEN = {"loss.json": "card", "table-raw.json": "table", "b.svg": "picture", "a.svg": "picture"}


def test_a_manifest_says_what_is_in_a_folder(tmp_path):
    for _ in range(2):  # the same command writes the same files again
        with RunFolder(tmp_path, CONFIG) as folder:
            for name in (*WRITTEN, "table-raw.md", "b.png", "report.html"):
                folder.write(name, "{}")
        assert list(contents(tmp_path).items()) == list(WRITTEN.items())
    (tmp_path / "b.svg").unlink()
    (tmp_path / "table-of-mine.json").write_text("{}")
    assert list(contents(tmp_path)) == ["loss.json", "table-raw.json", "a.svg"]


def test_a_folder_of_before_the_manifest_tells_by_its_files(tmp_path):
    for name in (*WRITTEN, "provenance.json", "config.json", "notes.txt"):
        (tmp_path / name).write_text("{}")
    assert contents(tmp_path) == {**WRITTEN, "provenance.json": "provenance"}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"files": ["loss.json"]}', '{"files": {"loss.json": 1}}', "[" * 9000]
)
def test_a_manifest_that_does_not_read_is_named(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RunFolderError, match=r"manifest\.json.*remove it"):
        contents(tmp_path)


def test_a_manifest_leads_nowhere_else(tmp_path):
    (tmp_path / "secret.json").write_text("{}")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({"files": {"../secret.json": "card", "..": "card"}}))
    assert contents(tmp_path / "run") == {}
