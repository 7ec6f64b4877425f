"""From a name to a data set: bundled, torchvision, .npz, or image folder."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from autorobustloss.data import bundled, vision  # noqa: F401  (they register their data sets)
from autorobustloss.data.dataset import Dataset
from autorobustloss.data.folders import Progress, is_image_folder, load_folder
from autorobustloss.data.human import with_human_labels
from autorobustloss.data.names import DataName
from autorobustloss.data.npz import load_npz
from autorobustloss.data.registry import DATASETS
from autorobustloss.data.views import VIEWS
from autorobustloss.errors import ConfigError, DataError

DATA_DIR_VARIABLE = "ARL_DATA_DIR"


def resolve_data_dir(data_dir: Path | str | None = None) -> Path:
    """Return `data_dir`, else the environment variable ARL_DATA_DIR, else the folder `data` here."""
    return Path(data_dir or os.environ.get(DATA_DIR_VARIABLE) or "data").expanduser()


def load_dataset(
    name: str,
    data_dir: Path | str | None = None,
    download: bool = False,
    progress: Progress | None = None,
) -> Dataset:
    """Load a data set by name.

    In this order: a registered name (the torchvision ones first as DATA_DIR/NAME.npz); a path to an .npz file or an
    image folder; DATA_DIR/NAME.npz; the image folder DATA_DIR/NAME. Options: `name[merge=k]` folds the classes to k
    (class c becomes c mod k), `name[split=k]` cuts them into k, `name[components=n]` makes a table of n principal
    components, `name[size=s]` resizes the images of a folder.
    Raises DataError that says where it looked and what to do, MissingDependencyError, ConfigError for bad options.

    >>> load_dataset("digits").x_train.shape
    torch.Size([1438, 1, 8, 8])
    >>> load_dataset("digits[merge=3]").num_classes
    3
    """
    parsed = DataName.parse(name)
    dataset = _load_base(parsed, resolve_data_dir(data_dir), download, progress)
    for option, view in VIEWS.items():
        if number := parsed.option(option):
            dataset = view(dataset, number)
    return dataset


def _load_base(name: DataName, data_dir: Path, download: bool, progress: Progress | None) -> Dataset:
    size = name.option("size")
    registered = name.base in DATASETS
    path = Path(name.base).expanduser()
    folder = next((p for p in (path, data_dir / name.base) if not registered and is_image_folder(p)), None)
    file = path if path.suffix == ".npz" else data_dir / f"{name.base}.npz"
    if size and folder is None and (registered or file.is_file()):
        raise ConfigError(f"data set {str(name)!r}: size is for image folders, and {name.base} is none")
    if registered:
        return with_human_labels(DATASETS.create(name.base, data_dir, download), data_dir)
    if file.is_file() or path.suffix == ".npz":
        return with_human_labels(load_npz(file), file.parent)
    if folder is not None:
        return load_folder(folder, size, progress=progress)
    near = difflib.get_close_matches(name.base.lower(), list(DATASETS), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"data set {name.base!r}: {hint}It is no registered name ({', '.join(DATASETS)}), no .npz file or image folder "
        f"of that path, and neither {file} nor {data_dir / name.base}{os.sep} is there; "
        f"check the path, or set the data directory (--data-dir, or {DATA_DIR_VARIABLE})"
    )
