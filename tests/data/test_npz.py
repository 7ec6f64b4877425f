"""A user's own .npz file: the forms it may have, and an error with a remedy for every way it can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autorobustloss.data import UNKNOWN, load_dataset, load_npz, save_npz
from autorobustloss.errors import DataError

RNG = np.random.default_rng(0)


def arrays(**changes: Any) -> dict[str, Any]:
    """A small good file: 26 classes, 16 features; a change of None leaves an array out."""
    good = {
        "x_train": RNG.normal(size=(260, 16)),
        "y_train": np.arange(260) % 26,
        "x_test": RNG.normal(size=(52, 16)),
        "y_test": np.arange(52) % 26,
    }
    return {key: values for key, values in {**good, **changes}.items() if values is not None}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "letters.npz"
    np.savez(path, **arrays(**changes))
    return path


def test_a_table(tmp_path: Path) -> None:
    path = write(tmp_path)
    data = load_npz(path)
    assert (data.name, data.num_classes, data.input_shape, data.is_image) == ("letters", 26, (16,), False)
    assert data.x_train.dtype == torch.float32
    assert data.y_train.dtype == torch.int64
    for found in (load_dataset(str(path)), load_dataset("letters", data_dir=tmp_path)):
        assert found.fingerprint == data.fingerprint
        assert found.name == "letters"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((5, 6), (1, 5, 6)),
        ((5, 6, 3), (3, 5, 6)),
        ((5, 6, 1), (1, 5, 6)),
        ((3, 5, 6), (3, 5, 6)),
        ((1, 5, 6), (1, 5, 6)),
        ((3, 5, 3), (3, 3, 5)),
        ((7,), (7,)),
    ],
)
def test_images_become_channel_first_bytes(tmp_path: Path, shape: tuple, expected: tuple) -> None:
    x = RNG.integers(0, 256, size=(260, *shape)).astype(np.uint8)
    data = load_npz(write(tmp_path, x_train=x, x_test=x[:52]))
    assert data.input_shape == expected
    assert data.x_train.dtype == torch.uint8
    if expected[-2:] == shape[:2] and len(shape) == 3:  # channels were last
        assert data.x_train[7, -1, 2, 4] == int(x[7, 2, 4, -1])
    elif shape[-2:] == expected[-2:]:
        assert np.array_equal(data.x_train.numpy().reshape(x.shape), x)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (RNG.integers(0, 256, size=(260, 16)), torch.uint8),
        (RNG.integers(-3, 256, size=(260, 16)), torch.float32),
        (RNG.integers(0, 2, size=(260, 16)).astype(bool), torch.uint8),
        (RNG.random(size=(260, 16)).astype(np.float16), torch.float32),
    ],
)
def test_small_integers_stay_bytes(tmp_path: Path, values: np.ndarray, dtype: torch.dtype) -> None:
    data = load_npz(write(tmp_path, x_train=values, x_test=values[:52]))
    assert data.x_train.dtype == dtype
    np.testing.assert_allclose(data.x_train.numpy(), values.astype(np.float32))


def nan_in(sample: int) -> np.ndarray:
    x = RNG.normal(size=(260, 16))
    x[sample, 3] = np.nan
    return x


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"x_test": None}, "no array x_test among x_train, y_test, y_train"),
        ({"y_train": None}, "no array y_train"),
        ({"y_train": np.arange(259) % 26}, "259 labels for 260 samples"),
        ({"y_train": (np.arange(260) % 26).astype(float)}, "holds float64, expected integers"),
        ({"y_train": np.array(list("abcdefghij") * 26)}, "expected integers"),
        ({"y_train": np.arange(260) % 26 - 1}, "label -1"),
        ({"y_train": np.arange(260) % 26 + 1, "y_test": np.arange(52) % 26 + 1}, "none of label 0;.*return_inverse"),
        ({"y_train": np.arange(260) % 13 * 2}, "none of label 1, 3, 5, 7, 9, …"),
        ({"y_train": np.zeros(260, int)}, "1 class, expected at least 2"),
        ({"y_test": np.arange(52) % 27}, "y_test has label 26.*0 to 25"),
        ({"y_train": np.eye(26)[np.arange(260) % 26]}, r"argmax\(1\)"),
        ({"y_train": (np.arange(260) % 26)[:, None]}, r"ravel\(\)"),
        ({"x_train": nan_in(17)}, "NaN or infinite values in 1 samples, first in sample 17"),
        ({"x_train": RNG.normal(size=260)}, r"shape \(260,\)"),
        ({"x_train": RNG.normal(size=(260, 2, 2, 2, 2))}, r"shape \(260, 2, 2, 2, 2\)"),
        ({"x_train": RNG.normal(size=(260, 4, 8, 4))}, r"1 or 3 channels.*\[\.\.\., :3\]"),
        ({"x_train": np.zeros((260, 0))}, "none of them empty"),
        ({"x_test": RNG.normal(size=(52, 15))}, r"x_test have shape \(15,\), those of x_train \(16,\)"),
        ({"x_train": np.array([["a"] * 16] * 260)}, "expected numbers"),
        ({"x_train": RNG.normal(size=(260, 16)).astype(complex)}, "expected numbers"),
        ({"y_train": np.array([None] * 260)}, "pickled objects"),
        ({"x_valid": RNG.normal(size=(5, 16))}, "come together"),
        ({"y_train_noisy": np.arange(260) % 27}, "y_train_noisy has label 26"),
    ],
)
def test_every_wrong_array_is_named(tmp_path: Path, changes: dict, says: str) -> None:
    path = write(tmp_path, **changes)
    with pytest.raises(DataError, match=says) as caught:
        load_npz(path)
    assert str(path) in str(caught.value)


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = path.read_bytes()
    cases = {
        "empty": b"",
        "cut": whole[: len(whole) // 2],
        "cut-late": whole[:-10],
        "no-zip": b"x_train,y_train\n" * 99,
        "flipped": whole[:5000] + bytes([whole[5000] ^ 255]) + whole[5001:],
        "npy": b"\x93NUMPY" + whole[:100],
    }
    for name, content in cases.items():
        broken = tmp_path / f"{name}.npz"
        broken.write_bytes(content)
        with pytest.raises(DataError) as caught:
            load_npz(broken)
        assert str(broken) in str(caught.value), name
        assert "again" in str(caught.value), name
    with pytest.raises(DataError, match="no such file"):
        load_npz(tmp_path / "absent.npz")


def test_a_damaged_compressed_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "packed.npz"
    np.savez_compressed(path, **arrays())
    content = bytearray(path.read_bytes())
    content[1000:1100] = bytes(100)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"packed\.npz: damaged"):
        load_npz(path)


def test_nothing_pickled_is_ever_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple:
            return (Path.touch, (tmp_path / "sprung",))

    path = write(tmp_path, y_train=np.array([Trap()] * 260, dtype=object))
    with pytest.raises(DataError, match="can run code"):
        load_npz(path)
    assert not (tmp_path / "sprung").exists()


def test_the_fingerprint_is_of_every_array(tmp_path: Path) -> None:
    good = arrays()
    prints = set()
    for key in [None, *good]:
        changed = {k: v.copy() for k, v in good.items()}
        if key is not None:
            changed[key][[0, 1]] = changed[key][[1, 0]]
        prints.add(load_npz(write(tmp_path, **changed)).fingerprint)
    assert len(prints) == 5
    assert load_npz(write(tmp_path, **good)).fingerprint in prints


@pytest.mark.parametrize("clean_known", [True, False])
def test_a_saved_data_set_comes_back(tmp_path: Path, clean_known: bool) -> None:
    noisy = np.arange(260) % 13
    noisy[:26] = np.arange(26)
    extra = {
        "x_valid": RNG.normal(size=(30, 16)),
        "y_valid": np.arange(30) % 26,
        "y_valid_noisy": np.arange(30) % 3 - 1,
        "y_train_noisy": noisy,
    }
    data = load_npz(write(tmp_path, **extra, **({} if clean_known else {"y_train": None})))
    assert data.clean_labels == clean_known
    assert data.y_valid_noisy is not None
    assert int(data.y_valid_noisy.min()) == UNKNOWN
    save_npz(data, tmp_path / "copy.npz")
    copy = load_npz(tmp_path / "copy.npz")
    assert copy.fingerprint == data.fingerprint
    assert copy.clean_labels == clean_known
    assert set(copy.label_sets) == ({"given"} if clean_known else set())
    assert not list(tmp_path.glob("*.part"))
