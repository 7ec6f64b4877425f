"""Human labels of the CIFAR training images: CIFAR-10N and CIFAR-100N, checked against the clean labels.

Source: Wei et al., Learning with Noisy Labels Revisited, ICLR 2022 (CC BY-NC 4.0; read from the user's own copy).
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autorobustloss.data.dataset import Dataset
from autorobustloss.data.npz import read_npz
from autorobustloss.errors import DataError
from autorobustloss.noise.taken import HUMAN_LABELS
from autorobustloss.reading import AGAIN, reading


def with_human_labels(dataset: Dataset, folder: Path) -> Dataset:
    """Return the data set with the human labels found in `folder`, or with a note on why there are none.

    A broken file spoils nothing here: the note becomes the error of whoever asks for the noise `human:NAME`.
    """
    if dataset.name not in HUMAN_LABELS:
        return dataset
    files = (f"{dataset.name}n.npz", f"CIFAR-{dataset.name.removeprefix('cifar')}_human.pt")
    found = [folder / file for file in files if (folder / file).is_file()]
    if not found:
        note = f"data set {dataset.name!r}: no human labels; put {' or '.join(files)} into {folder}"
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
    # "random1" is called random_label1 in the file.
    names = ("clean", *HUMAN_LABELS[dataset.name])
    keys = {name: re.sub(r"(\d?)$", r"_label\1", name, count=1) for name in names}
    arrays = read_npz(path, keys.values()) if path.suffix == ".npz" else _read_pt(path)
    missing = [key for key in keys.values() if key not in arrays]
    if missing:
        have = ", ".join(sorted(map(str, arrays))) or "none"
        raise DataError(f"{path}: no {', '.join(missing)} among {have:.300}; {AGAIN}")
    vectors: dict[str, Tensor] = {}
    expected = len(dataset.y_train)
    for name, key in keys.items():
        with reading(path, f"{key} is no array", AGAIN):
            labels = np.asarray(arrays[key])
        if labels.shape != (expected,) or labels.dtype.kind not in "iu":
            raise DataError(f"{path}: {key} is {labels.dtype} of shape {labels.shape}, expected {expected} integers")
        low, high = labels.min(), labels.max()
        if low < 0 or high >= dataset.num_classes:
            raise DataError(f"{path}: {key} has labels from {low} to {high}, expected 0 to {dataset.num_classes - 1}")
        vectors[name] = torch.from_numpy(labels.astype(np.int64))
    differing = int((vectors.pop("clean") != dataset.y_train).sum())
    if differing:
        raise DataError(
            f"{path}: its {keys['clean']} differs from the training labels of {dataset.name} for {differing} images: "
            "they are in another order; use torchvision's order, or the label file that belongs to the images"
        )
    return vectors


def _read_pt(path: Path) -> dict[str, Any]:
    """Read a published .pt file, a dictionary of NumPy arrays, without running code from it."""
    # What a pickled integer array names, under NumPy 1's and NumPy 2's module names: it builds arrays only.
    rebuild, places = np.zeros(0).__reduce__()[0], ("numpy.core.multiarray", "numpy._core.multiarray")
    dtypes = {type(np.dtype(kind)) for kind in ("u1", "i1", "i2", "i4", "i8", "longlong")}
    allowed: list[Any] = [np.ndarray, np.dtype, *dtypes, *((rebuild, f"{place}._reconstruct") for place in places)]
    what, remedy = "cannot be read as a dictionary of label arrays", "download it again, or save its arrays as .npz"
    with reading(path, what, remedy), warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
        warnings.simplefilter("ignore")
        content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected a dictionary of label arrays")
    return content
