"""Which samples are examined: all whose labels are as they came."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import chain

import torch

from autorobustloss.data import Dataset
from autorobustloss.noise import NoiseSpec

PARTS = ("train", "valid", "test")


def examined(dataset: Dataset, noise: str) -> Dataset:
    """Return a data set whose training part holds every sample whose label is to be examined.

    With `given`, the labels as they come, these are all parts of the data set. Where noise is added, or where its
    training labels alone are said to be noisy, it is the training part.

    >>> from autorobustloss.data import load_dataset
    >>> digits = load_dataset("digits")
    >>> [len(examined(digits, noise).y_train) for noise in ("given", "sym:0.2")]
    [1797, 1438]
    """
    if NoiseSpec.parse(noise).kind != "given" or "given" in dataset.label_sets or not dataset.clean_labels:
        return dataset
    parts = [part for part in PARTS if getattr(dataset, f"y_{part}") is not None]
    return replace(
        dataset,
        x_train=torch.cat([getattr(dataset, f"x_{part}") for part in parts]),
        y_train=torch.cat([getattr(dataset, f"y_{part}") for part in parts]),
        x_valid=None,
        y_valid=None,
        y_valid_noisy=None,
        samples={"train": tuple(chain.from_iterable(map(dataset.sample_names, parts)))},
        fingerprint=hashlib.sha256(f"{dataset.fingerprint} all parts".encode()).hexdigest(),
    )
