"""The registry of data sets by name; a loader takes (data_dir, download) and returns a Dataset."""

from __future__ import annotations

from autorobustloss.data.dataset import Dataset
from autorobustloss.registry import Registry

DATASETS: Registry[Dataset] = Registry("data set")


def list_datasets() -> list[str]:
    """Return the names that `load_dataset` knows; .npz files and image folders come on top."""
    return DATASETS.names()
