"""Views of a data set: its classes merged or split, its images as a table of principal components.

They turn one data set into many of other shapes, so that a loss can be searched and tested over numbers of classes
and features that no data set at hand has.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autorobustloss.data.dataset import Dataset
from autorobustloss.errors import ConfigError

FITTED_ON = 10_000
"""Components and clusters are fitted on at most so many training samples, evenly taken: enough for them, and quick."""


def view(dataset: Dataset, option: str, number: int) -> Dataset:
    """Return a view of a data set, by an option of its name; its fingerprint follows from the data, to rounding.

    Raises ConfigError for a number that the data set does not admit.
    """
    name = f"{dataset.name}[{option}={number}]"
    fingerprint = hashlib.sha256(f"{dataset.fingerprint} {option}={number}".encode()).hexdigest()
    return replace(dataset, **VIEWS[option](dataset, number, name), name=name, fingerprint=fingerprint)


def _merged(dataset: Dataset, k: int, name: str) -> dict[str, Any]:
    """Fold the classes to k: class c becomes c mod k."""
    if not 2 <= k < dataset.num_classes:
        raise ConfigError(f"{name}: got {k}, expected 2 to {dataset.num_classes - 1} classes")
    labels = {key: getattr(dataset, key) for key in ("y_train", "y_test", "y_valid", "y_valid_noisy")}
    return {
        **{key: torch.where(y < 0, y, y % k) for key, y in labels.items() if y is not None},
        "label_sets": {key: y % k for key, y in dataset.label_sets.items()},
        "num_classes": k,
        "classes": tuple("+".join(dataset.classes[c::k]) for c in range(k)) if dataset.classes else (),
    }


def _split(dataset: Dataset, k: int, name: str) -> dict[str, Any]:
    """Cut each class into clusters of like samples (k-means), k in all.

    The first classes are cut into one part more where k is no multiple of their number. Labels that come with the
    data (human ones) are left out: nobody has said which part they mean.
    """
    from sklearn.cluster import KMeans

    C = dataset.num_classes
    if not C < k <= 100 * C:
        raise ConfigError(f"{name}: got {k}, expected {C + 1} to {100 * C} classes")
    if not dataset.clean_labels or dataset.x_valid is not None or "given" in dataset.label_sets:
        raise ConfigError(f"{name}: splitting needs clean labels alone, and no validation part of its own")
    y_train, y_test = torch.empty_like(dataset.y_train), torch.empty_like(dataset.y_test)
    first = 0
    for c in range(C):
        parts = k // C + (c < k % C)
        train, test = dataset.y_train == c, dataset.y_test == c
        count = int(train.sum())
        if count < 2 * parts:
            raise ConfigError(f"{name}: class {c} has {count} training samples, expected {2 * parts} for {parts} parts")
        means = KMeans(parts, n_init=1, random_state=0).fit(_sample(dataset.x_train[train], FITTED_ON // C))
        for y, x, of_class in ((y_train, dataset.x_train, train), (y_test, dataset.x_test, test)):
            if of_class.any():
                y[of_class] = first + torch.from_numpy(means.predict(_rows(x[of_class]))).long()
        first += parts
    note = f"{name}: human labels are of whole classes"
    labels = {"y_train": y_train, "y_test": y_test, "label_sets": {}, "label_note": note}
    return {**labels, "num_classes": k, "classes": ()}


def _components(dataset: Dataset, n: int, name: str) -> dict[str, Any]:
    """Make a table of n features: the samples' leading principal components, from the training part."""
    from sklearn.decomposition import PCA

    most = min(math.prod(dataset.input_shape) - 1, len(dataset.x_train))
    if n > most:
        raise ConfigError(f"{name}: got {n}, expected 1 to {most} components")
    pca = PCA(n, svd_solver="covariance_eigh").fit(_sample(dataset.x_train, FITTED_ON))
    samples = {key: getattr(dataset, key) for key in ("x_train", "x_test", "x_valid")}
    return {
        key: torch.from_numpy(pca.transform(_rows(x)).astype(np.float32)) for key, x in samples.items() if x is not None
    }


VIEWS = {"merge": _merged, "split": _split, "components": _components}
"""What each view changes, by the option of a data set's name that asks for it, in the order in which they are taken."""


def _sample(x: Tensor, size: int) -> np.ndarray:
    return _rows(x[:: -(-len(x) // max(size, 1))])


def _rows(x: Tensor) -> np.ndarray:
    return x.flatten(1).float().numpy()
