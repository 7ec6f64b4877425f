"""Tables in files of every kind, data frames, saved Hugging Face datasets, one folder of images: the same data set."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import autorobustloss as arl
from autorobustloss.data import load_dataset
from autorobustloss.errors import ConfigError, DataError, MissingDependencyError

pd = pytest.importorskip("pandas")
pytest.importorskip("pyarrow")


@pytest.fixture
def wines():
    """Return scikit-learn's wines with categories as strings, gaps, and cultivars by name."""
    from sklearn.datasets import load_wine

    bunch = load_wine(as_frame=True)
    frame = bunch.data[["alcohol", "hue", "proline", "ash"]].copy()
    frame["colour"] = pd.cut(bunch.data["color_intensity"], 3, labels=["light", "medium", "deep"]).astype(str)
    frame.loc[::9, "hue"] = np.nan
    frame.loc[::11, "colour"] = None
    return frame.assign(cultivar=np.array(["barolo", "grignolino", "barbera"])[bunch.target])


def write(frame, path):
    """Write a frame as its suffix says."""
    import pyarrow as pa

    table = pa.Table.from_pandas(frame)
    if path.name == "wines.arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    elif path.name == "stream.arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    elif path.suffix in (".csv", ".tsv"):
        frame.to_csv(
            path, sep={"semicolon.csv": ";", "wines.tsv": "\t"}.get(path.name, ","), index="index" in path.name
        )
    else:
        getattr(frame, f"to_{path.suffix[1:]}")(path)


NAMES = ["wines.csv", "semicolon.csv", "index.csv", "wines.tsv", "wines.parquet", "wines.feather"]


@pytest.mark.parametrize("name", [*NAMES, "wines.arrow", "stream.arrow"])
def test_every_kind_of_file_is_the_frame(wines, tmp_path, name):
    write(wines, tmp_path / name)
    data, frame = load_dataset(str(tmp_path / name), target="cultivar"), load_dataset(wines, target="cultivar")
    assert data.fingerprint == frame.fingerprint
    assert data.classes == ("barbera", "barolo", "grignolino")
    assert (len(data.y_train), len(data.y_test)) == (142, 36)
    assert data.name == name.split(".")[0]


def test_other_libraries_give_the_same(wines):
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    expected = load_dataset(wines, target="cultivar").fingerprint
    assert load_dataset(polars.from_pandas(wines), target="cultivar").fingerprint == expected
    assert load_dataset(pyarrow.Table.from_pandas(wines), target="cultivar").fingerprint == expected


def test_rows_say_where_samples_come_from(wines):
    data = load_dataset(wines, target="cultivar", test_split=0.3)
    assert len(data.y_test) == round(0.3 * len(wines))
    rows = np.concatenate([data.rows["train"], data.rows["test"]])
    assert sorted(rows) == list(range(len(wines)))
    for part, labels in (("train", data.y_train), ("test", data.y_test)):
        assert [data.classes[c] for c in labels] == wines["cultivar"].iloc[data.rows[part]].tolist()


def test_nothing_is_learnt_from_test_rows(wines):
    data = load_dataset(wines, target="cultivar")
    changed, test = wines.copy(), data.rows["test"]
    changed.loc[test, "proline"] = 1e9
    changed.loc[test, "colour"] = "never seen"
    other = load_dataset(changed, target="cultivar")
    assert torch.equal(data.x_train, other.x_train)
    assert not torch.equal(data.x_test, other.x_test)


def test_notes_say_what_was_done(wines):
    wines.loc[:4, "cultivar"] = None
    said = " | ".join(load_dataset(wines, target="cultivar").notes)
    for part in ("5 rows of the train part have no label", "stratified by 'cultivar', are the test part (0.2)"):
        assert part in said
    for part in ("barbera (", "hue (", "colour (4)", "learnt from"):
        assert part in said


def test_a_csv_file_says_gaps_in_many_ways(tmp_path):
    rows = [f"{i if i % 5 else '?'},{'NA' if i % 7 == 0 else 'x' if i % 2 else 'y'},{i % 2}" for i in range(100)]
    (tmp_path / "gaps.csv").write_text("size,kind,label\n" + "\n".join(rows), encoding="utf-8")
    data = load_dataset("gaps", tmp_path, target="label")
    assert "size (1" in data.notes[3]
    assert data.classes == ()  # labels 0 and 1 stay what they are
    assert load_dataset("gaps.csv", tmp_path, target="label").fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({}, ConfigError, "--target cultivar. It has alcohol, hue"),
        ({"target": "cultivr"}, ConfigError, "did you mean 'cultivar'"),
        ({"target": "proline"}, DataError, "holds 121 different texts or numbers in 178 rows, expected classes"),
        ({"target": "hue"}, DataError, "no whole ones"),
        ({"target": "cultivar", "test_split": 1.5}, ConfigError, "between 0 and 1"),
        ({"target": "cultivar", "test_split": 0.001}, DataError, "too few for a test part"),
    ],
)
def test_errors_say_what_to_do(wines, tmp_path, arguments, error, says):
    write(wines, tmp_path / "wines.csv")
    with pytest.raises(error, match=says) as caught:
        load_dataset(str(tmp_path / "wines.csv"), **arguments)
    assert str(tmp_path / "wines.csv") in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2,3\n", b"\xff\xfe\x00", b"a,a,b\n1,2,3\n", b"\n\n"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".feather", ".arrow"])
def test_broken_files_are_named(tmp_path, content, suffix, fine_or_named):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with fine_or_named(path):
        load_dataset(str(path), target="b")


def test_target_and_test_split_where_they_mean_nothing(tmp_path):
    with pytest.raises(ConfigError, match="'digits': got target='label'"):
        load_dataset("digits", target="label")
    with pytest.raises(ConfigError, match=r"'digits': got test_split=0\.5"):
        load_dataset("digits", test_split=0.5)


def test_without_the_extras(wines, tmp_path, monkeypatch):
    write(wines, tmp_path / "wines.csv")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "dataset_dict.json").write_text("{}")
    for module in ("pyarrow.csv", "datasets"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'autorobustloss\[frames\]'"):
        load_dataset(str(tmp_path / "wines.csv"), target="cultivar")
    with pytest.raises(MissingDependencyError, match=r"pip install 'autorobustloss\[datasets\]'"):
        load_dataset(str(tmp_path / "saved"))


@pytest.fixture
def saved(tmp_path):
    """Return a folder of 100 digits as Hugging Face's `datasets` saves them, and their images and labels."""
    datasets = pytest.importorskip("datasets")
    image = pytest.importorskip("PIL.Image")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels, labels = bunch.images[:100].astype(np.uint8), bunch.target[:100]
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=[f"digit {i}" for i in range(10)])}
    content = {"image": [image.fromarray(p) for p in pixels], "label": labels.tolist()}
    made = datasets.Dataset.from_dict(content, features=datasets.Features(features))
    datasets.disable_progress_bars()
    made.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": made.select(range(80)), "test": made.select(range(80, 100))}).save_to_disk(
        tmp_path / "parts"
    )
    return tmp_path, pixels, labels


def test_a_saved_dataset_of_images(saved):
    folder, pixels, labels = saved
    data = load_dataset("one", folder)  # its ClassLabel is the target
    assert data.classes == tuple(f"digit {i}" for i in range(10))
    np.testing.assert_array_equal(data.x_train[:, 0], pixels[data.rows["train"]])
    np.testing.assert_array_equal(data.y_test, labels[data.rows["test"]])
    parts = load_dataset(f"{folder / 'parts'}[size=12]")
    assert parts.x_train.shape == (80, 1, 12, 12)
    np.testing.assert_array_equal(parts.y_test, labels[80:])
    with pytest.raises(ConfigError, match="test part of its own"):
        load_dataset("parts", folder, test_split=0.5)


def test_a_saved_dataset_of_a_table(wines, tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_pandas(wines).save_to_disk(tmp_path / "wines")
    data = load_dataset(str(tmp_path / "wines"), target="cultivar")
    assert data.fingerprint == load_dataset(wines, target="cultivar").fingerprint
    with pytest.raises(ConfigError, match="--target cultivar"):
        load_dataset(str(tmp_path / "wines"))


def test_one_folder_of_images_splits_itself(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for i in range(20):
        folder = tmp_path / "pets" / ("cat" if i % 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        image.fromarray(np.full((4, 4), 10 * i, dtype=np.uint8)).save(folder / f"{i}.png")
    data = load_dataset("pets", tmp_path, test_split=0.3)
    assert (len(data.y_train), len(data.y_test), data.classes) == (14, 6, ("cat", "dog"))
    assert data.y_test.bincount().tolist() == [3, 3]
    for part, x, y in (("train", data.x_train, data.y_train), ("test", data.x_test, data.y_test)):
        for name, pixel, label in zip(data.rows[part], x[:, 0, 0, 0].tolist(), y.tolist()):
            assert name == f"{data.classes[label]}/{pixel // 10}.png"
    assert "stratified, are the test part" in data.notes[0]
    again = load_dataset("pets", tmp_path, test_split=0.3)
    assert again.fingerprint == data.fingerprint


def test_a_frame_reaches_bench_and_search(wines):
    tasks = arl.make_tasks(wines, target="cultivar", models="linear", epochs=3, noise="clean")
    assert [task.label for task in tasks.tasks] == ["frame-0/linear/clean"]
    table = arl.bench(["ce"], tasks, seeds=1).tables["published"]
    assert "frame-0" in str(table.to_dict())
    assert arl.Dataset.from_frame(wines, "cultivar").num_classes == 3


def test_commands_take_a_table_and_say_what_they_did(wines, tmp_path, capsys, monkeypatch):
    from autorobustloss.cli.main import parse

    monkeypatch.chdir(tmp_path)
    write(wines, tmp_path / "wines.csv")
    command = ["train", "--dataset", "wines.csv", "--target", "cultivar", "--test-split", "0.25", "--loss", "ce"]
    assert parse([*command, "--epochs", "3", "--workers", "1"])() == 0
    out, err = capsys.readouterr()
    assert "wines.csv/mlp2/given" in out
    assert "are the test part (0.25)" in err
    assert "gaps filled with the training median" in err
