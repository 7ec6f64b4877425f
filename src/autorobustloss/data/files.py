"""Tables in files: CSV, Parquet, Feather, Arrow, and folders that Hugging Face's `datasets` saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autorobustloss.data.dataset import TEST_SHARE, Dataset
from autorobustloss.errors import ConfigError, DataError, MissingDependencyError
from autorobustloss.reading import reading

GAPS = ("", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None", "none")
"""What a CSV file writes where there is nothing."""
DELIMITERS = (",", ";", "\t", "|")
WHOLE = 2**30
"""Bytes of a CSV file from which the types of its columns are told: all, in most files."""
PARTS = {"train": "train", "test": "test", "valid": "valid", "validation": "valid", "val": "valid"}
"""What splits of a saved `DatasetDict` are here, by their names."""


def load_table(path: Path | str, target: str | None = None, test_split: float | None = None) -> Dataset:
    """Load a table from a file: columns as `TableEncoder` encodes them, the column `target` as labels.

    test_split: share of the rows that becomes the test part, 0.2 by default, stratified; always the same rows.
    In a CSV file the first line names the columns, and is searched for the delimiter (one of , ; tab |).
    Raises DataError that names the file, ConfigError for a target that is no column, MissingDependencyError without
    pyarrow.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file; check the path")
    with reading(path, "cannot be read as a table", "check it, or write it again"):
        table = TABLES[path.suffix.lower()](path)
    share = TEST_SHARE if test_split is None else test_split
    return Dataset.from_frame(table, target, test_split=share, name=path.stem, source=str(path))


def is_saved_dataset(path: Path) -> bool:
    """Whether a folder is one that `save_to_disk` of Hugging Face's `datasets` wrote."""
    single = all(os.path.isfile(path / file) for file in ("state.json", "dataset_info.json"))
    return single or os.path.isfile(path / "dataset_dict.json")


def load_saved_dataset(
    path: Path, target: str | None = None, test_split: float | None = None, size: int = 0
) -> Dataset:
    """Load a folder of Hugging Face's `datasets`: its column of images, else all columns as a table.

    target: the column of labels; by default the one that is a ClassLabel. Splits called train, test and validation are
        those parts; without test, `test_split` of train (by default 0.2) becomes it. size: see `load_folder`.
    Raises DataError, ConfigError, and MissingDependencyError without `datasets`.
    """
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(
            f"{path}: folders of Hugging Face datasets need `datasets`; pip install 'autorobustloss[datasets]'"
        ) from None
    with reading(path, "cannot be loaded as a Hugging Face dataset", "save it again with save_to_disk"):
        loaded = datasets.load_from_disk(str(path))
    splits = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    parts = {PARTS[name]: split for name, split in splits.items() if name in PARTS}
    if "train" not in parts:
        raise DataError(f"{path}: got splits {', '.join(splits)}, expected one called train")
    if test_split is not None and "test" in parts:
        raise ConfigError(f"{path}: got test_split={test_split:g}, but it has a test part of its own; leave that out")
    features = parts["train"].features
    labels = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    target = labels[0] if target is None and len(labels) == 1 else target
    names = features[target].names if target in labels else ()
    pictures = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    share = TEST_SHARE if test_split is None else test_split
    given: dict[str, Any] = {"test_split": share, "name": path.name, "source": str(path), "class_names": names}
    if not pictures:
        frames = {part: split.with_format("arrow")[:] for part, split in parts.items()}
        return Dataset.from_frame(frames.pop("train"), target, **frames, **given)
    if target not in features:
        raise ConfigError(f"{path}: name the column of labels with --target (target=…); it has {', '.join(features)}")
    arrays: dict[str, Any] = {}
    with reading(path, "its images cannot be stacked", "give a size to resize to, as in NAME[size=64]"):
        for part, split in parts.items():
            arrays[f"x_{part}"] = _stacked(split[pictures[0]], size)
            arrays[f"y_{part}"] = np.asarray(split[target])
    classes, _ = np.unique(arrays["y_train"], return_inverse=True)
    if len(names):
        arrays["classes"] = [names[c] for c in classes]
    unused = [name for name in features if name not in (pictures[0], target)]
    notes = (
        f"images of column {pictures[0]!r}, labels of {target!r}" + (f", not {', '.join(unused)}" if unused else ""),
    )
    return Dataset.from_arrays(**arrays, name=path.name, test_split=share, notes=notes)


def _stacked(pictures: list[Any], size: int) -> np.ndarray:
    mode = "L" if all(picture.mode in ("1", "L") for picture in pictures) else "RGB"
    converted = (picture.convert(mode) for picture in pictures)
    return np.stack([np.asarray(picture.resize((size, size)) if size else picture) for picture in converted])


def _csv(path: Path) -> Any:
    csv = _pyarrow("csv")
    with open(path, "rb") as file:
        head = file.readline(2**20).decode("utf-8", "replace")
    delimiter = max(DELIMITERS, key=head.count)
    return csv.read_csv(
        path,
        csv.ReadOptions(block_size=min(max(os.path.getsize(path), 2**20), WHOLE)),
        csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        csv.ConvertOptions(null_values=list(GAPS), strings_can_be_null=True),
    )


def _parquet(path: Path) -> Any:
    return _pyarrow("parquet").read_table(path)


def _arrow(path: Path) -> Any:
    """Read Feather, and Arrow's own two formats: files and streams."""
    ipc = _pyarrow("ipc")
    with open(path, "rb") as file:
        magic = file.read(4)
    if magic == b"FEA1":
        return _pyarrow("feather").read_table(path)
    with open(path, "rb") as file:
        return (ipc.open_file if magic == b"ARRO" else ipc.open_stream)(file).read_all()


def _pyarrow(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"pyarrow.{module}")
    except ImportError:
        raise MissingDependencyError("tables in files need pyarrow; pip install 'autorobustloss[frames]'") from None


TABLES: Mapping[str, Callable[[Path], Any]] = {
    **dict.fromkeys((".csv", ".tsv"), _csv),
    **dict.fromkeys((".parquet", ".pq"), _parquet),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), _arrow),
}
"""Readers of tables by suffix, each of a path, which return an Arrow table."""
