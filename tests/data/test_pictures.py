"""Pictures of every depth and mode, as they look; what cannot be decoded is named, in bounded time and memory."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autorobustloss.data import DataSpec, load_folder, make_splits
from autorobustloss.data.pictures import decode
from autorobustloss.errors import DataError

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

RNG = np.random.default_rng(0)
EIGHT = RNG.integers(0, 256, (16, 16, 4)).astype(np.uint8)
SIXTEEN = RNG.integers(0, 65536, (16, 16)).astype(np.uint16)


def tiff(values: np.ndarray, kind: int) -> bytes:
    """A TIFF file of one grey picture, whose numbers are of `kind` (1 unsigned, 2 signed, 3 floating)."""
    height, width = values.shape
    bits, data = 8 * values.itemsize, values.tobytes()
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: 1, 273: 0, 277: 1, 278: height, 279: len(data), 339: kind}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + data


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int, colour: int = 0) -> bytes:
    """A PNG file of a few hundred bytes that claims a size."""
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99999))) + chunk(b"IEND", b"")
    )


def saved(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content) if isinstance(content, bytes) else content.save(path)
    return path


DEEP = {
    "16-bit PNG": (Image.fromarray(SIXTEEN), "png", SIXTEEN),
    "16-bit TIFF": (Image.fromarray(SIXTEEN), "tiff", SIXTEEN),
    "16-bit TIFF, other byte order": (tiff(SIXTEEN.astype("<u2"), 1), "tif", SIXTEEN),
    "12 of 16 bits": (Image.fromarray(SIXTEEN // 16), "PNG", SIXTEEN // 16),
    "signed 16-bit TIFF": (tiff(SIXTEEN.astype("<i2"), 2), "tiff", SIXTEEN.astype(np.int16)),
    "32-bit TIFF": (tiff(65536 * SIXTEEN.astype("<u4"), 1), "tiff", 65536.0 * SIXTEEN),
    "signed 32-bit TIFF": (tiff(65536 * SIXTEEN.astype("<i4"), 2), "tiff", 65536 * SIXTEEN.astype(np.int32)),
    "float TIFF": (Image.fromarray(SIXTEEN.astype(np.float32) / 65535), "tiff", SIXTEEN / 65535),
    "negative float TIFF": (Image.fromarray(-SIXTEEN.astype(np.float32)), "TIFF", -SIXTEEN.astype(float)),
}


@pytest.mark.parametrize(("content", "suffix", "values"), DEEP.values(), ids=DEEP)
def test_deep_pictures_keep_their_values(tmp_path: Path, content: Any, suffix: str, values: np.ndarray) -> None:
    path = saved(tmp_path / f"a.{suffix}", content)
    got = decode([path, path])
    assert (got.shape, got.dtype) == ((2, 1, 16, 16), np.float32)
    np.testing.assert_allclose(got[1, 0], values, rtol=1e-6)
    small = decode([path], size=8)
    assert small.std() > 0.1 * values.std()
    assert values.min() - 1 <= small.min() <= small.max() <= values.max() + 1


FLAT = {
    "grey": ("L", EIGHT[..., 0]),
    "black and white": ("1", EIGHT[..., 0]),
    "colour": ("RGB", EIGHT[..., :3]),
    "palette": ("P", EIGHT[..., :3]),
    "grey with alpha": ("LA", EIGHT[..., :2]),
    "colour with alpha": ("RGBA", EIGHT),
    "print": ("CMYK", EIGHT),
    "video": ("YCbCr", EIGHT[..., :3]),
}


@pytest.mark.parametrize(("mode", "pixels"), FLAT.values(), ids=FLAT)
@pytest.mark.parametrize("suffix", ["png", "TIF", "webp"])
def test_eight_bits_stay_eight_bits(tmp_path: Path, mode: str, pixels: np.ndarray, suffix: str) -> None:
    source = Image.fromarray(pixels).convert(mode) if mode in ("1", "P") else Image.fromarray(pixels, mode)
    try:
        path = saved(tmp_path / f"a.{suffix}", source)
    except (OSError, KeyError):
        pytest.skip(f"no {mode} in {suffix}")
    got = decode([path])
    assert got.dtype == np.uint8
    assert got.shape[1] == (1 if mode in ("1", "L") else 3) or suffix == "webp"
    assert len(np.unique(got)) > {"1": 1, "P": 5}.get(mode, 40)


def test_opaque_alpha_changes_nothing_and_transparent_is_white(tmp_path: Path) -> None:
    opaque, clear = EIGHT.copy(), EIGHT.copy()
    opaque[..., 3], clear[..., 3] = 255, 255 * (np.arange(16) < 8)
    got = decode([saved(tmp_path / f"{i}.png", Image.fromarray(p)) for i, p in enumerate((opaque, clear))])
    assert np.array_equal(got[0], EIGHT[..., :3].transpose(2, 0, 1))
    assert np.array_equal(got[1][:, :, :8], got[0][:, :, :8])
    assert (got[1][:, :, 8:] == 255).all()
    ink = np.zeros((16, 16, 4), np.uint8)  # a drawing that is in the alpha channel alone
    ink[..., 3] = EIGHT[..., 0]
    assert np.array_equal(decode([saved(tmp_path / "ink.png", Image.fromarray(ink))])[0, 0], 255 - EIGHT[..., 0])
    grey = saved(tmp_path / "grey.png", Image.fromarray(EIGHT[..., 0]))
    assert np.array_equal(decode([grey, tmp_path / "ink.png"])[1, 0], 255 - EIGHT[..., 0])
    palette = Image.fromarray(EIGHT[..., :3]).convert("P")
    palette.save(tmp_path / "key.png", transparency=int(np.asarray(palette)[0, 0]))
    assert (decode([tmp_path / "key.png"])[0, :, 0, 0] == 255).all()


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_a_camera_s_rotation_is_done(tmp_path: Path, turn: int, suffix: str) -> None:
    upright = Image.fromarray(np.kron(RNG.integers(0, 256, (2, 3)), np.ones((16, 16))).astype(np.uint8))
    methods = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what undoes each turn
    stored = upright.transpose(Image.Transpose(methods[turn])) if turn > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = turn
    stored.save(tmp_path / f"a.{suffix}", exif=exif)
    got = decode([tmp_path / f"a.{suffix}"])[0, 0]
    assert got.shape == (32, 48)
    assert np.abs(got.astype(int) - np.asarray(upright)).mean() < 3


def test_a_broken_exif_block_spoils_no_picture(tmp_path: Path) -> None:
    Image.fromarray(EIGHT[..., 0]).save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(9))
    assert np.array_equal(decode([tmp_path / "a.png"])[0, 0], EIGHT[..., 0])


def test_mixed_depths_are_refused_by_name(tmp_path: Path) -> None:
    files = {
        "8-bit": saved(tmp_path / "eight.png", Image.fromarray(EIGHT[..., 0])),
        "16-bit": saved(tmp_path / "sixteen.png", Image.fromarray(SIXTEEN)),
        "float": saved(tmp_path / "float.tiff", Image.fromarray(SIXTEEN.astype(np.float32))),
    }
    for first in files:
        for second in set(files) - {first}:
            with pytest.raises(DataError, match=rf"{files[second].name}: its values are {second}, .* {first}; "):
                decode([files[first], files[second]])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_float_picture_that_is_not_finite_is_named(tmp_path: Path, value: float) -> None:
    values = np.ones((4, 4), np.float32)
    values[1, 1] = value
    with pytest.raises(DataError, match=r"hole\.tiff.*NaN or infinite"):
        decode([saved(tmp_path / "hole.tiff", Image.fromarray(values))])


BOMBS = {
    "300 megapixels": png_header(20_000, 15_000),
    "a wide one": png_header(2**31 - 1, 1),
    "a square one": png_header(2**31 - 1, 2**31 - 1, 2),
    "none": png_header(0, 0),
    "a BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 10**5, 10**5, 1, 24, 0, 0, 0, 0, 0, 0),
    "a TIFF": tiff(np.zeros((1, 1), np.uint8), 1).replace(b"\0\1\4\0" + b"\1\0\0\0" * 2, b"\0\1\4\0\1\0\0\0\0\0\0\x80"),
    "text": b"not a picture",
    "nothing": b"",
    "a zip": b"PK\x03\x04" + bytes(99),
}  # fmt: skip


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("size", [0, 8])
def test_bombs_are_refused_by_name(tmp_path: Path, content: bytes, size: int) -> None:
    good = saved(tmp_path / "good.png", Image.fromarray(EIGHT[..., 0]))
    bomb = saved(tmp_path / "bomb.png", content)
    assert len(content) < 400
    with pytest.raises(DataError, match=r"bomb\.png: cannot be decoded"):
        decode([good, bomb], size)


def test_a_large_picture_is_resized(tmp_path: Path) -> None:
    large = saved(tmp_path / "large.png", Image.new("L", (6000, 4000), 77))
    assert (decode([large, large], size=4) == 77).all()


def test_more_than_the_memory_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(EIGHT[..., 0]))
    for size in (10**5, 10**9 - 1):
        with pytest.raises(DataError, match=r"a\.png: needs .* of memory"):
            decode([path] * 1000, size)


def test_what_is_no_file_never_blocks(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no named pipes here")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match=r"pipe\.png: no such image"):
        decode([tmp_path / "pipe.png"])


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_picture_is_decoded_or_named(tmp_path: Path, fine_or_named: Any, data: st.DataObject) -> None:
    wholes = [saved(tmp_path / f"whole.{s}", Image.fromarray(EIGHT[..., :3])) for s in ("png", "jpg", "bmp", "webp")]
    wholes.append(saved(tmp_path / "whole.tiff", Image.fromarray(SIXTEEN)))
    whole = data.draw(st.sampled_from(wholes))
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    broken = saved(tmp_path / f"broken{whole.suffix}", bytes(content))
    with warnings.catch_warnings(), fine_or_named(broken):
        warnings.simplefilter("ignore")
        assert decode([broken], size=4).shape[2:] == (4, 4)


def test_a_folder_of_deep_pictures_is_standardised(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for i in range(20):
            pixels = RNG.integers(0, 4096, (8, 8)).astype(np.uint16)
            saved(tmp_path / part / "ab"[i % 2] / f"{i}.png", Image.fromarray(pixels))
    splits = make_splits(load_folder(tmp_path), DataSpec("own"))
    assert splits.x_train.std() == pytest.approx(1, abs=1e-2)
    assert len(splits.x_train.unique()) > 500


@pytest.mark.parametrize("colours", [0, 1, 2])
def test_colours_are_kept_wherever_the_first_is(tmp_path: Path, colours: int) -> None:
    files = [saved(tmp_path / f"{i}.png", Image.fromarray(EIGHT[..., 0])) for i in range(3)]
    saved(files[colours], Image.fromarray(EIGHT[..., :3]))
    images = decode(files)
    assert images.shape == (3, 3, 16, 16)
    assert np.array_equal(images[colours], EIGHT[..., :3].transpose(2, 0, 1))
    assert np.array_equal(images[colours - 1], [EIGHT[..., 0]] * 3)


def test_a_stack_of_pictures_is_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(EIGHT[..., i]) for i in range(4)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"stack\.tif: .*4 pictures, expected one"):
        decode([tmp_path / "stack.tif"])


def png_16(channels: np.ndarray, colour: int) -> bytes:
    """A PNG file with 16 bits a channel: (H, W, C)."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in channels)
    height, width, _ = channels.shape
    start, middle = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0), zlib.compress(bytes(99999))
    parts = ((b"IHDR", start, start[:8] + b"\x10" + start[9:]), (b"IDAT", middle, zlib.compress(rows)))
    file = png_header(width, height, colour)
    for name, old, new in parts:
        file = file.replace(chunk(name, old), chunk(name, new))
    return file


@pytest.mark.parametrize(("colour", "channels"), [(2, 3), (6, 4), (4, 2)], ids=["RGB", "RGBA", "grey with alpha"])
def test_colours_of_16_bits_are_scaled_or_refused(tmp_path: Path, colour: int, channels: int) -> None:
    values = RNG.integers(0, 65536, (16, 16, channels))
    if channels % 2 == 0:
        values[..., -1] = 65535
    seen = decode([saved(tmp_path / "full.png", png_16(values, colour))])
    assert np.abs(seen[0, 0] - values[..., 0] / 257).max() <= 1
    values[..., : channels - (channels % 2 == 0)] //= 16  # a camera of 12 bits
    with pytest.raises(DataError, match=r"dark\.png: .*16 bits"):
        decode([saved(tmp_path / "dark.png", png_16(values, colour))])
    values[..., : channels - (channels % 2 == 0)] = 0
    assert not decode([saved(tmp_path / "black.png", png_16(values, colour))]).any()
