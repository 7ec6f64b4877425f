"""A user's own .npz file: the forms it may have, and an error with a remedy for every way it can be wrong."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
        ({"y_train": np.arange(259) % 26}, r"shape \(259,\), expected one label each, \(260,\)"),
        ({"y_train": (np.arange(260) % 26).astype(float)}, r"label 0\.0 to 25\.0 \(float64\), .*expected integers"),
        ({"y_train": np.array(list("abcdefghij") * 26)}, "expected integers"),
        ({"y_train": np.arange(260) % 26 - 1}, "label -1"),
        ({"y_train": np.arange(260) % 26 + 1, "y_test": np.arange(52) % 26 + 1}, "none of label 0;.*return_inverse"),
        ({"y_train": np.arange(260) % 13 * 2}, "none of label 1, 3, 5, 7, 9, …"),
        ({"y_train": np.zeros(260, int)}, "1 class, expected at least 2"),
        ({"y_test": np.arange(52) % 27}, "y_test has label 26.*0 to 25"),
        ({"y_train": np.eye(26)[np.arange(260) % 26]}, r"argmax\(1\)"),
        ({"y_train": (np.arange(260) % 26)[:, None]}, r"ravel\(\)"),
        ({"x_train": nan_in(17)}, "x_train has NaN, .* in 1 samples, first in sample 17"),
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


def member(values: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def archive(path: Path, method: int = zipfile.ZIP_STORED, extra: tuple = (), **members: bytes) -> Path:
    """Write an .npz with some members replaced by bytes, or added."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as file:
        warnings.simplefilter("ignore")  # a name twice
        for key, values in arrays().items():
            file.writestr(f"{key}.npy", members.get(key) or member(values))
        for name, content in extra:
            file.writestr(name, content)
    return path


def header(text: str, version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2 if version == b"\1\0" else 4, "little") + text.encode()


def patched(path: Path, local: int, central: int, value: int) -> Path:
    """Change a byte of every local header of an archive and of every entry of its directory."""
    data = bytearray(archive(path).read_bytes())
    for sign, offset in ((b"PK\3\4", local), (b"PK\1\2", central)):
        place = data.find(sign)
        while place >= 0:
            data[place + offset] = value
            place = data.find(sign, place + 4)
    path.write_bytes(data)
    return path


def described(descr: str, shape: str, fortran: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}"


HEADERS = {
    "peta-bytes": header(described("'<f8'", "(1000000000, 1000000)")),
    "gigabytes": header(described("'<f8'", "(100000000, 16)")),
    "too few": header(described("'<f8'", "(1, 1)")) + bytes(99),
    "negative": header(described("'<f8'", "(-1, 16)")),
    "negative twice": header(described("'<f8'", "(-2, -1)")) + bytes(16),
    "beyond 64 bits": header(described("'<f8'", f"({2**70}, 1)")),
    "many dimensions": header(described("'<f8'", "(" + "1, " * 100 + ")")) + bytes(8),
    "no bytes each": header(described("'|V0'", f"({10**15},)")),
    "no characters": header(described("'<U0'", f"({10**15},)")),
    "shape of texts": header(described("'<f8'", "('a', 'b')")),
    "no type": header(described("'<q9'", "(1, 1)")),
    "nested brackets": header("(" * 9000),
    "nested signs": header("-" * 9000 + "1"),
    "long": header("{" + " " * 60000 + "}"),
    "very long": header("{" + " " * 10**6 + "}", b"\2\0"),
    "cut": header(described("'<f8'", "(1, 1)"))[:20],
    "version 3": header(described("'<f8'", "(1, 1)"), b"\3\0") + bytes(8),
    "version 9": header(described("'<f8'", "(1, 1)"), b"\x09\0") + bytes(8),
    "objects": header(described("'|O'", "(1000000000, 1000000)")),
    "objects within": header(described("[('a', '|O')]", "(260,)")),
    "code": header("__import__('os').mkdir('sprung')"),
    "no array": b"x_train,y_train",
    "nothing": b" ",
}


@pytest.mark.parametrize("content", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_headers_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, method: int) -> None:
    monkeypatch.chdir(tmp_path)
    path = archive(tmp_path / "own.npz", method, x_train=content)
    with pytest.raises(DataError) as caught:
        load_npz(path)
    assert str(caught.value).count("own.npz") == 1
    assert len(str(caught.value)) < 600
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("local", "central", "value", "says"),
    [
        (6, 8, 1, "x_train is protected with a password"),
        (8, 10, 9, "x_train is packed with zip method 9"),
        (8, 10, 12, "x_train is packed with zip method 12"),
        (8, 10, 14, "x_train is packed with zip method 14"),
        (8, 10, 93, "x_train is packed with zip method 93"),
        (8, 10, 99, "x_train is packed with zip method 99"),
        (6, 8, 32, "damaged"),
        (22, 24, 0xFF, "damaged"),
        (14, 16, 0xFF, "damaged"),
    ],
)
def test_zip_features_that_numpy_never_writes(tmp_path: Path, local: int, central: int, value: int, says: str) -> None:
    path = patched(tmp_path / "own.npz", local, central, value)
    with pytest.raises(DataError, match=says) as caught:
        load_npz(path)
    assert str(caught.value).count("own.npz") == 1


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_that_unpack_to_gigabytes(tmp_path: Path, method: int) -> None:
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w", method) as file:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            with file.open(f"{key}.npy", "w", force_zip64=True) as out:
                out.write(header(described("'|u1'", f"({2**20}, 1)")) + bytes(2**20))
    with pytest.raises(DataError, match="packed with zip method"):
        load_npz(path)


def test_more_than_the_memory_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.npz"
    np.savez_compressed(path, **arrays(x_train=np.zeros((260, 10_000))))
    monkeypatch.setattr("os.sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}.__getitem__)
    with pytest.raises(DataError, match=r"own\.npz: needs 0\.0 GiB of memory"):
        load_npz(path)


def test_members_that_nobody_needs_are_not_read(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "own.npz",
        extra=(
            ("notes.npy", HEADERS["peta-bytes"]),
            ("objects.npy", HEADERS["objects"]),
            ("readme.txt", b"hello"),
            ("x_train", b"no array of this name: it has no suffix"),
            ("../x_test.npy", b"elsewhere"),
        ),
    )
    assert load_npz(path).num_classes == 26


def test_an_array_twice_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "own.npz", extra=(("y_test.npy", member(np.zeros(52, int))),))
    with pytest.raises(DataError, match=r"own\.npz: holds two arrays y_test"):
        load_npz(path)


def test_a_list_of_many_names_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, **{f"array_{i}": np.zeros(1) for i in range(500)})
    with pytest.raises(DataError, match="no array x_train, y_train, x_test, y_test among array_0,") as caught:
        load_npz(path)
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("change", ["fortran", "swapped", "swapped labels", "small labels", "subarray"])
def test_any_memory_layout_is_the_same_data(tmp_path: Path, change: str) -> None:
    good = arrays()
    before = load_npz(write(tmp_path, **good)).fingerprint
    if change == "fortran":
        good = {key: np.asfortranarray(values) for key, values in good.items()}
    if change == "swapped":
        good = {key: values.astype(values.dtype.newbyteorder(">")) for key, values in good.items()}
    if change == "swapped labels":
        good["y_train"] = good["y_train"].astype(">u2")
    if change == "small labels":
        good["y_test"] = good["y_test"].astype(np.int8)
    if change == "subarray":
        good["x_train"] = np.repeat(good["x_train"], 2, axis=1)[:, ::2]
    assert load_npz(write(tmp_path, **good)).fingerprint == before


@pytest.mark.parametrize("labels", [2**63 + np.arange(260).astype(np.uint64), np.arange(260) * 2**40, -np.arange(260)])
def test_labels_beyond_reason(tmp_path: Path, labels: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"letters\.npz: y_train has "):
        load_npz(write(tmp_path, y_train=labels))


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((260, 3), "datetime64[s]"),
        np.zeros((260, 3), "timedelta64[s]"),
        np.zeros(260, "f8,f8"),
        np.zeros((260, 3), complex),
        np.zeros((260, 3), "S3"),
        np.zeros((260, 3), "V8"),
        np.float64(1),
    ],
)
@pytest.mark.parametrize("key", ["x_train", "y_train", "x_test"])
def test_types_that_are_no_numbers(tmp_path: Path, key: str, values: np.ndarray) -> None:
    with pytest.raises(DataError, match=rf"letters\.npz: {key} "):
        load_npz(write(tmp_path, **{key: values}))


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("whole") / "own.npz"
    contents = []
    for save in (np.savez, np.savez_compressed):
        save(path, **{key: values[:26] for key, values in arrays().items()})
        contents.append(path.read_bytes())
    return contents


@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 10**4), st.integers(0, 255)), max_size=6),
    st.integers(0, 10**4) | st.just(10**4),
    st.integers(0, 40) | st.just(0),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_loads_or_is_named(
    tmp_path: Path,
    fine_or_named: Any,
    wholes: list[bytes],
    packed: bool,
    changes: list[tuple[int, int]],
    end: int,
    start: int,
) -> None:
    content = bytearray(wholes[packed])
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path / "own.npz"
    path.write_bytes(content[start:end])
    with warnings.catch_warnings(), fine_or_named("own.npz"):
        warnings.simplefilter("ignore")
        assert load_npz(path).num_classes == 26
