"""From a name to a data set: bundled, .npz, image folder, or torchvision."""

from __future__ import annotations

import os
from pathlib import Path

from autorobustloss.data import bundled  # noqa: F401  (registers its data sets)
from autorobustloss.data.dataset import Dataset
from autorobustloss.data.names import DataName
from autorobustloss.data.npz import load_npz
from autorobustloss.data.registry import DATASETS
from autorobustloss.errors import DataError

DATA_DIR_VARIABLE = "ARL_DATA_DIR"


def resolve_data_dir(data_dir: Path | str | None = None) -> Path:
    """Return `data_dir`, else the environment variable ARL_DATA_DIR, else the folder `data` here."""
    return Path(data_dir or os.environ.get(DATA_DIR_VARIABLE) or "data").expanduser()


def load_dataset(name: str, data_dir: Path | str | None = None, download: bool = False) -> Dataset:
    """Load a data set by name, in this order: a registered name; a path to an .npz file; DATA_DIR/NAME.npz.

    `name[merge=k]` folds its classes to k (class c becomes c mod k).
    Raises DataError that says where it looked and what to do.

    >>> load_dataset("digits").x_train.shape
    torch.Size([1438, 1, 8, 8])
    >>> load_dataset("digits[merge=3]").num_classes
    3
    """
    parsed = DataName.parse(name)
    dataset = _load_base(parsed, resolve_data_dir(data_dir), download)
    merge = parsed.option("merge")
    return dataset.merged(merge) if merge else dataset


def _load_base(name: DataName, data_dir: Path, download: bool) -> Dataset:
    if name.base in DATASETS:
        return DATASETS.create(name.base, data_dir, download)
    path = Path(name.base).expanduser()
    if path.suffix == ".npz":
        return load_npz(path)
    inside = data_dir / f"{name.base}.npz"
    if inside.is_file():
        return load_npz(inside)
    raise DataError(
        f"data set {name.base!r}: not a registered name ({', '.join(DATASETS)}), and no file {inside}; "
        "give a path to an .npz file with x_train, y_train, x_test, y_test, or set the data directory "
        f"(--data-dir, or {DATA_DIR_VARIABLE})"
    )
