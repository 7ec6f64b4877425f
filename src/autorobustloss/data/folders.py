"""Image folders: one sub-folder per class, or key lists as Clothing1M has them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autorobustloss.data.dataset import UNKNOWN, Dataset
from autorobustloss.data.pictures import Progress, decode
from autorobustloss.errors import DataError
from autorobustloss.reading import read_text, reading

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".bmp", ".gif", ".webp", ".avif"),
    *(".tif", ".tiff", ".pbm", ".pgm", ".ppm"),
)
IMAGES = f"images ({', '.join(SUFFIXES)})"
VALID_NAMES = ("valid", "val", "validation")
LITTER = ("__macosx", "__pycache__", "@eadir", "$recycle.bin", "system volume information", "lost+found")
"""Folders, in lower case, that systems leave behind; so are all whose names begin with a dot."""
KEY_LIST = "noisy_train_key_list.txt"
LARGEST_LIST = 2**30
"""Bytes of a key list; Clothing1M's longest has 6·10⁷."""


def is_image_folder(path: Path) -> bool:
    """Whether `load_folder` knows the layout."""
    return os.path.isdir(path / "train") or _key_root(path) is not None


def load_folder(path: Path | str, size: int = 0, progress: Progress | None = None) -> Dataset:
    """Load images into memory from one of two layouts.

    Class folders: train/CLASS/*.png, test/CLASS/*.png and, if there is one, a cleanly labelled valid/CLASS/*.png
    (or val/, validation/). Hidden files and folders, and those that systems leave behind, are passed over.
    Key lists (Clothing1M, Xiao et al. 2015): noisy_train_key_list.txt, clean_val_key_list.txt and
    clean_test_key_list.txt hold one image path a line, noisy_label_kv.txt and clean_label_kv.txt lines of path and
    label. The training labels are the noisy ones (noise `given`); validation and test labels are the clean ones.

    size: side in pixels that images are resized to; 0 takes them as they are, all of one size. All become RGB if one
    has colours. Grey images of more than 8 bits keep their values, as float32; of an animation the first picture
    counts. A large folder is decoded once and kept with `save_npz`.
    Raises DataError that names the file, MissingDependencyError without Pillow.
    """
    path = Path(path)
    root = _key_root(path)
    if root is not None:
        return _load_keyed(path, root, size, progress)
    if not os.path.isdir(path / "train"):
        raise DataError(f"{path}: expected train/CLASS/*.png and test/CLASS/*.png, or {KEY_LIST}; found neither")
    classes = [entry.name for entry in _folders(path / "train")]
    folders = {"train": path / "train", "test": path / "test"}
    valid = [entry for entry in _folders(path) if entry.name.lower() in VALID_NAMES]
    if len(valid) > 1:
        raise DataError(f"{path}: got {' and '.join(v.name for v in valid)}, expected one validation part; remove one")
    if valid:
        folders["valid"] = valid[0]
    parts = {part: _listing(folder, classes) for part, folder in folders.items()}
    images = decode([file for files, _ in parts.values() for file in files], size, progress)
    ends = np.cumsum([len(files) for files, _ in parts.values()])
    arrays: dict[str, Any] = {f"x_{part}": x for part, x in zip(parts, np.split(images, ends[:-1]))}
    arrays |= {f"y_{part}": np.array(labels) for part, (_, labels) in parts.items()}
    rows = {part: _names(files, path) for part, (files, _) in parts.items()}
    return Dataset.from_arrays(**arrays, source=str(path), name=path.name, classes=classes, rows=rows)


def _names(files: Sequence[Path], root: Path) -> np.ndarray:
    return np.array([file.relative_to(root).as_posix() for file in files])


def _listing(folder: Path, classes: Sequence[str]) -> tuple[list[Path], list[int]]:
    """Return the image files of train/, test/ or valid/ with their labels."""
    if not os.path.isdir(folder):
        raise DataError(f"{folder}: no such folder; expected one sub-folder per class in it")
    stray = next(_pictures(folder), None)
    if stray is not None:
        raise DataError(f"{stray}: got an image beside the class folders; move it into the folder of its class")
    files: list[Path] = []
    labels: list[int] = []
    for entry in _folders(folder):
        if entry.name not in classes:
            raise DataError(f"{entry}: no class of this name in train/ ({', '.join(classes)}); rename or remove it")
        nested = next((file for inner in _folders(entry) for file in _below(inner)), None)
        if nested is not None:
            raise DataError(f"{nested}: got an image deeper than its class folder {entry.name}/; move it up, or out")
        found = sorted(_pictures(entry))
        if not found and folder.name == "train":
            raise DataError(f"{entry}: no {IMAGES} in this class folder; fill it, or remove it from all parts")
        files += found
        labels += [classes.index(entry.name)] * len(found)
    if not files:
        raise DataError(f"{folder}: no {IMAGES} in its class folders")
    return files, labels


def _visible(folder: Path) -> list[Path]:
    with reading(folder, "cannot be listed", "make it readable, or remove it"):
        return sorted(e for e in folder.iterdir() if not e.name.startswith(".") and e.name.lower() not in LITTER)


def _folders(folder: Path) -> list[Path]:
    return [entry for entry in _visible(folder) if os.path.isdir(entry)]


def _pictures(folder: Path) -> Iterator[Path]:
    return (e for e in _visible(folder) if e.suffix.lower() in SUFFIXES and not os.path.isdir(e))


def _below(folder: Path) -> Iterator[Path]:
    """Yield the images at any depth; links to folders are not followed, so that no loop is entered."""
    yield from _pictures(folder)
    for inner in _folders(folder):
        if not os.path.islink(inner):
            yield from _below(inner)


def _key_root(path: Path) -> Path | None:
    """Return the folder of the key lists: the data set's own, or `annotations` in it."""
    return next((root for root in (path, path / "annotations") if os.path.isfile(root / KEY_LIST)), None)


def _load_keyed(path: Path, root: Path, size: int, progress: Progress | None) -> Dataset:
    noisy, clean = _labels(root / "noisy_label_kv.txt"), _labels(root / "clean_label_kv.txt")
    lists = [_lines(root / file) for file in (KEY_LIST, "clean_val_key_list.txt", "clean_test_key_list.txt")]
    train, valid, test = lists
    y_train = _look_up(train, noisy, root / "noisy_label_kv.txt")
    y_valid, y_test = (_look_up(keys, clean, root / "clean_label_kv.txt") for keys in (valid, test))
    # A backslash is a letter where there is a file of that very name.
    files = [path / (key if os.path.isfile(path / key) else _key(key)) for keys in lists for key in keys]
    images = decode(files, size, progress)
    x_train, x_valid, x_test = np.split(images, np.cumsum([len(train), len(valid)]))
    return Dataset.from_arrays(
        *(x_train, y_train, x_test, y_test),
        rows={part: np.array(keys) for part, keys in zip(("train", "valid", "test"), lists)},
        x_valid=x_valid,
        y_valid=y_valid,
        y_valid_noisy=[noisy.get(_key(key), UNKNOWN) for key in valid],
        source=str(path),
        name=path.name,
        clean_labels=False,
    )


def _lines(path: Path) -> list[str]:
    """Return the lines of a list that are not empty; UTF-8 or UTF-16, line ends of any system."""
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such file; a folder with {KEY_LIST} needs it")
    text = read_text(path, "save it as UTF-8 text, one image path a line", largest=LARGEST_LIST)
    # Not splitlines, which also cuts at characters that a file's name may hold.
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    lines = [line for line in lines if line]
    if not lines:
        raise DataError(f"{path}: empty, expected one image path a line")
    return lines


def _labels(path: Path) -> dict[str, int]:
    """Read lines of image path and label."""
    labels: dict[str, int] = {}
    for number, line in enumerate(_lines(path), start=1):
        *key, value = line.rsplit(maxsplit=1)
        # Ten digits and more are no class, and "²" and other scripts' digits no ASCII.
        if not key or not (value.isascii() and value.isdigit() and len(value) < 10):
            raise DataError(f"{path}, line {number}: got {line!r:.80}, expected an image path, a space and a label")
        if labels.setdefault(_key(key[0]), int(value)) != int(value):
            raise DataError(f"{path}, line {number}: got {line!r:.80}, but another label further up; keep one of them")
    return labels


def _look_up(keys: Sequence[str], labels: Mapping[str, int], path: Path) -> np.ndarray:
    missing = [key for key in keys if _key(key) not in labels]
    if missing:
        raise DataError(f"{path}: no label for {len(missing)} images of the key list, the first is {missing[0]!r:.200}")
    return np.array([labels[_key(key)] for key in keys])


def _key(text: str) -> str:
    """Return an image path by which labels are looked up, the same whether Windows wrote it or not."""
    return text.replace("\\", "/")
