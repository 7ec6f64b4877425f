"""Data sets from arrays in memory: labels of any type, tensors, a test part of their own or a drawn one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from autorobustloss.data import UNKNOWN, Dataset, DataSpec, make_splits
from autorobustloss.errors import DataError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5))
Y = np.arange(120) % 3


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (Y, ()),
        (Y.astype(np.uint8), ()),
        (Y.tolist(), ()),
        (torch.from_numpy(Y), ()),
        (Y + 1, ("1", "2", "3")),
        (Y * 10 - 10, ("-10", "0", "10")),
        (Y / 2, ("0.0", "0.5", "1.0")),
        (np.array(["ant", "bee", "cow"])[Y], ("ant", "bee", "cow")),
        (np.array(["ant", "bee", "cow"], object)[Y], ("ant", "bee", "cow")),
        ([("ant", "bee", "cow")[y] for y in Y], ("ant", "bee", "cow")),
    ],
)
def test_labels_of_any_sortable_type(labels: Any, classes: tuple[str, ...]) -> None:
    data = Dataset.from_arrays(X, labels, X, labels)
    assert data.y_train.tolist() == data.y_test.tolist() == Y.tolist()
    assert data.y_train.dtype == torch.int64
    assert data.classes == classes
    assert data.num_classes == 3
    assert data.fingerprint == Dataset.from_arrays(X, Y, X, Y, name="other").fingerprint


def test_two_classes_of_truth_values() -> None:
    data = Dataset.from_arrays(X, Y > 0, X, Y > 0)
    assert data.classes == ("False", "True")
    assert data.y_train.tolist() == (Y > 0).astype(int).tolist()


def test_names_that_are_given_stand_for_the_labels() -> None:
    assert Dataset.from_arrays(X, Y + 1, X, Y + 1, classes=["one", "two", "three"]).classes == ("one", "two", "three")
    with pytest.raises(DataError, match="got 2 class names for 3 classes"):
        Dataset.from_arrays(X, Y, X, Y, classes=("one", "two"))


@pytest.mark.parametrize(
    "x", [X, X.tolist(), torch.from_numpy(X), torch.from_numpy(X).requires_grad_(), np.asfortranarray(X)]
)
def test_samples_of_any_kind_are_copied(x: Any) -> None:
    data = Dataset.from_arrays(x, Y, x, Y)
    assert np.array_equal(data.x_train.numpy(), X.astype(np.float32))
    data.x_train.zero_()
    assert np.asarray(x.detach() if isinstance(x, torch.Tensor) else x).any()


def test_a_test_part_is_drawn_where_there_is_none() -> None:
    x = np.arange(120.0)[:, None]
    data, same, other = (
        Dataset.from_arrays(x, Y, test_seed=seed, name=name) for seed, name in ((0, "a"), (0, "b"), (1, "a"))
    )
    assert (len(data.y_train), len(data.y_test)) == (96, 24)
    assert torch.bincount(data.y_test).tolist() == [8, 8, 8]
    assert sorted(torch.cat([data.x_train, data.x_test]).flatten().tolist()) == list(range(120))
    assert torch.equal(data.y_test, data.x_test.flatten().long() % 3)
    assert torch.equal(data.y_train, data.x_train.flatten().long() % 3)
    assert data.fingerprint == same.fingerprint != other.fingerprint
    assert make_splits(data, DataSpec("a"), "sym:0.2").num_classes == 3


def test_noisy_labels_and_a_validation_part_come_along() -> None:
    names = np.array(["ant", "bee", "cow"])
    data = Dataset.from_arrays(
        np.arange(120.0)[:, None],
        names[Y],
        x_valid=np.arange(6.0)[:, None],
        y_valid=names[Y[:6]],
        y_train_noisy=names[(Y + 1) % 3],
        y_valid_noisy=names[Y[:6]],
    )
    assert torch.equal(data.label_sets["given"], (data.y_train + 1) % 3)
    assert torch.equal(data.y_train, data.x_train.flatten().long() % 3)
    splits = make_splits(data, DataSpec("arrays"), "given")
    assert splits.noise_rate == 1
    assert torch.equal(splits.y_valid_noisy, splits.y_valid_clean)
    numbers = Dataset.from_arrays(X, Y + 1, X, Y + 1, x_valid=X[:3], y_valid=Y[:3] + 1, y_valid_noisy=[1, UNKNOWN, 3])
    assert numbers.y_valid_noisy is not None
    assert numbers.y_valid_noisy.tolist() == [0, UNKNOWN, 2]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"y_train": ["a", None] * 60}, "cannot be sorted"),
        ({"y_train": np.where(Y == 1, np.nan, Y)}, "none missing"),
        ({"y_train": [[1], [2, 3]] * 60}, "y_train is no array"),
        ({"y_train": ["a"] * 120}, "1 class, expected at least 2"),
        ({"y_train": Y[:-1]}, "one label each"),
        ({"x_train": [[1], [2, 3]]}, "x_train is no array"),
        ({"x_train": torch.zeros(120, 5, device="meta")}, "x_train is no array"),
        ({"x_test": X}, "come together"),
        ({"y_test": Y}, "come together"),
        ({"y_valid_noisy": Y}, "come together"),
        ({"x_valid": X, "y_valid_noisy": Y}, "come together"),
        ({"x_test": X, "y_test": Y + 1}, "y_test has label 3, but y_train has classes 0 to 2 only"),
        ({"x_test": X, "y_test": Y - 1}, "y_test has label -1"),
        ({"x_test": X, "y_test": ["a"] * 120}, "y_test"),
        ({"x_train": X[:4], "y_train": [0, 1, 2, 3]}, "too few for a test part"),
        ({"x_train": X[:2], "y_train": [0, 1]}, "too few for a test part"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=rf"^data set 'mine': .*{says}"):
        Dataset.from_arrays(**{"x_train": X, "y_train": Y, "name": "mine", **changes})
