"""Data sets as tensors in memory, and their seeded splits."""

from autorobustloss.data.augment import crop, crop_and_flip
from autorobustloss.data.dataset import DATASETS, UNKNOWN, Dataset, list_datasets
from autorobustloss.data.folders import load_folder
from autorobustloss.data.loading import is_own, load_dataset, resolve_data_dir
from autorobustloss.data.names import DataName, DataSpec, check_augment, handed
from autorobustloss.data.npz import load_npz, save_npz
from autorobustloss.data.splits import Splits, known_labels, make_splits, truth_known

__all__ = [
    "DATASETS",
    "UNKNOWN",
    "DataName",
    "DataSpec",
    "Dataset",
    "Splits",
    "check_augment",
    "crop",
    "crop_and_flip",
    "handed",
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
