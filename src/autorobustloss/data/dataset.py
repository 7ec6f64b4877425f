"""A data set as tensors in memory: what it holds, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autorobustloss.data.ranges import as_stored
from autorobustloss.data.sampling import stratified_draw
from autorobustloss.errors import DataError
from autorobustloss.reading import reading
from autorobustloss.seeding import numpy_generator

UNKNOWN = -1
"""The label of a sample whose true (or noisy) class is not known; no prediction is ever equal to it."""
TEST_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images (N, C, H, W) or tables (N, F) as stored (uint8 or float32), and labels (N,) int64 from 0 to C - 1.

    x_valid, y_valid: a validation part of its own, cleanly labelled, where the data set has one; otherwise
        validation images are taken out of the training part.
    y_valid_noisy: noisy labels of that validation part, UNKNOWN where there is none.
    clean_labels: False where y_train are noisy labels and the true ones are not known (Clothing1M).
    label_sets: other labels of the training samples by name: "given" (noisy ones the data set comes with), or the
        human labels "worse", "aggre", …; label_note: why there are no human labels, for whoever asks for them.
    fingerprint: SHA-256 of the arrays above, label_sets other than "given" excepted (they may be added later).
    rows: where the samples of "train", "test" and "valid" come from: numbers of rows (from 0) or files; empty where
        nobody said.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    num_classes: int
    fingerprint: str
    classes: tuple[str, ...] = ()
    x_valid: Tensor | None = None
    y_valid: Tensor | None = None
    y_valid_noisy: Tensor | None = None
    clean_labels: bool = True
    label_sets: Mapping[str, Tensor] = field(default_factory=dict)
    label_note: str = ""
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (C, H, W) or (F,)."""
        return tuple(self.x_train.shape[1:])

    @property
    def is_image(self) -> bool:
        """Whether samples are images, normalised per channel, rather than rows of a table."""
        return self.x_train.ndim == 4

    @classmethod
    def from_arrays(
        cls,
        x_train: Any,
        y_train: Any,
        x_test: Any = None,
        y_test: Any = None,
        *,
        name: str = "arrays",
        classes: Iterable[str] = (),
        test_seed: int | str = 0,
        x_valid: Any = None,
        y_valid: Any = None,
        y_valid_noisy: Any = None,
        y_train_noisy: Any = None,
        clean_labels: bool = True,
        source: str = "",
        rows: Mapping[str, np.ndarray] = {},
    ) -> Dataset:
        """Build a data set from arrays, tensors or nested lists.

        Images may be (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3 (where both fit, channels are last, the
        Keras convention); tables (N, F). Integers from 0 to 255 are kept as uint8, everything else becomes float32 (see
        `as_stored`). Labels (N,) are of any type that can be sorted: integers from 0 to C - 1 stay what they are, all
        others are numbered in their order and become the class names. Every class occurs in y_train.

        x_test, y_test: without them a fifth of the samples, stratified by class and drawn by `test_seed` alone, becomes
            the test part and leaves the training part.
        classes: names of the classes, in the order of their labels.
        x_valid, y_valid: a clean validation part; y_valid_noisy: its noisy labels, -1 for none.
        y_train_noisy: the noisy labels of the training samples, where y_train are the true ones.
        clean_labels: False where y_train are noisy and nobody knows the true ones.
        source: the file of the data, which errors name. Labels of a file are integers from 0 to C - 1 without
            gaps: one is more often a slip than a class without samples, and what is renumbered fits no class map.
        rows: see `Dataset`.
        Raises DataError, which starts with `source` and says what to do, for arrays that do not fit.

        >>> x, y = np.random.default_rng(0).normal(size=(100, 4)), ["cat", "dog"] * 50
        >>> data = Dataset.from_arrays(x, y, name="pets")
        >>> data.classes, data.y_train[:3], len(data.y_train), len(data.y_test)
        (('cat', 'dog'), tensor([0, 1, 1]), 80, 20)
        """
        from_file, source = bool(source), source or f"data set {name!r}"
        given = {
            **{"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test},
            **{"x_valid": x_valid, "y_valid": y_valid, "y_valid_noisy": y_valid_noisy, "y_train_noisy": y_train_noisy},
        }
        arrays = {key: _array(values, source, key) for key, values in given.items() if values is not None}
        x, y = ({key: arrays[key] for key in arrays if key[0] == letter} for letter in "xy")
        _require_fit(x, y, source)
        y, names = _numbered(y, source, from_file)
        if "x_test" not in x:
            test, train = _test_and_train(y["y_train"], test_seed, source)
            of = rows.get("train", np.arange(len(y["y_train"])))
            rows = {"train": of[train], "test": of[test]}
            x |= {"x_train": x["x_train"][train], "x_test": x["x_train"][test]}
            y |= {key: y[key][train] for key in y if "train" in key} | {"y_test": y["y_train"][test]}
        num_classes, classes = int(y["y_train"].max()) + 1, tuple(classes) or names
        if classes and len(classes) != num_classes:
            raise DataError(f"{source}: got {len(classes)} class names for {num_classes} classes")
        tensors: dict[str, Any] = {k: torch.from_numpy(v) for k, v in {**as_stored(x, source), **y}.items()}
        fingerprint = fingerprint_of(tensors, clean_labels)
        noisy = tensors.pop("y_train_noisy", None)
        return cls(
            name=name,
            num_classes=num_classes,
            fingerprint=fingerprint,
            classes=classes,
            clean_labels=clean_labels,
            label_sets={} if noisy is None else {"given": noisy},
            rows=rows,
            **tensors,
        )


def fingerprint_of(arrays: Mapping[str, Tensor], clean_labels: bool = True) -> str:
    """Return the SHA-256 of named tensors: names, types, shapes and bytes."""
    digest = hashlib.sha256(b"" if clean_labels else b"noisy")
    for key in sorted(arrays):
        values = arrays[key].contiguous().numpy()
        digest.update(f"{key} {values.dtype.str} {values.shape};".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _array(values: Any, source: str, key: str) -> np.ndarray:
    """Return an array; images become (N, C, H, W), and tables (N, F)."""
    with reading(source, f"{key} is no array", "pass an array, a tensor, or lists of one length"):
        x = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if key[0] == "y":
        return x
    if x.dtype.kind not in "buif":
        raise DataError(f"{source}: {key} holds {x.dtype}, expected numbers; save it with a numeric dtype")
    channels = {1, 3}.intersection(x.shape[1::2]) if x.ndim == 4 else {1}
    if x.ndim not in (2, 3, 4) or 0 in x.shape or not channels:
        raise DataError(
            f"{source}: {key} has shape {x.shape}, expected images (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 "
            "channels (x[..., :3] drops alpha), or a table (N, F), none of them empty"
        )
    if x.ndim == 4:
        return x.transpose(0, 3, 1, 2) if x.shape[3] in (1, 3) else x
    return x[:, None] if x.ndim == 3 else x


def _require_fit(x: Mapping[str, np.ndarray], y: Mapping[str, np.ndarray], source: str) -> None:
    """Raise DataError unless all samples are of one shape, and every part has one label for each."""
    samples_of = {key: "x" + key[1:].removesuffix("_noisy") for key in y}
    if set(samples_of.values()) != x.keys() or any("y" + key[1:] not in y for key in x):
        raise DataError(
            f"{source}: got {', '.join((*x, *y))}; samples and labels of a part come together, or not at all"
        )
    shape = x["x_train"].shape[1:]
    for key, samples in x.items():
        if samples.shape[1:] != shape:
            raise DataError(f"{source}: samples of {key} have shape {samples.shape[1:]}, those of x_train {shape}")
    for key, labels in y.items():
        n = len(x[samples_of[key]])
        if labels.shape != (n,):
            remedy = f"give {key}.ravel()" if labels.size == n else f"{key}.argmax(1) if they are one-hot"
            raise DataError(f"{source}: {key} has shape {labels.shape}, expected one label each, ({n},); {remedy}")


def _numbered(
    y: Mapping[str, np.ndarray], source: str, from_file: bool
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Return labels as int64 from 0 to C - 1 in their order, and the names of the classes where they were others."""
    numbers: dict[str, np.ndarray] = {}
    with reading(source, "labels cannot be sorted", "give all of them as numbers, or all as texts"):
        classes = np.unique(y["y_train"])
        if len(classes) < 2 or (classes != classes).any():
            raise DataError(f"{source}: y_train has {len(classes)} class, expected at least 2, and none missing")
        plain = classes.dtype.kind in "iu" and classes[0] == 0 and classes[-1] == len(classes) - 1
        names = () if plain else tuple(map(str, classes))
        if from_file and names:
            missing = sorted(set(map(str, range(len(names)))).difference(names), key=int)
            raise DataError(
                f"{source}: y_train has {len(names)} classes, label {names[0]:.40} to {names[-1]:.40} "
                f"({classes.dtype}), but none of label {', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}; "
                "expected integers from 0 to C-1 without gaps: renumber with np.unique(y, return_inverse=True)[1], "
                "over train and test together"
            )
        for key, labels in y.items():
            place = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
            unknown = np.equal(labels, UNKNOWN) if key == "y_valid_noisy" and labels.dtype.kind == "i" else False
            foreign = (classes[place] != labels) & ~np.bool_(unknown)
            if foreign.any():
                raise DataError(
                    f"{source}: {key} has label {labels[foreign][0]}, but y_train has classes {classes[0]} to "
                    f"{classes[-1]} only"
                )
            numbers[key] = np.where(unknown, UNKNOWN, place)
    return numbers, names


def _test_and_train(labels: np.ndarray, seed: int | str, source: str) -> list[np.ndarray]:
    """Return which samples are the test part, a stratified fifth, and which are left for training."""
    count = round(TEST_SHARE * len(labels))
    parts = stratified_draw(labels, (count, len(labels) - count), numpy_generator("bundled test split", seed))
    if not count or len(np.unique(labels[parts[1]])) <= labels.max():
        raise DataError(f"{source}: {len(labels)} samples are too few for a test part of every class; pass one")
    return [np.sort(part) for part in parts]
