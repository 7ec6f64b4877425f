"""What every section of the benchmark is given: sizes, data, networks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from autorobustloss.data import Dataset, DataSpec, load_dataset
from autorobustloss.errors import DataError
from autorobustloss.losses import TaylorLoss
from autorobustloss.losses.analysis import screen
from autorobustloss.runs.executors import usable_cores

NETWORKS = ("mlp2", "mlp3", "cnn4")
MAE = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Settings:
    """quick: sizes for a smoke test, whose figures mean nothing."""

    quick: bool = False

    @property
    def workers(self) -> int:
        return usable_cores()

    @cached_property
    def mnist(self) -> Dataset:
        """MNIST where its file is, else random images of its shape."""
        try:
            return load_dataset("mnist") if not self.quick else random_images()
        except (DataError, ImportError):
            return random_images()

    @property
    def data_note(self) -> str:
        return (
            "MNIST" if self.mnist.name == "mnist" else "random images of MNIST's shape (no mnist.npz in $ARL_DATA_DIR)"
        )

    @cached_property
    def digits(self) -> Dataset:
        return load_dataset("digits")

    def spec(self, train: int, valid: int) -> DataSpec:
        return DataSpec(self.mnist.name, train, valid, 100, self.mnist.fingerprint)

    def log(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def random_images(count: int = 3000) -> Dataset:
    """Return uint8 images (28, 28) of ten classes, each a random pattern under noise."""
    draw = np.random.default_rng(0)
    labels = draw.permutation(np.arange(count) % 10)
    patterns = draw.integers(0, 120, (10, 28, 28))
    images = (patterns[labels] + draw.integers(0, 136, (count, 28, 28))).astype(np.uint8)
    cut = count - count // 6
    return Dataset.from_arrays(
        images[:cut], labels[:cut], images[cut:], labels[cut:], source="benchmark", name="random-images"
    )


def candidates(count: int) -> list[tuple[float, ...]]:
    """Return θ of losses as a search meets them: drawn around mean absolute error, and not rejected by its screen."""
    draw, found = np.random.default_rng(0), list[tuple[float, ...]]()
    while len(found) < count:
        theta = tuple(round(float(v), 4) for v in np.asarray(MAE) + 0.3 * draw.standard_normal(len(MAE)))
        if screen(TaylorLoss(theta, scale="max"), [10]).ok:
            found.append(theta)
    return found


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
