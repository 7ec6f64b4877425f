"""The torchvision path, through a stand-in with torchvision's documented interface, and without torchvision."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autorobustloss.data import load_dataset
from autorobustloss.errors import DataError, MissingDependencyError

CALLS: list[tuple[str, str, bool, bool]] = []
SHAPES = {"MNIST": (28, 28), "FashionMNIST": (28, 28), "KMNIST": (28, 28), "USPS": (16, 16), "CIFAR10": (32, 32, 3)}


def stand_in(failure: Exception | None = None) -> Any:
    """A module with torchvision's classes: MNIST and its kin hold tensors, USPS and CIFAR arrays and lists."""

    def make(name: str) -> type:
        classes = 100 if name == "CIFAR100" else 10

        class Source:
            def __init__(self, root: str, train: bool = True, download: bool = False) -> None:
                CALLS.append((name, root, train, download))
                if failure is not None:
                    raise failure
                count = 200 if train else 100
                shape = SHAPES.get(name, (32, 32, 3))
                x = np.random.default_rng(int(train)).integers(0, 256, (count, *shape)).astype(np.uint8)
                y = [i % classes for i in range(count)]
                tensors = name.endswith("MNIST")
                self.data: Any = torch.from_numpy(x) if tensors else x
                self.targets: Any = torch.tensor(y) if tensors else y
                if name != "USPS":
                    self.classes = [f"class {c}" for c in range(classes)]

        return Source

    datasets = types.ModuleType("torchvision.datasets")
    for name in (*SHAPES, "CIFAR100"):
        setattr(datasets, name, make(name))
    package = types.ModuleType("torchvision")
    package.datasets = datasets  # type: ignore[attr-defined]
    return package


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    CALLS.clear()
    package = stand_in()
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.datasets", package.datasets)


@pytest.mark.parametrize(
    ("name", "source", "shape", "classes"),
    [
        ("mnist", "MNIST", (1, 28, 28), 10),
        ("fashion_mnist", "FashionMNIST", (1, 28, 28), 10),
        ("kmnist", "KMNIST", (1, 28, 28), 10),
        ("usps", "USPS", (1, 16, 16), 10),
        ("cifar10", "CIFAR10", (3, 32, 32), 10),
        ("cifar100", "CIFAR100", (3, 32, 32), 100),
    ],
)
@pytest.mark.usefixtures("torchvision")
def test_by_name(name: str, source: str, shape: tuple, classes: int, tmp_path: Path) -> None:
    data = load_dataset(name, data_dir=tmp_path, download=True)
    assert [(source, str(tmp_path), True, True), (source, str(tmp_path), False, True)] == CALLS
    assert (data.name, data.input_shape, data.num_classes) == (name, shape, classes)
    assert (len(data.y_train), len(data.y_test)) == (200, 100)
    assert data.x_train.dtype == torch.uint8
    assert len(data.classes) == (0 if name == "usps" else classes)
    original = np.random.default_rng(1).integers(0, 256, (200, *SHAPES.get(source, (32, 32, 3)))).astype(np.uint8)
    first = original[0].transpose(2, 0, 1) if original.ndim == 4 else original[0][None]
    assert np.array_equal(data.x_train[0].numpy(), first)


@pytest.mark.usefixtures("torchvision")
def test_an_npz_file_comes_first(tmp_path: Path) -> None:
    x, y = np.zeros((20, 4, 4), np.uint8), np.arange(20) % 10
    np.savez(tmp_path / "mnist.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert load_dataset("mnist", data_dir=tmp_path).input_shape == (1, 4, 4)
    assert not CALLS


@pytest.mark.parametrize("failure", [RuntimeError("Dataset not found."), FileNotFoundError("usps.bz2"), EOFError()])
def test_what_torchvision_cannot_find(failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", stand_in(failure))
    with pytest.raises(DataError, match=r"kmnist\.npz.*pass download=True") as caught:
        load_dataset("kmnist", data_dir=tmp_path)
    assert type(failure).__name__ in str(caught.value)
    with pytest.raises(DataError, match="check the connection"):
        load_dataset("kmnist", data_dir=tmp_path, download=True)


def test_without_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'autorobustloss\[vision\]'") as caught:
        load_dataset("cifar10", data_dir=tmp_path)
    assert str(tmp_path / "cifar10.npz") in str(caught.value)
