"""A data set as tensors in memory: what it holds, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from autorobustloss.data.ranges import as_stored
from autorobustloss.errors import DataError

UNKNOWN = -1
"""The label of a sample whose true (or noisy) class is not known; no prediction is ever equal to it."""


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

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (C, H, W) or (F,)."""
        return tuple(self.x_train.shape[1:])

    @property
    def is_image(self) -> bool:
        """Whether samples are images, normalised per channel, rather than rows of a table."""
        return self.x_train.ndim == 4


def build_dataset(
    name: str,
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    *,
    source: str = "",
    classes: tuple[str, ...] = (),
    x_valid: np.ndarray | None = None,
    y_valid: np.ndarray | None = None,
    y_valid_noisy: np.ndarray | None = None,
    y_train_noisy: np.ndarray | None = None,
    clean_labels: bool = True,
) -> Dataset:
    """Check arrays and build a Dataset; every DataError starts with `source` and says what to do.

    Images may be (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3 (where both fit, channels are last, the
    Keras convention); tables (N, F). Integers from 0 to 255 are kept as uint8, everything else becomes float32 (see
    `as_stored`). Labels are integers from 0 to C - 1, each of which occurs in y_train.
    """
    source = source or f"data set {name!r}"
    parts = {"train": (x_train, y_train), "test": (x_test, y_test)}
    if x_valid is not None and y_valid is not None:
        parts["valid"] = (x_valid, y_valid)
    inputs = {f"x_{part}": _inputs(np.asarray(values), source, f"x_{part}") for part, (values, _) in parts.items()}
    for part, samples in inputs.items():
        if samples.shape[1:] != inputs["x_train"].shape[1:]:
            raise DataError(
                f"{source}: samples of {part} have shape {samples.shape[1:]}, "
                f"those of x_train {inputs['x_train'].shape[1:]}; expected the same"
            )
    stored = as_stored(inputs, source)
    x = {part: torch.from_numpy(stored[f"x_{part}"]) for part in parts}
    y = {f"y_{part}": _labels(np.asarray(v), source, f"y_{part}", len(x[part])) for part, (_, v) in parts.items()}
    if y_valid_noisy is not None and "valid" in x:
        values = np.asarray(y_valid_noisy)
        y["y_valid_noisy"] = _labels(values, source, "y_valid_noisy", len(x["valid"]), lowest=UNKNOWN)
    if y_train_noisy is not None:
        y["y_train_noisy"] = _labels(np.asarray(y_train_noisy), source, "y_train_noisy", len(x["train"]))
    num_classes = _class_count(y, source)
    if classes and len(classes) != num_classes:
        raise DataError(f"{source}: got {len(classes)} class names for {num_classes} classes")
    return Dataset(
        name=name,
        x_train=x["train"],
        y_train=y["y_train"],
        x_test=x["test"],
        y_test=y["y_test"],
        num_classes=num_classes,
        fingerprint=fingerprint_of({**{f"x_{part}": images for part, images in x.items()}, **y}, clean_labels),
        classes=classes,
        x_valid=x.get("valid"),
        y_valid=y.get("y_valid"),
        y_valid_noisy=y.get("y_valid_noisy"),
        clean_labels=clean_labels,
        label_sets={"given": y["y_train_noisy"]} if "y_train_noisy" in y else {},
    )


def fingerprint_of(arrays: Mapping[str, Tensor], clean_labels: bool = True) -> str:
    """Return the SHA-256 of named tensors: names, types, shapes and bytes."""
    digest = hashlib.sha256(b"" if clean_labels else b"noisy")
    for key in sorted(arrays):
        values = arrays[key].contiguous().numpy()
        digest.update(f"{key} {values.dtype.str} {values.shape};".encode())
        digest.update(values.data)
    return digest.hexdigest()


def _inputs(x: np.ndarray, source: str, key: str) -> np.ndarray:
    """Bring images to (N, C, H, W) and tables to (N, F), all finite."""
    if x.dtype.kind not in "buif":
        raise DataError(f"{source}: {key} holds {x.dtype}, expected numbers; save it with a numeric dtype")
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise DataError(
            f"{source}: {key} has shape {x.shape}, expected images (N, H, W), (N, H, W, C) or (N, C, H, W), "
            "or a table (N, F), none of them empty"
        )
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4:
        if x.shape[3] in (1, 3):
            x = x.transpose(0, 3, 1, 2)
        elif x.shape[1] not in (1, 3):
            raise DataError(
                f"{source}: {key} has shape {x.shape}, expected 1 or 3 channels, last or second; "
                "drop an alpha channel with x[..., :3]"
            )
    if x.dtype.kind == "f":
        finite = np.isfinite(x).reshape(len(x), -1).all(1)
        if not finite.all():
            raise DataError(
                f"{source}: {key} has NaN or infinite values in {int((~finite).sum())} samples, first in sample "
                f"{int((~finite).argmax())}; drop those samples or fill the values in"
            )
    return x


def _labels(y: np.ndarray, source: str, key: str, expected: int, lowest: int = 0) -> Tensor:
    """Check the form of a label vector and return it as int64."""
    if y.ndim != 1:
        remedy = f"save {key}.ravel()" if y.size == expected else f"for one-hot labels save {key}.argmax(1)"
        raise DataError(f"{source}: {key} has shape {y.shape}, expected ({expected},); {remedy}")
    if y.dtype.kind not in "iu":
        raise DataError(
            f"{source}: {key} holds {y.dtype}, expected integers from 0 to C-1; "
            f"save np.unique({key}, return_inverse=True)[1]"
        )
    if len(y) != expected:
        raise DataError(f"{source}: {key} has {len(y)} labels for {expected} samples, expected one each")
    labels = torch.from_numpy(y.astype(np.int64))
    if int(labels.min()) < lowest:
        raise DataError(f"{source}: {key} has label {int(labels.min())}, expected integers from {lowest} to C-1")
    return labels


def _class_count(y: Mapping[str, Tensor], source: str) -> int:
    """Return C; DataError unless the training labels are exactly 0 to C - 1, C >= 2, and no other label is above."""
    present = y["y_train"].unique().tolist()
    if len(present) < 2:
        raise DataError(f"{source}: y_train has {len(present)} class, expected at least 2")
    if present[-1] != len(present) - 1:
        missing = sorted(set(range(min(present[-1], 10_000))) - set(present))
        raise DataError(
            f"{source}: y_train has {len(present)} classes up to label {present[-1]}, but none of label "
            f"{', '.join(map(str, missing[:5]))}{', …' if len(missing) > 5 else ''}; expected 0 to C-1 without gaps: "
            "renumber with np.unique(y, return_inverse=True)[1], over train and test together"
        )
    for key, labels in y.items():
        if int(labels.max()) >= len(present):
            raise DataError(
                f"{source}: {key} has label {int(labels.max())}, but y_train has classes 0 to {len(present) - 1} only; "
                "expected every class among the training labels"
            )
    return len(present)
