"""Data sets in .npz files: x_train, y_train, x_test, y_test, and nothing that could run code."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from autorobustloss.data.dataset import Dataset
from autorobustloss.errors import DataError
from autorobustloss.reading import AGAIN, read_npy, reading, require_memory

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_valid", "y_valid", "y_valid_noisy", "y_train_noisy")
ENCRYPTED = 0x1
"""The flag of a zip member that needs a password."""


def load_npz(path: Path | str) -> Dataset:
    """Load a data set from an .npz file; forms of the arrays as in `Dataset.from_arrays`.

    Optional keys: x_valid and y_valid, a clean validation part (with y_valid_noisy, its noisy labels, -1 for none);
    y_train_noisy, the noisy labels that the noise `given` uses. A file with y_train_noisy and no y_train says that
    the clean training labels are not known.
    Raises DataError, naming the file and the remedy, for anything else.
    """
    path = Path(path)
    arrays = read_npz(path, (*REQUIRED, *OPTIONAL))
    clean = "y_train" in arrays
    if not clean and "y_train_noisy" in arrays:
        arrays["y_train"] = arrays.pop("y_train_noisy")
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        with reading(path, "damaged", AGAIN), zipfile.ZipFile(path) as archive:
            there = sorted({key.removesuffix(".npy") for key in archive.namelist()})
        raise DataError(
            f"{path}: no array {', '.join(missing)} among {', '.join(there) or 'none':.300}; "
            "expected np.savez(FILE, x_train=…, y_train=…, x_test=…, y_test=…)"
        )
    return Dataset.from_arrays(**arrays, name=path.stem, source=str(path), clean_labels=clean)


def read_npz(path: Path, wanted: Iterable[str]) -> dict[str, Any]:
    """Return those of the wanted arrays that an .npz file has; its other members are not looked at.

    Raises DataError where the file is missing, damaged, protected, packed in a way that np.savez does not pack, or
    holds pickled objects. What an array claims to need is checked against what is there before it is unpacked.
    """
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file; check the path")
    with reading(path, "damaged, or no .npz file", AGAIN), zipfile.ZipFile(path) as archive:
        members = _members(path, archive, set(wanted))
        # Twice, since what is unpacked is checked and cast into memory of its own.
        unpacked = 2 * sum(info.file_size for info in members.values())
        require_memory(path, unpacked, "save fewer samples, or smaller ones")
        arrays = {}
        for key, info in members.items():
            with archive.open(info) as member:
                arrays[key] = read_npy(path, member, info.file_size)
        return arrays


def _members(path: Path, archive: zipfile.ZipFile, wanted: set[str]) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        key = info.filename.removesuffix(".npy")
        if key not in wanted or key == info.filename:
            continue
        if key in found:
            raise DataError(f"{path}: holds two arrays {key}, expected one; write it again with np.savez")
        if info.flag_bits & ENCRYPTED:
            raise DataError(f"{path}: {key} is protected with a password; write it again with np.savez, without one")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{path}: {key} is packed with zip method {info.compress_type}; save it with np.savez")
        found[key] = info
    return found


def save_npz(dataset: Dataset, path: Path | str) -> None:
    """Write a data set so that `load_npz` returns it again; a slow image folder is then decoded only once."""
    path = Path(path)
    arrays = {key: getattr(dataset, key) for key in (*REQUIRED, "x_valid", "y_valid", "y_valid_noisy")}
    if "given" in dataset.label_sets:
        arrays["y_train_noisy"] = dataset.label_sets["given"]
    if not dataset.clean_labels:
        arrays["y_train_noisy"] = arrays.pop("y_train")
    part = path.with_name(path.name + ".part")
    with open(part, "wb") as file:
        np.savez(file, **{key: values.numpy() for key, values in arrays.items() if values is not None})
    os.replace(part, path)
