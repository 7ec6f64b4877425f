"""Image folders in both layouts, and what is said of each broken file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    with pytest.raises(DataError, match="found none of them"):
        load_folder(tmp_path / "nothing")


def test_without_pillow(classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'autorobustloss\[vision\]'"):
        load_folder(classes)


LITTER = [".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"]


@pytest.mark.parametrize("name", LITTER)
@pytest.mark.parametrize("place", ["train", "test", "train/cat", "."])
@pytest.mark.parametrize("filled", [False, True])
def test_what_systems_leave_behind_is_no_class(classes: Path, name: str, place: str, filled: bool) -> None:
    before = load_folder(classes)
    (classes / place / name).mkdir()
    if filled:
        picture(classes / place / name / "copy.png", 1)
        picture(classes / place / name / "deep" / "copy.png", 1)
    for file in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "._000.png"):
        (classes / place / file).write_bytes(b"\0" * 9)
    after = load_folder(classes)
    assert (after.classes, after.fingerprint) == (before.classes, before.fingerprint)


@pytest.mark.parametrize("name", ["valid", "val", "validation", "Val"])
def test_a_validation_folder_of_any_usual_name_is_used(classes: Path, name: str) -> None:
    for i in range(6):
        picture(classes / name / ("bird", "cat", "dog")[i % 3] / f"{i}.PNG", i)
    data = load_folder(classes)
    assert data.y_valid is not None
    assert data.y_valid.tolist() == [0, 0, 1, 1, 2, 2]
    (classes / "valid_2").mkdir()  # any other name is the user's own affair
    assert load_folder(classes).fingerprint == data.fingerprint
    (classes / ("valid" if name != "valid" else "val")).mkdir()
    with pytest.raises(DataError, match="expected one validation part"):
        load_folder(classes)


def test_suffixes_in_any_case(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for i, suffix in enumerate(("png", "PNG", "JPG", "JPeG", "bmp", "TIF", "gif", "PPM", "jfif", "pbm")):
            picture(tmp_path / part / "ab"[i % 2] / f"{i}.{suffix}", i)
    assert len(load_folder(tmp_path).x_train) == 10


@pytest.mark.parametrize(
    ("places", "named", "says"),
    [
        (["train/1.png"], "train/1.png", "beside the class folders"),
        (["test/1.png"], "test/1.png", "beside the class folders"),
        (["val/1.png"], "val/1.png", "beside the class folders"),
        (["train/cat/more/1.png"], "train/cat/more/1.png", "deeper than its class folder cat/"),
        (["train/cat/a/b/1.jpg"], "train/cat/a/b/1.jpg", "deeper than its class folder cat/"),
        (["train/fish/a/1.png"], "train/fish/a/1.png", "deeper than its class folder fish/"),
        (["train/fish/"], "train/fish", "no images .* in this class folder"),
        (["train/fish/a/b/"], "train/fish", "no images .* in this class folder"),
        (["train/fish/notes.txt"], "train/fish", "no images .* in this class folder"),
        (["val/"], "val", "no images"),
        (["val/fish/1.png"], "val/fish", "no class of this name in train/"),
    ],
)
def test_what_would_be_left_out_is_named(classes: Path, places: list[str], named: str, says: str) -> None:
    for place in places:
        if place.endswith("/"):
            (classes / place).mkdir(parents=True)
        else:
            picture(classes / place.replace(".txt", ".png"), 1)
            if place.endswith(".txt"):
                (classes / place.replace(".txt", ".png")).rename(classes / place)
    with pytest.raises(DataError, match=says) as caught:
        load_folder(classes)
    assert str(classes / named) in str(caught.value)


def test_links(classes: Path) -> None:
    before = load_folder(classes)
    (classes / "train" / "cat" / "up").symlink_to(classes / "train" / "cat")
    with pytest.raises(DataError, match="deeper than its class folder"):
        load_folder(classes)
    (classes / "train" / "cat" / "up").unlink()
    (classes / "train" / "dog").rename(classes / "dogs")
    (classes / "train" / "dog").symlink_to(classes / "dogs")
    assert load_folder(classes).fingerprint == before.fingerprint
    (classes / "train" / "loop").symlink_to(classes / "train" / "loop")
    assert load_folder(classes).fingerprint == before.fingerprint
    (classes / "train" / "cat" / "gone.png").symlink_to(classes / "nowhere.png")
    with pytest.raises(DataError, match=r"gone\.png: no such image"):
        load_folder(classes)


class TestKeyListsOfAnyEditor:
    LISTS = ("noisy_train_key_list.txt", "clean_val_key_list.txt", "clean_test_key_list.txt")
    LABELS = ("noisy_label_kv.txt", "clean_label_kv.txt")

    def rewrite(self, root: Path, change: Any, files: tuple[str, ...]) -> None:
        for name in files:
            text = (root / name).read_text()
            changed = change(text)
            (root / name).write_bytes(changed if isinstance(changed, bytes) else changed.encode())

    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text.encode("utf-8-sig"),
            lambda text: text.encode("utf-16"),
            lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
            lambda text: text.encode("utf-32"),
            lambda text: text.replace("\n", "\r\n"),
            lambda text: text.replace("\n", "\r"),
            lambda text: text.replace("/", "\\"),
            lambda text: ("\n\n" + text.replace("\n", " \n\n")).encode("utf-8-sig"),
        ],
    )
    @pytest.mark.parametrize("files", [LISTS, LABELS, LISTS + LABELS, LISTS[1:2]])
    def test_are_read(self, clothing: Path, change: Any, files: tuple[str, ...]) -> None:
        before = load_folder(clothing).fingerprint
        self.rewrite(clothing, change, files)
        assert load_folder(clothing).fingerprint == before

    def test_tabs_between_image_and_label(self, clothing: Path) -> None:
        before = load_folder(clothing).fingerprint
        self.rewrite(clothing, lambda text: text.replace(" ", "\t"), self.LABELS)
        assert load_folder(clothing).fingerprint == before

    @pytest.mark.parametrize("name", ["a b", "ü", '"a"', "a'b", "a\\b", "a\u2028b", "a\x85b", "-1", "a 1"])
    def test_names_of_all_kinds(self, tmp_path: Path, name: str) -> None:
        keys = [f"{name}.png", "b.png", "c.png", "d.png"]
        for i, key in enumerate(keys):
            picture(tmp_path / "images" / key, i)
        lines = [f"images/{key}" for key in keys]
        labels = "\n".join(f"{line} {i % 2}" for i, line in enumerate(lines))
        for file, text in zip(self.LISTS + self.LABELS, ("\n".join(lines), lines[0], lines[1], labels, labels)):
            (tmp_path / file).write_text(text, encoding="utf-8")
        assert load_folder(tmp_path).y_train.tolist() == [0, 1, 0, 1]

    @pytest.mark.parametrize(
        "label", ["²", "٣", "-1", "1.0", "1e3", "9" * 10, "9" * 5000, "0x1", "", "True", "1_0", "½"]
    )
    def test_labels_that_are_none(self, clothing: Path, label: str) -> None:
        path = clothing / "noisy_label_kv.txt"
        first, *rest = path.read_text().splitlines()
        path.write_text("\n".join([f"{first.split()[0]} {label}", *rest]), encoding="utf-8")
        with pytest.raises(DataError, match=r"noisy_label_kv\.txt, line 1: got .*a space and a label"):
            load_folder(clothing)

    def test_one_image_with_two_labels(self, clothing: Path) -> None:
        with (clothing / "noisy_label_kv.txt").open("a") as file:
            file.write("images\\0\\0.jpg 0\nimages/0/0.jpg 1\n")
        with pytest.raises(DataError, match=r"noisy_label_kv\.txt, line 26: .* another label further up"):
            load_folder(clothing)

    @pytest.mark.parametrize("content", ["é".encode("latin-1"), "a 1".encode("utf-16-le"), b"\xff\xfe\xff", b"\0" * 99])
    @pytest.mark.parametrize("name", LISTS + LABELS)
    def test_no_text_is_refused_by_name(self, clothing: Path, content: bytes, name: str) -> None:
        (clothing / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}: cannot be read .* UTF-8 text"):
            load_folder(clothing)

    @given(st.sampled_from(LISTS + LABELS), st.binary(max_size=200) | st.text(max_size=60).map(str.encode))
    @settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_any_bytes_load_or_are_named(self, clothing: Path, fine_or_named: Any, name: str, content: bytes) -> None:
        before = (clothing / name).read_bytes()
        (clothing / name).write_bytes(content)
        with fine_or_named(clothing):
            load_folder(clothing)
        (clothing / name).write_bytes(before)
