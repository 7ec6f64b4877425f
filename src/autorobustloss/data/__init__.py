"""Data sets as tensors in memory, and their seeded splits."""

from autorobustloss.data.augment import crop, crop_and_flip
from autorobustloss.data.dataset import UNKNOWN, Dataset, build_dataset
from autorobustloss.data.folders import load_folder
from autorobustloss.data.loading import is_own, load_dataset, resolve_data_dir
from autorobustloss.data.names import DataName
from autorobustloss.data.npz import load_npz, save_npz
from autorobustloss.data.registry import DATASETS, list_datasets
from autorobustloss.data.spec import DataSpec
from autorobustloss.data.splits import Splits, known_labels, make_splits, truth_known

__all__ = [
    "DATASETS",
    "UNKNOWN",
    "DataName",
    "DataSpec",
    "Dataset",
    "Splits",
    "build_dataset",
    "crop",
    "crop_and_flip",
    "is_own",
    "known_labels",
    "list_datasets",
    "load_dataset",
    "load_folder",
    "load_npz",
    "make_splits",
    "resolve_data_dir",
    "save_npz",
    "truth_known",
]
