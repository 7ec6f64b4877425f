"""The small data sets that scikit-learn ships: always there, offline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autorobustloss.data.dataset import Dataset
from autorobustloss.registry import DATASETS


@DATASETS.register("digits")
@DATASETS.register("iris")
@DATASETS.register("wine")
@DATASETS.register("breast_cancer")
def load_bundled(name: str, data_dir: Path | None = None, download: bool = False) -> Dataset:
    """Load a scikit-learn set; a fixed stratified fifth of it is the test part, since none is official.

    digits: 1,797 handwritten digits, 8x8 grey, 10 classes. iris: 150 flowers, 4 features, 3 classes. wine: 178 wines,
    13 features, 3 classes. breast_cancer: 569 tumours, 30 features, 2 classes.
    """
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    x = bunch.images.astype(np.uint8) if "images" in bunch else bunch.data.astype(np.float32)
    return Dataset.from_arrays(x, bunch.target, name=name, classes=map(str, bunch.target_names), test_seed=name)
