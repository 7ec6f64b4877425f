"""Which samples are examined: all whose labels are as they came, or a sample of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autorobustloss.data import Dataset
from autorobustloss.data.sampling import stratified_draw
from autorobustloss.errors import ConfigError
from autorobustloss.noise import NoiseSpec
from autorobustloss.seeding import numpy_generator

PARTS = ("train", "valid", "test")


def examined(dataset: Dataset, noise: str, size: int = 0, seed: int = 0) -> Dataset:
    """Return a data set whose training part holds the samples whose labels are to be examined.

    With `given`, the labels as they come, these are all parts of the data set. Where noise is added, or where its
    training labels alone are said to be noisy, it is the training part.
    size: of a stratified sample of these, drawn by `seed`; 0 for all. Arrays of which a test part was drawn are put
    together again, in their order.

    >>> from autorobustloss.data import load_dataset
    >>> digits = load_dataset("digits")
    >>> [len(examined(digits, noise).y_train) for noise in ("given", "sym:0.2")]
    [1797, 1438]
    """
    as_they_come = NoiseSpec.parse(noise).kind == "given" and "given" not in dataset.label_sets and dataset.clean_labels
    pool = _all_parts(dataset) if as_they_come else dataset
    there = len(pool.y_train)
    if not 0 <= size <= there:
        raise ConfigError(f"{dataset.name}: got train_size={size}, expected at most its {there} samples, 0 for all")
    return _sample(pool, size, seed) if 0 < size < there else pool


def _all_parts(dataset: Dataset) -> Dataset:
    parts = [part for part in PARTS if getattr(dataset, f"y_{part}") is not None]
    x, y = (torch.cat([getattr(dataset, f"{letter}_{part}") for part in parts]) for letter in "xy")
    rows, order = _together(dataset, parts)
    return replace(
        dataset,
        x_train=x if order is None else x[order],
        y_train=y if order is None else y[order],
        x_valid=None,
        y_valid=None,
        y_valid_noisy=None,
        rows={"train": rows},
        fingerprint=hashlib.sha256(f"{dataset.fingerprint} all parts".encode()).hexdigest(),
    )


def _together(dataset: Dataset, parts: list[str]) -> tuple[NDArray[Any], Tensor | None]:
    """Return where the samples of all parts come from; in the order of rows where parts were drawn from one table."""
    found = [dataset.rows[part] for part in parts if _numbered(dataset, part)]
    if len(found) == len(parts) and len(np.unique(joined := np.concatenate(found))) == len(joined):
        order = np.argsort(joined)
        return joined[order], torch.from_numpy(order)
    named = [
        np.array([f"{part} {name}" for name in names]) if _numbered(dataset, part) else names
        for part in parts
        for names in [sample_names(dataset, part)]
    ]
    return np.concatenate(named), None


def _numbered(dataset: Dataset, part: str) -> bool:
    return part in dataset.rows and dataset.rows[part].dtype.kind in "iu"


def sample_names(dataset: Dataset, part: str = "train") -> NDArray[Any]:
    """Return what the samples of a part are called (N,): a file, "row 3" of a table, else a place such as x_train[3].

    >>> data = Dataset.from_arrays(np.zeros((10, 2)), [0, 1] * 5)  # of which two become the test part
    >>> sample_names(data, "test").tolist()
    ['row 0', 'row 5']
    """
    if _numbered(dataset, part):
        return np.array([f"row {number}" for number in dataset.rows[part]])
    places = np.array([f"x_{part}[{i}]" for i in range(len(getattr(dataset, f"y_{part}")))])
    return dataset.rows.get(part, places)


def _sample(dataset: Dataset, size: int, seed: int) -> Dataset:
    (drawn,) = stratified_draw(dataset.y_train.numpy(), [size], numpy_generator("examined", seed))
    index = torch.from_numpy(drawn).sort().values
    rows = dataset.rows["train"] if _numbered(dataset, "train") else sample_names(dataset)
    return replace(
        dataset,
        x_train=dataset.x_train[index],
        y_train=dataset.y_train[index],
        label_sets={name: labels[index] for name, labels in dataset.label_sets.items()},
        rows={**dataset.rows, "train": rows[index.numpy()]},
        fingerprint=hashlib.sha256(f"{dataset.fingerprint} {size} by {seed}".encode()).hexdigest(),
    )
