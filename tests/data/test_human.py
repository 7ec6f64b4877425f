"""Human labels: read from .npz and from the published .pt form, and only where the clean labels agree."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from autorobustloss.data import Dataset, DataSpec, load_dataset, make_splits
from autorobustloss.data.human import read_human_labels, with_human_labels
from autorobustloss.errors import DataError

COUNT = 120
CLEAN = np.random.default_rng(0).permutation(COUNT) % 10
NAMES = ("aggre", "random1", "random2", "random3", "worse")
KEYS = ("aggre_label", "random_label1", "random_label2", "random_label3", "worse_label")


def label_sets() -> dict[str, np.ndarray]:
    shifts = {key: (np.arange(COUNT) % 20 < i + 1).astype(int) for i, key in enumerate(KEYS)}
    return {"clean_label": CLEAN, **{key: (CLEAN + shift) % 10 for key, shift in shifts.items()}}


def cifar(folder: Path, name: str = "cifar10", classes: int = 10) -> None:
    x = np.random.default_rng(1).integers(0, 256, (COUNT, 4, 4, 3)).astype(np.uint8)
    y = CLEAN if classes == 10 else np.arange(COUNT) % classes
    np.savez(folder / f"{name}.npz", x_train=x, y_train=y, x_test=x, y_test=y)


@pytest.mark.parametrize("form", ["npz", "pt"])
@pytest.mark.parametrize(("name", "key"), list(zip(NAMES, KEYS)))
def test_every_label_set(tmp_path: Path, form: str, name: str, key: str) -> None:
    cifar(tmp_path)
    if form == "npz":
        np.savez(tmp_path / "cifar10n.npz", **{k: v.astype(np.uint8) for k, v in label_sets().items()})
    else:
        torch.save(label_sets(), tmp_path / "CIFAR-10_human.pt")
    data = load_dataset("cifar10", data_dir=tmp_path)
    assert np.array_equal(data.label_sets[name].numpy(), label_sets()[key])
    splits = make_splits(data, DataSpec("cifar10"), f"human:{name}")
    assert splits.noise_rate == float((splits.y_train != splits.y_train_clean).double().mean())
    share = (KEYS.index(key) + 1) / 20
    both = torch.cat([splits.y_train != splits.y_train_clean, splits.y_valid_noisy != splits.y_valid_clean])
    assert both.double().mean() == pytest.approx(share)


def test_a_path_finds_the_labels_beside_it_and_merging_folds_them(tmp_path: Path) -> None:
    cifar(tmp_path)
    np.savez(tmp_path / "cifar10n.npz", **label_sets())
    data = load_dataset(f"{tmp_path / 'cifar10.npz'}[merge=3]")
    assert np.array_equal(data.label_sets["worse"].numpy(), label_sets()["worse_label"] % 3)
    assert make_splits(data, DataSpec("x"), "human:worse").num_classes == 3


def test_the_fingerprint_is_that_of_the_images_and_clean_labels(tmp_path: Path) -> None:
    cifar(tmp_path)
    before = load_dataset("cifar10", data_dir=tmp_path).fingerprint
    np.savez(tmp_path / "cifar10n.npz", **label_sets())
    assert load_dataset("cifar10", data_dir=tmp_path).fingerprint == before


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_cifar100n_as_published_under_old_and_new_numpy(tmp_path: Path, module: bytes) -> None:
    """The published files were pickled by NumPy 1, whose arrays name another module."""
    cifar(tmp_path, "cifar100", 100)
    clean = np.arange(COUNT) % 100
    noisy = np.where(np.arange(COUNT) % 4 == 0, (clean + 1) % 100, clean)
    path = tmp_path / "CIFAR-100_human.pt"
    torch.save({"clean_label": clean, "noisy_label": noisy}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            if entry.endswith("data.pkl"):
                content = re.sub(rb"numpy\._?core\.multiarray", module, content)
                assert module in content
            archive.writestr(entry, content)
    data = load_dataset("cifar100", data_dir=tmp_path)
    assert np.array_equal(data.label_sets["noisy"].numpy(), noisy), data.label_note
    splits = make_splits(data, DataSpec("cifar100"), "human:noisy")
    assert splits.noise_rate == pytest.approx(0.25, abs=0.05)


def test_other_images_are_refused_but_only_when_asked_for(tmp_path: Path) -> None:
    cifar(tmp_path)
    wrong = label_sets()
    wrong["clean_label"] = np.sort(wrong["clean_label"])
    np.savez(tmp_path / "cifar10n.npz", **wrong)
    data = load_dataset("cifar10", data_dir=tmp_path)
    make_splits(data, DataSpec("cifar10"), "sym:0.4")
    with pytest.raises(DataError, match=r"cifar10n\.npz: its clean_label differs .* another order"):
        make_splits(data, DataSpec("cifar10"), "human:worse")


def test_no_labels_there(tmp_path: Path) -> None:
    cifar(tmp_path)
    with pytest.raises(DataError, match=r"cifar10n\.npz or CIFAR-10_human\.pt") as caught:
        make_splits(load_dataset("cifar10", data_dir=tmp_path), DataSpec("cifar10"), "human:worse")
    assert str(tmp_path) in str(caught.value)
    with pytest.raises(DataError, match="no human labels 'worse'"):
        make_splits(load_dataset("digits"), DataSpec("digits"), "human:worse")
    np.savez(tmp_path / "cifar10n.npz", **label_sets())
    with pytest.raises(DataError, match="'noisy'; it has aggre, random1"):
        make_splits(load_dataset("cifar10", data_dir=tmp_path), DataSpec("cifar10"), "human:noisy")


class Trap:
    def __reduce__(self) -> tuple:
        return (os.mkdir, ("sprung",))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.write_bytes(b"not a file of tensors"), "cannot be read"),
        (lambda path: path.write_bytes(pickle.dumps({"clean_label": Trap()})), "cannot be read"),
        (lambda path: torch.save({"clean_label": Trap()}, path), "cannot be read"),
        (lambda path: torch.save([1, 2], path), "holds a list"),
        (lambda path: torch.save({"clean_label": CLEAN}, path), "no aggre_label, random_label1"),
        (lambda path: torch.save({**label_sets(), "worse_label": CLEAN[:9]}, path), r"worse_label .*\(9,\)"),
        (lambda path: torch.save({**label_sets(), "worse_label": CLEAN + 1}, path), "expected 0 to 9"),
        (lambda path: torch.save({**label_sets(), "worse_label": CLEAN / 2}, path), "cannot be read|float64"),
    ],
)
def test_broken_files_are_named_and_never_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "CIFAR-10_human.pt"
    content(path)
    cifar(tmp_path)
    data = load_dataset("cifar10", data_dir=tmp_path)
    with pytest.raises(DataError, match=says) as caught:
        make_splits(data, DataSpec("cifar10"), "human:worse")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.data
def test_the_published_rates(real_dir: Path) -> None:
    path = real_dir / "cifar10n.npz"
    if not path.is_file():
        pytest.skip(f"no cifar10n.npz in {real_dir}")
    with np.load(path) as archive:
        clean = archive["clean_label"]
    x = np.zeros((len(clean), 1, 1), np.uint8)
    data = with_human_labels(Dataset.from_arrays(x, clean, x, clean, name="cifar10"), real_dir)
    assert read_human_labels(path, data).keys() == data.label_sets.keys()
    rates = {name: float((labels != data.y_train).double().mean()) for name, labels in data.label_sets.items()}
    published = {"aggre": 0.0903, "random1": 0.1723, "random2": 0.1812, "random3": 0.1764, "worse": 0.4021}
    assert rates == pytest.approx(published, abs=3e-4)


@pytest.mark.data
def test_worse_labels_are_those_of_the_real_images() -> None:
    folder = Path(os.environ.get("ARL_DATA_DIR", ""))
    if not os.environ.get("ARL_DATA_DIR") or not all((folder / f"{n}.npz").is_file() for n in ("cifar10", "cifar10n")):
        pytest.skip("set ARL_DATA_DIR to a folder with cifar10.npz and cifar10n.npz to run this")
    data = load_dataset("cifar10", data_dir=folder)
    with np.load(folder / "cifar10n.npz") as archive:
        assert np.array_equal(archive["clean_label"], data.y_train.numpy())
    splits = make_splits(data, DataSpec("cifar10", train_size=20_000, valid_size=5_000), "human:worse")
    assert splits.noise_rate == pytest.approx(0.402, abs=0.01)
    assert (splits.y_train != splits.y_train_clean).double().mean() == pytest.approx(splits.noise_rate)


@pytest.mark.parametrize(
    "content",
    [
        lambda path: torch.save({0: CLEAN, "clean_label": CLEAN, (1, 2): 3}, path),
        lambda path: torch.save({key: [[1], [2, 3]] for key in label_sets()}, path),
        lambda path: torch.save({key: torch.zeros(COUNT, requires_grad=True) for key in label_sets()}, path),
        lambda path: torch.save({key: torch.zeros(COUNT, device="meta") for key in label_sets()}, path),
        lambda path: torch.save(dict.fromkeys(label_sets()), path),
        lambda path: torch.save({key: {} for key in label_sets()}, path),
        lambda path: path.write_bytes(b"\x80\x04" + b"(" * 9999),
        lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99)),
        lambda path: torch.save(label_sets(), path) or path.write_bytes(path.read_bytes()[:-400]),
        lambda path: path.mkdir(),
    ],
)
def test_contents_of_any_type_are_named(tmp_path: Path, content) -> None:
    path = tmp_path / "CIFAR-10_human.pt"
    content(path)
    cifar(tmp_path)
    data = load_dataset("cifar10", data_dir=tmp_path)
    with pytest.raises(DataError) as caught:
        make_splits(data, DataSpec("cifar10"), "human:worse")
    assert path.name in str(caught.value)
    assert len(str(caught.value)) < 1000
