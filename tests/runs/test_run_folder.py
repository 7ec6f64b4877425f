import json
import os

import pytest

from autorobustloss.errors import RunFolderError
from autorobustloss.runs.run_folder import RunFolder, differences

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
