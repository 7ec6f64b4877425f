"""Views of a data set: its classes merged or split, its images as a table of principal components.

They turn one data set into many of other shapes, so that a loss can be searched and tested over numbers of classes
and features that no data set at hand has.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from autorobustloss.data.dataset import Dataset
from autorobustloss.errors import ConfigError

FITTED_ON = 10_000
"""Components and clusters are fitted on at most so many training samples, evenly taken: enough for them, and quick."""


def merge_classes(dataset: Dataset, k: int) -> Dataset:
    """Return the same data with k classes: class c becomes c mod k.

    Raises ConfigError unless 2 <= k < the number of classes.
    """
    if not 2 <= k < dataset.num_classes:
        raise ConfigError(f"{_name(dataset, 'merge', k)}: got {k}, expected 2 to {dataset.num_classes - 1} classes")

    def fold(labels: Tensor | None) -> Tensor | None:
        return None if labels is None else torch.where(labels < 0, labels, labels % k)

    return replace(
        dataset,
        name=_name(dataset, "merge", k),
        fingerprint=_fingerprint(dataset, "merge", k),
        y_train=dataset.y_train % k,
        y_test=dataset.y_test % k,
        y_valid=fold(dataset.y_valid),
        y_valid_noisy=fold(dataset.y_valid_noisy),
        label_sets={name: labels % k for name, labels in dataset.label_sets.items()},
        num_classes=k,
        classes=tuple("+".join(dataset.classes[c::k]) for c in range(k)) if dataset.classes else (),
    )


def split_classes(dataset: Dataset, k: int) -> Dataset:
    """Return the same data with k classes: each class is cut into clusters of like samples (k-means), k in all.

    The first classes are cut into one part more where k is no multiple of their number. Labels that come with the
    data (human ones) are left out: nobody has said which part they mean.
    Raises ConfigError unless C < k <= C times 100, for too few samples, and for data without clean labels or with noisy
    ones beside them.
    """
    from sklearn.cluster import KMeans

    what, C = _name(dataset, "split", k), dataset.num_classes
    if not C < k <= 100 * C:
        raise ConfigError(f"{what}: got {k}, expected {C + 1} to {100 * C} classes")
    if not dataset.clean_labels or dataset.x_valid is not None or "given" in dataset.label_sets:
        raise ConfigError(f"{what}: splitting needs clean labels alone, and no validation part of its own")
    y_train, y_test = torch.empty_like(dataset.y_train), torch.empty_like(dataset.y_test)
    first = 0
    for c in range(C):
        parts = k // C + (c < k % C)
        train, test = dataset.y_train == c, dataset.y_test == c
        if int(train.sum()) < 2 * parts:
            raise ConfigError(
                f"{what}: class {c} has {int(train.sum())} training samples, expected {2 * parts} for {parts} parts"
            )
        means = KMeans(parts, n_init=1, random_state=0).fit(_sample(dataset.x_train[train], FITTED_ON // C))
        for y, x, of_class in ((y_train, dataset.x_train, train), (y_test, dataset.x_test, test)):
            if of_class.any():
                y[of_class] = first + torch.from_numpy(means.predict(_rows(x[of_class]))).long()
        first += parts
    return replace(
        dataset,
        name=what,
        fingerprint=_fingerprint(dataset, "split", k),
        y_train=y_train,
        y_test=y_test,
        label_sets={},
        label_note=f"{what}: human labels are of whole classes",
        num_classes=k,
        classes=(),
    )


def principal_components(dataset: Dataset, n: int) -> Dataset:
    """Return the data as a table of n features: the samples' leading principal components, from the training part.

    Raises ConfigError unless 1 <= n < the number of values of a sample.
    """
    from sklearn.decomposition import PCA

    values = int(np.prod(dataset.input_shape))
    most = min(values - 1, len(dataset.x_train))
    if n > most:
        raise ConfigError(f"{_name(dataset, 'components', n)}: got {n}, expected 1 to {most} components")
    pca = PCA(n, svd_solver="covariance_eigh").fit(_sample(dataset.x_train, FITTED_ON))

    def project(x: Tensor) -> Tensor:
        return torch.from_numpy(pca.transform(_rows(x)).astype(np.float32))

    return replace(
        dataset,
        name=_name(dataset, "components", n),
        fingerprint=_fingerprint(dataset, "components", n),
        x_train=project(dataset.x_train),
        x_test=project(dataset.x_test),
        x_valid=None if dataset.x_valid is None else project(dataset.x_valid),
    )


VIEWS = {"merge": merge_classes, "split": split_classes, "components": principal_components}
"""The views by the option of a data set's name that asks for them, in the order in which they are taken."""


def _sample(x: Tensor, size: int) -> np.ndarray:
    return _rows(x[:: -(-len(x) // max(size, 1))])


def _rows(x: Tensor) -> np.ndarray:
    return x.flatten(1).float().numpy()


def _name(dataset: Dataset, option: str, number: int) -> str:
    return f"{dataset.name}[{option}={number}]"


def _fingerprint(dataset: Dataset, option: str, number: int) -> str:
    """Return the hash of a view: it follows from the data and the option, to rounding."""
    return hashlib.sha256(f"{dataset.fingerprint} {option}={number}".encode()).hexdigest()
