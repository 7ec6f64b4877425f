"""From a name, a path or a data frame to a data set."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from autorobustloss.data.dataset import TEST_SHARE, Dataset
from autorobustloss.data.files import TABLES, is_saved_dataset, load_saved_dataset, load_table
from autorobustloss.data.folders import is_image_folder, load_folder
from autorobustloss.data.human import with_human_labels
from autorobustloss.data.names import DataName
from autorobustloss.data.npz import load_npz
from autorobustloss.data.pictures import Progress
from autorobustloss.data.views import VIEWS, view
from autorobustloss.errors import ConfigError, DataError
from autorobustloss.registry import DATASETS

DATA_DIR_VARIABLE = "ARL_DATA_DIR"
READERS: dict[str, Callable[[Path], Dataset]] = {".npz": load_npz}
"""Readers of files by suffix, one module each; what is neither such a file nor a table may be a folder."""


def resolve_data_dir(data_dir: Path | str | None = None) -> Path:
    """Return `data_dir`, else the environment variable ARL_DATA_DIR, else the folder `data` here."""
    # os.path's functions leave what is no user and no path as it is, where Path's raise.
    return Path(os.path.expanduser(data_dir or os.environ.get(DATA_DIR_VARIABLE) or "data"))


def list_datasets() -> list[str]:
    """Return the names that `load_dataset` knows; files and image folders come on top."""
    return DATASETS.names()


def is_own(name: str, dataset: Dataset) -> bool:
    """Return whether a name, and what was loaded by it, are data of the user's own, of whose labels we know nothing.

    They are a path, and a file or folder in the data directory. The others are the registered ones, benchmarks whose
    labels are known to be right: bundled, or torchvision's; unless their file comes with noisy labels.

    >>> digits = load_dataset("digits")
    >>> is_own("digits[merge=3]", digits), is_own("./digits.npz", digits), is_own("survey", digits)
    (False, True, True)
    """
    registered = DataName.parse(name).base in DATASETS
    return not registered or not dataset.clean_labels or "given" in dataset.label_sets


def load_dataset(
    name: Any,
    data_dir: Path | str | None = None,
    download: bool = False,
    progress: Progress | None = None,
    *,
    target: str | None = None,
    test_split: float | None = None,
) -> Dataset:
    """Load a data set by name, or by path; or make one of a data frame.

    In this order: a registered name (the torchvision ones first as DATA_DIR/NAME.npz); a path to an .npz file, a table
    (.csv, .tsv, .parquet, .feather, .arrow), a folder that Hugging Face's `datasets` saved, or an image folder;
    DATA_DIR/NAME.npz or a table there; the folder DATA_DIR/NAME. Options: `name[merge=k]` folds the classes to k
    (class c becomes c mod k), `name[split=k]` cuts them into k, `name[components=n]` makes a table of n principal
    components, `name[size=s]` resizes the images of a folder.

    target: the column of labels, of a table. test_split: share of the samples that becomes the test part, of what has
        none, 0.2 by default. `notes` of the data set says what was done.
    Raises DataError that says where it looked and what to do, MissingDependencyError, ConfigError for bad options.

    >>> load_dataset("digits").x_train.shape
    torch.Size([1438, 1, 8, 8])
    >>> load_dataset("digits[merge=3]").num_classes
    3
    """
    if not isinstance(name, (str, os.PathLike)):
        return Dataset.from_frame(name, target, test_split=TEST_SHARE if test_split is None else test_split)
    parsed = DataName.parse(os.fspath(name))
    dataset = _load_base(parsed, resolve_data_dir(data_dir), download, progress, target, test_split)
    for option in VIEWS:
        if number := parsed.option(option):
            dataset = view(dataset, option, number)
    return dataset


def _load_base(
    name: DataName,
    data_dir: Path,
    download: bool,
    progress: Progress | None,
    target: str | None,
    test_split: float | None,
) -> Dataset:
    base, size = name.base, name.option("size")
    place = None if base in DATASETS else _find(base, data_dir)
    table, folder = place is not None and place.suffix.lower() in TABLES, place is not None and os.path.isdir(place)
    saved = place is not None and folder and is_saved_dataset(place)
    if size and not folder:
        raise ConfigError(f"data set {str(name)!r}: size is for image folders, and {base} is none")
    if target is not None and not table and not saved:
        raise ConfigError(f"data set {base!r}: got target={target!r}, which is the label column of a table; it is none")
    if place is not None and table:
        return load_table(place, target, test_split)
    if place is not None and saved:
        return load_saved_dataset(place, target, test_split, size)
    if place is not None and place.suffix not in READERS:
        return load_folder(place, size, progress=progress, test_split=test_split)
    if test_split is not None:
        raise ConfigError(f"data set {base!r}: got test_split={test_split!r}, but it has a test part of its own")
    if place is None:
        return with_human_labels(DATASETS.get(base)(base, data_dir, download), data_dir)
    return with_human_labels(READERS[place.suffix](place), place.parent)


def _find(base: str, data_dir: Path) -> Path:
    """Return the file or image folder that a name means; a path that ends like a file is one, there or not."""
    path = Path(os.path.expanduser(base))
    if path.suffix in READERS or path.suffix.lower() in TABLES:
        inside = data_dir / path
        return inside if not os.path.isfile(path) and os.path.isfile(inside) and path.suffix not in READERS else path
    files = [data_dir / f"{base}{suffix}" for suffix in (*READERS, *TABLES)]
    for place in (path, *files, data_dir / base):
        if os.path.isfile(place) if place in files else is_image_folder(place) or is_saved_dataset(place):
            return place
    near = difflib.get_close_matches(base.lower(), list(DATASETS), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"data set {base!r:.200}: {hint}It is no registered name ({', '.join(DATASETS)}), no file "
        f"({', '.join((*READERS, *TABLES))}), image folder or folder of Hugging Face datasets of that path, and "
        f"neither {files[0]} nor {data_dir / base}{os.sep} is there; "
        f"check the path, or set the data directory (--data-dir, or {DATA_DIR_VARIABLE})"
    )
