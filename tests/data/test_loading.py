"""Names of data sets: what each one loads, where it looks, and what it says when nothing is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autorobustloss.data import DataName, DataSpec, list_datasets, load_dataset, make_splits, resolve_data_dir
from autorobustloss.errors import ConfigError, DataError, UnknownNameError
from autorobustloss.registry import DATASETS

SHAPES = {
    "digits": ((8, 8), 10, 1797),
    "iris": (4, 3, 150),
    "wine": (13, 3, 178),
    "breast_cancer": (30, 2, 569),
}
TORCHVISION = ("mnist", "fashion_mnist", "kmnist", "usps", "cifar10", "cifar100")
REAL = {
    "mnist": ((1, 28, 28), 60_000, 10_000),
    "fashion_mnist": ((1, 28, 28), 60_000, 10_000),
    "usps": ((1, 16, 16), 7291, 2007),
    "cifar10": ((3, 32, 32), 50_000, 10_000),
}


@pytest.mark.parametrize("name", list(DATASETS))
def test_every_registered_data_set_loads_or_says_what_is_missing(name: str, tmp_path: Path) -> None:
    if name in TORCHVISION:
        with pytest.raises((DataError, ImportError), match=r"pip install|--download") as caught:
            load_dataset(name, data_dir=tmp_path)
        assert str(tmp_path / f"{name}.npz") in str(caught.value)
        x = np.random.default_rng(0).integers(0, 256, size=(60, 8, 8)).astype(np.uint8)
        y = np.arange(60) % 10
        np.savez(tmp_path / f"{name}.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    data = load_dataset(name, data_dir=tmp_path)
    assert data.name == name
    assert sorted(data.y_train.unique().tolist()) == list(range(data.num_classes))
    splits = make_splits(data, DataSpec(name), "clean")
    assert splits.input_shape == data.input_shape


@pytest.mark.parametrize("name", list(SHAPES))
def test_bundled_sets_keep_every_sample_once_with_a_stratified_test_fifth(name: str) -> None:
    from sklearn import datasets

    shape, classes, total = SHAPES[name]
    data = load_dataset(name)
    assert data.num_classes == classes == len(data.classes)
    assert len(data.y_train) + len(data.y_test) == total
    assert len(data.y_test) == round(total / 5)
    assert data.input_shape == ((1, *shape) if isinstance(shape, tuple) else (shape,))
    share = torch.bincount(data.y_test) / len(data.y_test) - torch.bincount(data.y_train) / len(data.y_train)
    assert share.abs().max() < 0.02
    bunch = getattr(datasets, f"load_{name}")()
    original = np.sort(bunch.data.reshape(total, -1).sum(1))
    ours = np.sort(torch.cat([data.x_train, data.x_test]).double().reshape(total, -1).sum(1).numpy())
    np.testing.assert_allclose(ours, original, rtol=1e-5)
    assert load_dataset(name).fingerprint == data.fingerprint


def test_the_digits_never_change() -> None:
    """The test split of a data set without an official one is part of every stored result on it."""
    assert load_dataset("digits").fingerprint.startswith("89a33e2d7622009f")


@pytest.mark.data
@pytest.mark.parametrize("name", list(REAL))
def test_real_sets(name: str, real_dir: Path) -> None:
    if not (real_dir / f"{name}.npz").is_file():
        pytest.skip(f"no {name}.npz in {real_dir}")
    data = load_dataset(name, data_dir=real_dir)
    shape, train, test = REAL[name]
    assert (data.input_shape, len(data.y_train), len(data.y_test), data.num_classes) == (shape, train, test, 10)
    assert data.x_train.dtype == torch.uint8
    splits = make_splits(data, DataSpec(name, 2000, 500, 500), "map:0.4")
    assert splits.x_train.mean(dim=(0, 2, 3)).abs().max() < 1e-5
    assert splits.noise_rate == pytest.approx(0.2, abs=0.03)


def test_the_data_dir_comes_from_argument_then_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARL_DATA_DIR", "/there")
    assert resolve_data_dir() == Path("/there")
    assert resolve_data_dir("/here") == Path("/here")
    monkeypatch.delenv("ARL_DATA_DIR")
    assert resolve_data_dir() == Path("data")


def test_a_name_that_is_nowhere(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"did you mean 'mnist'") as caught:
        load_dataset("mnits", data_dir=tmp_path)
    assert str(tmp_path / "mnits.npz") in str(caught.value)
    assert "ARL_DATA_DIR" in str(caught.value)
    with pytest.raises(DataError, match="no such file"):
        load_dataset(str(tmp_path / "own.npz"))


@given(
    st.from_regex(r"[a-z_/.0-9]{1,12}", fullmatch=True),
    st.dictionaries(st.sampled_from(["merge", "split", "components", "size"]), st.integers(1, 999)),
)
@settings(deadline=None)
def test_names_with_options_read_back(base: str, options: dict[str, int]) -> None:
    name = DataName(base, tuple(sorted(options.items())))
    assert DataName.parse(str(name)) == name
    assert all(name.option(key) == options.get(key, 0) for key in ("merge", "split", "components", "size"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("digits[merge=1]", "2 to 9"),
        ("digits[merge=10]", "2 to 9"),
        ("digits[merge=0]", "positive whole number"),
        ("digits[merge=x]", "positive whole number"),
        ("digits[merge]", "no registered name|expected name"),
        ("digits[size=8]", "size is for image folders"),
        ("", "expected name"),
    ],
)
def test_wrong_options(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, DataError), match=says):
        load_dataset(text, data_dir=tmp_path)


def test_unknown_option_is_suggested() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'merge'"):
        load_dataset("digits[merg=3]")


def test_merged_classes() -> None:
    whole, merged = load_dataset("digits"), load_dataset("digits[merge=3]")
    assert merged.name == "digits[merge=3]"
    assert merged.num_classes == 3
    assert merged.classes == ("0+3+6+9", "1+4+7", "2+5+8")
    assert torch.equal(merged.y_train, whole.y_train % 3)
    assert torch.equal(merged.y_test, whole.y_test % 3)
    assert torch.equal(merged.x_train, whole.x_train)
    prints = {whole.fingerprint, merged.fingerprint, load_dataset("digits[merge=4]").fingerprint}
    assert len(prints) == 3
    splits = make_splits(merged, DataSpec("digits[merge=3]"), "sym:0.4")
    assert splits.num_classes == 3
    with pytest.raises(ConfigError, match="no class map"):
        make_splits(merged, DataSpec("digits[merge=3]"), "map:0.4")


def test_list_datasets() -> None:
    assert set(SHAPES) | set(TORCHVISION) <= set(list_datasets())
