"""Image folders: one sub-folder per class, or key lists as Clothing1M has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from autorobustloss.data.dataset import UNKNOWN, Dataset, build_dataset
from autorobustloss.errors import DataError, MissingDependencyError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
KEY_LIST = "noisy_train_key_list.txt"
CHUNK = 64
"""Images a thread decodes before it reports."""

Progress = Callable[[int, int], None]
"""Called with the images decoded so far and their total."""


def is_image_folder(path: Path) -> bool:
    """Whether `load_folder` knows the layout."""
    return (path / "train").is_dir() or _key_root(path) is not None


def load_folder(path: Path | str, size: int = 0, name: str = "", progress: Progress | None = None) -> Dataset:
    """Load images into memory from one of two layouts.

    Class folders: train/CLASS/*.png, test/CLASS/*.png and, if there is one, a cleanly labelled valid/CLASS/*.png.
    Key lists (Clothing1M, Xiao et al. 2015): noisy_train_key_list.txt, clean_val_key_list.txt and
    clean_test_key_list.txt hold one image path a line, noisy_label_kv.txt and clean_label_kv.txt lines of path and
    label. The training labels are the noisy ones (noise `given`); validation and test labels are the clean ones.

    size: side in pixels that images are resized to; 0 takes them as they are, all of one size. The first image
    decides between grey and RGB. A large folder is decoded once and kept with `save_npz`.
    Raises DataError that names the file, MissingDependencyError without Pillow.
    """
    path = Path(path)
    root = _key_root(path)
    if root is not None:
        return _load_keyed(path, root, size, name or path.name, progress)
    if not (path / "train").is_dir():
        raise DataError(f"{path}: expected train/CLASS/*.png and test/CLASS/*.png, or {KEY_LIST}; found neither")
    return _load_classes(path, size, name or path.name, progress)


def _load_classes(path: Path, size: int, name: str, progress: Progress | None) -> Dataset:
    classes = sorted(entry.name for entry in (path / "train").iterdir() if entry.is_dir())
    parts = {"train": _listing(path / "train", classes), "test": _listing(path / "test", classes)}
    if (path / "valid").is_dir():
        parts["valid"] = _listing(path / "valid", classes)
    images = _decode([file for files, _ in parts.values() for file in files], size, progress)
    ends = np.cumsum([len(files) for files, _ in parts.values()])
    x = dict(zip(parts, np.split(images, ends[:-1])))
    y = {part: np.array(labels, dtype=np.int64) for part, (_, labels) in parts.items()}
    return build_dataset(
        name,
        x["train"],
        y["train"],
        x["test"],
        y["test"],
        x_valid=x.get("valid"),
        y_valid=y.get("valid"),
        source=str(path),
        classes=tuple(classes),
    )


def _listing(folder: Path, classes: Sequence[str]) -> tuple[list[Path], list[int]]:
    """Return the image files of train/, valid/ or test/ with their labels."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; expected one sub-folder per class in it")
    files: list[Path] = []
    labels: list[int] = []
    for entry in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
        if entry.name not in classes:
            raise DataError(f"{entry}: no class of this name in train/ ({', '.join(classes)}); rename or remove it")
        found = sorted(file for file in entry.iterdir() if file.suffix.lower() in SUFFIXES)
        files += found
        labels += [classes.index(entry.name)] * len(found)
    if not files:
        raise DataError(f"{folder}: no images ({', '.join(SUFFIXES)}) in its class folders")
    return files, labels


def _key_root(path: Path) -> Path | None:
    """Return the folder of the key lists: the data set's own, or `annotations` in it."""
    return next((root for root in (path, path / "annotations") if (root / KEY_LIST).is_file()), None)


def _load_keyed(path: Path, root: Path, size: int, name: str, progress: Progress | None) -> Dataset:
    noisy, clean = _labels(root / "noisy_label_kv.txt"), _labels(root / "clean_label_kv.txt")
    lists = [_lines(root / file) for file in (KEY_LIST, "clean_val_key_list.txt", "clean_test_key_list.txt")]
    train, valid, test = lists
    y_train = _look_up(train, noisy, root / "noisy_label_kv.txt")
    y_valid, y_test = (_look_up(keys, clean, root / "clean_label_kv.txt") for keys in (valid, test))
    images = _decode([path / key for keys in lists for key in keys], size, progress)
    x_train, x_valid, x_test = np.split(images, np.cumsum([len(train), len(valid)]))
    return build_dataset(
        name,
        x_train,
        y_train,
        x_test,
        y_test,
        x_valid=x_valid,
        y_valid=y_valid,
        y_valid_noisy=np.array([noisy.get(key, UNKNOWN) for key in valid]),
        source=str(path),
        clean_labels=False,
    )


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; a folder with {KEY_LIST} needs it")
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise DataError(f"{path}: empty, expected one image path a line")
    return lines


def _labels(path: Path) -> dict[str, int]:
    """Read lines of image path and label."""
    labels = {}
    for number, line in enumerate(_lines(path), start=1):
        key, _, value = line.rpartition(" ")
        if not key or not value.isdigit():
            raise DataError(f"{path}, line {number}: got {line!r:.80}, expected an image path, a space and a label")
        labels[key.strip()] = int(value)
    return labels


def _look_up(keys: Sequence[str], labels: Mapping[str, int], path: Path) -> np.ndarray:
    missing = [key for key in keys if key not in labels]
    if missing:
        raise DataError(f"{path}: no label for {len(missing)} images of the key list, the first is {missing[0]}")
    return np.array([labels[key] for key in keys])


def _decode(files: Sequence[Path], size: int, progress: Progress | None) -> np.ndarray:
    """Decode image files in threads into one uint8 array (N, C, H, W)."""
    first = _read_image(files[0], size, "")
    mode = "L" if first.ndim == 2 else "RGB"
    images = np.empty((len(files), 1 if mode == "L" else 3, *first.shape[:2]), dtype=np.uint8)

    def fill(chunk: range) -> int:
        for i in chunk:
            image = _read_image(files[i], size, mode)
            if image.shape != first.shape:
                raise DataError(
                    f"{files[i]}: {image.shape[1]}x{image.shape[0]} pixels, but {files[0]} has "
                    f"{first.shape[1]}x{first.shape[0]}; give a size to resize to, as in NAME[size=64]"
                )
            images[i] = image if mode == "L" else image.transpose(2, 0, 1)
        return len(chunk)

    chunks = [range(start, min(start + CHUNK, len(files))) for start in range(0, len(files), CHUNK)]
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    done = 0
    try:
        for count in pool.map(fill, chunks):
            done += count
            if progress is not None:
                progress(done, len(files))
    finally:
        pool.shutdown(cancel_futures=True)
    return images


def _read_image(path: Path, size: int, mode: str) -> np.ndarray:
    """Return one image as (H, W) or (H, W, 3); `mode` "" lets the image decide between grey and RGB."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingDependencyError(
            "image folders need Pillow, which is not installed; pip install 'autorobustloss[vision]'"
        ) from None
    try:
        with Image.open(path) as opened:
            image: Any = opened.convert(mode or ("L" if opened.mode in ("1", "L") else "RGB"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such image; correct the key list, or complete the folder") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be decoded ({error}); replace it, or take it out") from None
    if size:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image)
