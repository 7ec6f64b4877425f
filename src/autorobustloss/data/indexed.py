"""A data set that says which sample is which, for methods that remember samples."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, cast

from torch.utils.data import Dataset


class Indexed(Dataset[tuple[Any, ...]]):
    """A data set whose samples end with their place in it: (x, y) becomes (x, y, i).

    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> dataset = Indexed(TensorDataset(torch.zeros(5, 2), torch.arange(5) % 2))
    >>> [i.tolist() for x, y, i in DataLoader(dataset, batch_size=3)]
    [[0, 1, 2], [3, 4]]
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return a sample and its place."""
        sample = self.dataset[index]
        return (*sample, index) if isinstance(sample, (tuple, list)) else (sample, index)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(cast(Sized, self.dataset))
