"""Data sets as tensors in memory, and their seeded splits."""

from autorobustloss.data.dataset import UNKNOWN, Dataset
from autorobustloss.data.loading import load_dataset
from autorobustloss.data.registry import DATASETS, list_datasets
from autorobustloss.data.spec import DataSpec
from autorobustloss.data.splits import Splits, make_splits

__all__ = [
    "DATASETS",
    "UNKNOWN",
    "DataSpec",
    "Dataset",
    "Splits",
    "list_datasets",
    "load_dataset",
    "make_splits",
]
