"""Image folders in both layouts, and what is said of each broken file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autorobustloss.data import UNKNOWN, DataSpec, load_dataset, load_folder, load_npz, make_splits, save_npz
from autorobustloss.errors import DataError, MissingDependencyError

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def picture(path: Path, value: int, size: tuple[int, int] = (6, 5), mode: str = "RGB") -> None:
    """Write an image of `size` (width, height); its first pixel is `value` in all channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) + ((3,) if mode == "RGB" else ())
    pixels = np.random.default_rng(value).integers(0, 256, shape).astype(np.uint8)
    pixels[0, 0] = value
    Image.fromarray(pixels).save(path)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    for part, count in (("train", 30), ("test", 6)):
        for i in range(count):
            picture(root / part / ("bird", "cat", "dog")[i % 3] / f"{i:03}.png", i)
    return root


@pytest.fixture
def clothing(tmp_path: Path) -> Path:
    """Clothing1M's layout: 20 training, 8 validation (half of them with a noisy label too) and 4 test images."""
    root = tmp_path / "clothing1m"
    keys = [f"images/{i % 3}/{i}.jpg" for i in range(32)]
    for i, key in enumerate(keys):
        picture(root / key, i)
    train, valid, test = keys[:20], keys[20:28], keys[28:]
    lines = {
        "noisy_train_key_list.txt": train,
        "clean_val_key_list.txt": valid,
        "clean_test_key_list.txt": test,
        "noisy_label_kv.txt": [f"{key} {i % 4}" for i, key in enumerate(keys[:24])],
        "clean_label_kv.txt": [f"{key} {(i + 1) % 4}" for i, key in enumerate(keys) if i >= 20],
    }
    for name, content in lines.items():
        (root / name).write_text("\n".join(content) + "\n")
    return root


def test_class_folders(classes: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = load_dataset(str(classes), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (36, 36)
    assert (data.name, data.classes, data.input_shape) == ("photos", ("bird", "cat", "dog"), (3, 5, 6))
    # Sorted by class, then by file name; the first pixel tells which file it was.
    order = [i for c in range(3) for i in range(30) if i % 3 == c]
    assert data.x_train[:, 0, 0, 0].tolist() == order
    assert data.y_train.tolist() == [i % 3 for i in order]
    raw = np.asarray(Image.open(classes / "train" / "cat" / "004.png"))
    assert np.array_equal(data.x_train[11].numpy(), raw.transpose(2, 0, 1))
    assert load_dataset("photos", data_dir=tmp_path).fingerprint == data.fingerprint
    assert make_splits(data, DataSpec("photos"), "sym:0.4").input_shape == (3, 5, 6)


def test_own_validation_folder(classes: Path) -> None:
    for i in range(9):
        picture(classes / "valid" / ("bird", "cat", "dog")[i % 3] / f"{i}.png", i)
    data = load_folder(classes)
    assert data.y_valid is not None
    assert data.y_valid.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len(make_splits(data, DataSpec("photos"), "sym:0.4").x_train) == 30


def test_grey_images_stay_grey(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for i in range(8):
            picture(tmp_path / part / "ab"[i % 2] / f"{i}.png", i, mode="L")
    assert load_folder(tmp_path).input_shape == (1, 5, 6)


def test_resizing(classes: Path) -> None:
    picture(classes / "train" / "dog" / "big.png", 40, size=(9, 11))
    with pytest.raises(DataError, match=r"big\.png: 9x11 pixels, but .* has 6x5.*\[size=64\]"):
        load_folder(classes)
    data = load_dataset(f"{classes}[size=4]")
    assert data.input_shape == (3, 4, 4)
    expected = Image.open(classes / "train" / "bird" / "000.png").resize((4, 4), Image.Resampling.BILINEAR)
    assert np.array_equal(data.x_train[0].numpy(), np.asarray(expected).transpose(2, 0, 1))


def test_key_lists(clothing: Path, tmp_path: Path) -> None:
    data = load_dataset(str(clothing))
    assert (data.name, data.num_classes, data.clean_labels) == ("clothing1m", 4, False)
    assert data.y_train.tolist() == [i % 4 for i in range(20)]
    assert data.y_valid is not None
    assert data.y_valid.tolist() == [(i + 1) % 4 for i in range(20, 28)]
    assert data.y_valid_noisy is not None
    assert data.y_valid_noisy.tolist() == [i % 4 for i in range(20, 24)] + [UNKNOWN] * 4
    splits = make_splits(data, DataSpec("clothing1m"), "given")
    assert splits.noise_rate is None
    assert torch.equal(splits.y_train.sort().values, data.y_train.sort().values)
    save_npz(data, tmp_path / "small.npz")
    again = load_npz(tmp_path / "small.npz")
    assert again.fingerprint == data.fingerprint
    assert not again.clean_labels


def test_key_lists_in_a_folder_of_annotations(clothing: Path) -> None:
    before = load_folder(clothing).fingerprint
    (clothing / "annotations").mkdir()
    for file in clothing.glob("*.txt"):
        file.rename(clothing / "annotations" / file.name)
    assert load_folder(clothing).fingerprint == before


def edit(path: str, text: str | None) -> Any:
    def change(root: Path) -> None:
        (root / path).unlink() if text is None else (root / path).write_text(text)

    return change


@pytest.mark.parametrize(
    ("change", "names", "says"),
    [
        (edit("clean_val_key_list.txt", None), "clean_val_key_list.txt", "no such file"),
        (edit("noisy_label_kv.txt", "\n"), "noisy_label_kv.txt", "empty"),
        (edit("noisy_label_kv.txt", "images/0/0.jpg two\n"), "noisy_label_kv.txt, line 1", "a space and a label"),
        (edit("noisy_label_kv.txt", "images/0/0.jpg 1\n"), "noisy_label_kv.txt", "no label for 19 images"),
        (edit("images/1/7.jpg", None), "images/1/7.jpg", "no such image"),
        (edit("images/1/7.jpg", "not a picture"), "images/1/7.jpg", "cannot be decoded"),
        (edit("images/0/0.jpg", ""), "images/0/0.jpg", "cannot be decoded"),
    ],
)
def test_broken_key_lists(clothing: Path, change: Any, names: str, says: str) -> None:
    change(clothing)
    with pytest.raises(DataError, match=says) as caught:
        load_folder(clothing)
    assert str(clothing / names) in str(caught.value)


def test_a_truncated_picture(classes: Path) -> None:
    path = classes / "train" / "cat" / "004.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"004\.png: cannot be decoded"):
        load_folder(classes)


def test_broken_class_folders(classes: Path, tmp_path: Path) -> None:
    (classes / "test" / "bird").rename(classes / "test" / "fish")
    with pytest.raises(DataError, match=r"fish: no class of this name in train/ \(bird, cat, dog\)"):
        load_folder(classes)
    (tmp_path / "a" / "train" / "x").mkdir(parents=True)
    with pytest.raises(DataError, match="no images"):
        load_folder(tmp_path / "a")
    picture(tmp_path / "a" / "train" / "x" / "1.png", 1)
    with pytest.raises(DataError, match=r"test: no such folder"):
        load_folder(tmp_path / "a")
    with pytest.raises(DataError, match="found neither"):
        load_folder(tmp_path / "nothing")


def test_without_pillow(classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'autorobustloss\[vision\]'"):
        load_folder(classes)
