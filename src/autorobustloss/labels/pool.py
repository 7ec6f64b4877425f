"""Which samples are examined: all whose labels are as they came, or a sample of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import torch

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
    names = tuple(chain.from_iterable(map(dataset.sample_names, parts)))
    order = in_order(names)
    return replace(
        dataset,
        x_train=torch.cat([getattr(dataset, f"x_{part}") for part in parts])[order],
        y_train=torch.cat([getattr(dataset, f"y_{part}") for part in parts])[order],
        x_valid=None,
        y_valid=None,
        y_valid_noisy=None,
        samples={"train": tuple(names[i] for i in order)},
        fingerprint=hashlib.sha256(f"{dataset.fingerprint} all parts".encode()).hexdigest(),
    )


def in_order(names: Sequence[str]) -> list[int]:
    """Return the places of names in the order of the numbers in them, where these are all in which they differ.

    >>> in_order(["row 10", "row 9", "row 11"]), in_order(["x_train[1]", "x_train[0]", "x_test[0]"])
    ([1, 0, 2], [0, 1, 2])
    """
    found = [re.fullmatch(r"(\D*)(\d+)(\D*)", name) for name in names]
    numbers = [int(match[2]) for match in found if match]
    alike = len(numbers) == len(names) and len({(match[1], match[3]) for match in found if match}) == 1
    return sorted(range(len(names)), key=numbers.__getitem__) if alike else list(range(len(names)))


def _sample(dataset: Dataset, size: int, seed: int) -> Dataset:
    (drawn,) = stratified_draw(dataset.y_train.numpy(), [size], numpy_generator("examined", seed))
    index, names = torch.from_numpy(drawn).sort().values, dataset.sample_names("train")
    return replace(
        dataset,
        x_train=dataset.x_train[index],
        y_train=dataset.y_train[index],
        label_sets={name: labels[index] for name, labels in dataset.label_sets.items()},
        samples={**dataset.samples, "train": tuple(names[i] for i in index.tolist())},
        fingerprint=hashlib.sha256(f"{dataset.fingerprint} {size} by {seed}".encode()).hexdigest(),
    )
