"""The usual image data sets by name: from an .npz file where there is one, else through torchvision."""

from __future__ import annotations

import os
from pathlib import Path

from autorobustloss.data.dataset import Dataset
from autorobustloss.data.npz import load_npz
from autorobustloss.errors import DataError, MissingDependencyError
from autorobustloss.registry import DATASETS


@DATASETS.register("mnist")
@DATASETS.register("fashion_mnist")
@DATASETS.register("kmnist")
@DATASETS.register("usps")
@DATASETS.register("cifar10")
@DATASETS.register("cifar100")
def load_vision(name: str, data_dir: Path, download: bool = False) -> Dataset:
    """Load DATA_DIR/NAME.npz, else what torchvision finds in DATA_DIR or, with `download`, fetches into it.

    Raises MissingDependencyError without torchvision, DataError where nothing usable is found.
    """
    npz = data_dir / f"{name}.npz"
    if os.path.isfile(npz):
        return load_npz(npz)
    try:
        from torchvision import datasets

        source = getattr(datasets, "FashionMNIST" if name == "fashion_mnist" else name.upper())
        train, test = (source(root=str(data_dir), train=part, download=download) for part in (True, False))
    except Exception as error:  # torchvision reads pickles and archives, which fail in any way
        kind = MissingDependencyError if isinstance(error, ImportError) else DataError
        remedy = "check the connection, or fetch the files by hand" if download else "pass download=True (--download)"
        remedy = "pip install 'autorobustloss[vision]'" if kind is MissingDependencyError else remedy
        raise kind(
            f"data set {name!r}: no file {npz}, and torchvision got nothing usable from {data_dir} "
            f"({type(error).__name__}: {error}); {remedy}, or set the data directory (--data-dir, or ARL_DATA_DIR)"
        ) from error
    arrays = (train.data, train.targets, test.data, test.targets)
    return Dataset.from_arrays(*arrays, name=name, classes=map(str, getattr(train, "classes", ())))
