"""The small data sets that scikit-learn ships: always there, offline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autorobustloss.data.dataset import Dataset, build_dataset
from autorobustloss.data.sampling import stratified_draw
from autorobustloss.registry import DATASETS
from autorobustloss.seeding import numpy_generator

TEST_SHARE = 0.2


def _from_sklearn(name: str, image: bool = False) -> Dataset:
    """Load a scikit-learn set; a fixed stratified fifth of it is the test part, since none is official."""
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    x = bunch.images.astype(np.uint8) if image else bunch.data.astype(np.float32)
    y = bunch.target.astype(np.int64)
    count = round(TEST_SHARE * len(y))
    parts = stratified_draw(y, (count, len(y) - count), numpy_generator("bundled test split", name))
    test, train = (np.sort(part) for part in parts)
    classes = tuple(str(c) for c in bunch.target_names)
    return build_dataset(name, x[train], y[train], x[test], y[test], classes=classes)


@DATASETS.register("digits")
def digits(data_dir: Path | None = None, download: bool = False) -> Dataset:
    """1,797 handwritten digits, 8x8 grey, 10 classes."""
    return _from_sklearn("digits", image=True)


@DATASETS.register("iris")
def iris(data_dir: Path | None = None, download: bool = False) -> Dataset:
    """150 flowers, 4 features, 3 classes."""
    return _from_sklearn("iris")


@DATASETS.register("wine")
def wine(data_dir: Path | None = None, download: bool = False) -> Dataset:
    """178 wines, 13 features, 3 classes."""
    return _from_sklearn("wine")


@DATASETS.register("breast_cancer")
def breast_cancer(data_dir: Path | None = None, download: bool = False) -> Dataset:
    """569 tumours, 30 features, 2 classes."""
    return _from_sklearn("breast_cancer")
