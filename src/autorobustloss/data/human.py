"""Human labels of the CIFAR training images: CIFAR-10N and CIFAR-100N, checked against the clean labels.

Source: Wei et al., Learning with Noisy Labels Revisited, ICLR 2022 (CC BY-NC 4.0; read from the user's own copy).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autorobustloss.data.dataset import Dataset
from autorobustloss.data.npz import read_npz
from autorobustloss.errors import DataError
from autorobustloss.reading import AGAIN, reading

HUMAN_FILES: Mapping[str, tuple[str, str]] = {
    "cifar10": ("cifar10n.npz", "CIFAR-10_human.pt"),
    "cifar100": ("cifar100n.npz", "CIFAR-100_human.pt"),
}
HUMAN_KEYS: Mapping[str, Mapping[str, str]] = {
    "cifar10": {
        "aggre": "aggre_label",
        "random1": "random_label1",
        "random2": "random_label2",
        "random3": "random_label3",
        "worse": "worse_label",
    },
    "cifar100": {"noisy": "noisy_label"},
}
CLEAN_KEY = "clean_label"


def with_human_labels(dataset: Dataset, folder: Path) -> Dataset:
    """Return the data set with the human labels found in `folder`, or with a note on why there are none.

    A broken file spoils nothing here: the note becomes the error of whoever asks for the noise `human:NAME`.
    """
    names = HUMAN_FILES.get(dataset.name)
    if names is None:
        return dataset
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        note = f"data set {dataset.name!r}: no human labels; put {' or '.join(names)} into {folder}"
        return replace(dataset, label_note=note)
    try:
        return replace(dataset, label_sets={**dataset.label_sets, **read_human_labels(found[0], dataset)})
    except DataError as error:
        return replace(dataset, label_note=str(error))


def read_human_labels(path: Path, dataset: Dataset) -> dict[str, Tensor]:
    """Return the label vectors of a CIFAR-N file by short name.

    Raises DataError where the file is broken, a vector is missing or does not fit, or the file's clean labels are
    not the training labels of `dataset`: then its images are others, or in another order.
    """
    keys = HUMAN_KEYS[dataset.name]
    wanted = (CLEAN_KEY, *keys.values())
    arrays = read_npz(path, wanted) if path.suffix == ".npz" else _read_pt(path)
    missing = [key for key in wanted if key not in arrays]
    if missing:
        have = ", ".join(sorted(map(str, arrays))) or "none"
        raise DataError(f"{path}: no {', '.join(missing)} among {have:.300}; {AGAIN}")
    vectors = {name: _vector(path, key, arrays[key], dataset) for name, key in keys.items()}
    differing = int((_vector(path, CLEAN_KEY, arrays[CLEAN_KEY], dataset) != dataset.y_train).sum())
    if differing:
        raise DataError(
            f"{path}: its {CLEAN_KEY} differs from the training labels of {dataset.name} for {differing} of "
            f"{len(dataset.y_train)} images: the images are in another order. "
            "Use the data set in the original (torchvision) order, or the label file that belongs to it"
        )
    return vectors


def _vector(path: Path, key: str, values: Any, dataset: Dataset) -> Tensor:
    with reading(path, f"{key} is no array", AGAIN):
        labels = np.asarray(values)
    expected = len(dataset.y_train)
    if labels.shape != (expected,) or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: {key} is {labels.dtype} of shape {labels.shape}, expected {expected} integers")
    if labels.min() < 0 or labels.max() >= dataset.num_classes:
        raise DataError(
            f"{path}: {key} has labels from {labels.min()} to {labels.max()}, expected 0 to {dataset.num_classes - 1}"
        )
    return torch.from_numpy(labels.astype(np.int64))


def _read_pt(path: Path) -> dict[str, Any]:
    """Read a published .pt file, a dictionary of NumPy arrays, without running code from it."""
    npz = next(npz for npz, pt in HUMAN_FILES.values() if pt == path.name)
    remedy = f"download it again, or save its arrays with np.savez as {path.with_name(npz)}"
    with (
        reading(path, "cannot be read as a dictionary of label arrays", remedy),
        warnings.catch_warnings(),
        torch.serialization.safe_globals(_array_globals()),
    ):
        warnings.simplefilter("ignore")
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected a dictionary of label arrays")
    return content


def _array_globals() -> list[Any]:
    """Return what a pickled integer array names, under NumPy 1's and NumPy 2's module names: it builds arrays only."""
    reconstruct = np.zeros(0).__reduce__()[0]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    dtypes = {type(np.dtype(kind)) for kind in ("u1", "i1", "i2", "i4", "i8", "longlong")}
    return [np.ndarray, np.dtype, *dtypes, *((reconstruct, f"{module}._reconstruct") for module in modules)]
