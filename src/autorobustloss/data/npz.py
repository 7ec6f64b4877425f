"""Data sets in .npz files: x_train, y_train, x_test, y_test, and nothing that could run code."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from autorobustloss.data.dataset import Dataset, build_dataset
from autorobustloss.errors import DataError

REQUIRED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_valid", "y_valid", "y_valid_noisy", "y_train_noisy")


def load_npz(path: Path | str, name: str = "") -> Dataset:
    """Load a data set from an .npz file; forms of the arrays as in `build_dataset`.

    Optional keys: x_valid and y_valid, a clean validation part (with y_valid_noisy, its noisy labels, -1 for none);
    y_train_noisy, the noisy labels that the noise `given` uses. A file with y_train_noisy and no y_train says that
    the clean training labels are not known.
    Raises DataError, naming the file and the remedy, for anything else.
    """
    path = Path(path)
    arrays = read_npz(path)
    clean = "y_train" in arrays
    if not clean and "y_train_noisy" in arrays:
        arrays["y_train"] = arrays.pop("y_train_noisy")
    missing = [key for key in REQUIRED if key not in arrays]
    if missing:
        raise DataError(
            f"{path}: no array {', '.join(missing)} among {', '.join(sorted(arrays)) or 'none'}; "
            "expected np.savez(FILE, x_train=…, y_train=…, x_test=…, y_test=…)"
        )
    if ("x_valid" in arrays) != ("y_valid" in arrays) or ("y_valid_noisy" in arrays and "y_valid" not in arrays):
        raise DataError(f"{path}: x_valid and y_valid come together (and y_valid_noisy with them), or not at all")
    return build_dataset(
        name or path.stem,
        *(arrays[key] for key in REQUIRED),
        source=str(path),
        x_valid=arrays.get("x_valid"),
        y_valid=arrays.get("y_valid"),
        y_valid_noisy=arrays.get("y_valid_noisy"),
        y_train_noisy=arrays.get("y_train_noisy"),
        clean_labels=clean,
    )


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file; DataError where it is missing, broken or holds pickled objects."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        if not zipfile.is_zipfile(path):
            raise DataError(f"{path}: not an .npz file, or cut short; write it again with np.savez")
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path}: damaged ({error}); copy or download it again") from None
    except ValueError as error:
        if "pickle" in str(error):
            raise DataError(
                f"{path}: holds pickled objects, which are never loaded since that can run code; "
                "save plain numeric arrays (no lists of unequal length, no dtype=object)"
            ) from None
        raise DataError(f"{path}: damaged ({error}); copy or download it again") from None


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
