"""From a name to a data set: bundled, torchvision, .npz, or image folder."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from autorobustloss.data import bundled, vision  # noqa: F401  (they register their data sets)
from autorobustloss.data.dataset import Dataset
from autorobustloss.data.folders import is_image_folder, load_folder
from autorobustloss.data.human import with_human_labels
from autorobustloss.data.names import DataName
from autorobustloss.data.npz import load_npz
from autorobustloss.data.pictures import Progress
from autorobustloss.data.views import VIEWS
from autorobustloss.errors import ConfigError, DataError
from autorobustloss.registry import DATASETS

DATA_DIR_VARIABLE = "ARL_DATA_DIR"


def resolve_data_dir(data_dir: Path | str | None = None) -> Path:
    """Return `data_dir`, else the environment variable ARL_DATA_DIR, else the folder `data` here."""
    # os.path's functions leave what is no user and no path as it is, where Path's raise.
    return Path(os.path.expanduser(data_dir or os.environ.get(DATA_DIR_VARIABLE) or "data"))


def list_datasets() -> list[str]:
    """Return the names that `load_dataset` knows; .npz files and image folders come on top."""
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
    path = Path(os.path.expanduser(name.base))
    folder = next((p for p in (path, data_dir / name.base) if not registered and is_image_folder(p)), None)
    file = path if path.suffix == ".npz" else data_dir / f"{name.base}.npz"
    if size and folder is None and (registered or os.path.isfile(file)):
        raise ConfigError(f"data set {str(name)!r}: size is for image folders, and {name.base} is none")
    if registered:
        return with_human_labels(DATASETS.create(name.base, data_dir, download), data_dir)
    if os.path.isfile(file) or path.suffix == ".npz":
        return with_human_labels(load_npz(file), file.parent)
    if folder is not None:
        return load_folder(folder, size, progress=progress)
    near = difflib.get_close_matches(name.base.lower(), list(DATASETS), n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"data set {name.base!r:.200}: {hint}It is no registered name ({', '.join(DATASETS)}), no .npz file or image "
        f"folder of that path, and neither {file} nor {data_dir / name.base}{os.sep} is there; "
        f"check the path, or set the data directory (--data-dir, or {DATA_DIR_VARIABLE})"
    )
