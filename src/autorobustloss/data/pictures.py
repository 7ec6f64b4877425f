"""Image files decoded into one array, each as it looks and at its own depth."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from autorobustloss.errors import DataError, MissingDependencyError
from autorobustloss.reading import reading, require_memory

CHUNK = 64
"""Images a thread decodes before it reports."""
THREADS = min(8, os.cpu_count() or 1)
LARGE = 2**24
"""Images of more pixels are decoded one at a time, so that a folder of them needs the memory of one."""
DEEP = {"F": "float", "I": "32-bit", "I;16": "16-bit"}
"""Pillow's modes of grey images with more than 8 bits; the last has forms for both byte orders."""
KEPT_BITS = 5
"""Pillow reads the upper 8 bits of colours with 16; where they use no more than so many, too little is left."""
SAMPLE_FORMAT, UNSIGNED = 339, (1,)
"""The TIFF tag that tells signed numbers from unsigned ones, and its value for these, also where it is missing."""

Progress = Callable[[int, int], None]
"""Called with the images decoded so far and their total."""

_LARGE_ONE = threading.Lock()


class _ColourError(Exception):
    """An image has colours, where those before it were grey."""


def decode(
    files: Sequence[Path], size: int = 0, progress: Progress | None = None, channels: int | None = None
) -> np.ndarray:
    """Decode image files in threads into one array (N, C, H, W): uint8, or float32 for grey images of more bits.

    size: side in pixels that images are resized to; 0 takes them as they are, all of one size. The first image decides
    on the depth. Rotation that a camera noted is done, transparent pixels are seen on white.
    channels: how many an image gets; by default 1 if all are grey, else 3 (RGB).
    Raises DataError that names the file, MissingDependencyError without Pillow.
    """
    remedy = f"give a smaller size to resize to, for {len(files)} images"
    require_memory(files[0], (len(files) + THREADS) * size * size * 3, remedy)
    with warnings.catch_warnings(), contextlib.suppress(_ColourError):
        warnings.filterwarnings("ignore", "Image size", RuntimeWarning)  # Pillow's, of pictures not quite too large
        first, mode = _read(files[0], size)
        require_memory(files[0], len(files) * first.nbytes, remedy)
        with reading(files[0], "images of its size cannot be held", remedy):
            images = np.empty((len(files), channels or len(first), *first.shape[1:]), dtype=first.dtype)

        def fill(chunk: range) -> int:
            for i in chunk:
                image, own = _read(files[i], size)
                if own != mode and (own in DEEP or mode in DEEP):
                    raise DataError(
                        f"{files[i]}: its values are {DEEP.get(own, '8-bit')}, those of the first image "
                        f"{DEEP.get(mode, '8-bit')}; save all images at one depth"
                    )
                if len(image) > images.shape[1]:
                    raise _ColourError
                if image.shape[1:] != first.shape[1:]:
                    raise DataError(
                        f"{files[i]}: {image.shape[2]}x{image.shape[1]} pixels, but {files[0]} has "
                        f"{first.shape[2]}x{first.shape[1]}; give a size to resize to, as in NAME[size=64]"
                    )
                images[i] = image  # a grey one into all channels
            return len(chunk)

        done = 0
        with ThreadPoolExecutor(THREADS) as pool:
            # On an error, what is not begun is left out.
            for count in pool.map(fill, [range(len(files))[i : i + CHUNK] for i in range(0, len(files), CHUNK)]):
                done += count
                if progress is not None:
                    progress(done, len(files))
        return images
    return decode(files, size, progress, channels=3)


def _read(path: Path, size: int) -> tuple[np.ndarray, str]:
    """Return one image as (C, H, W), and the mode that it is in: L, RGB, or a deep one."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise MissingDependencyError("image folders need Pillow; pip install 'autorobustloss[vision]'") from None
    if not os.path.isfile(path):
        raise DataError(f"{path}: no such image; correct the key list, or complete the folder")
    with (
        reading(path, "cannot be decoded", "replace it, or take it out"),
        open(path, "rb") as file,
        Image.open(file) as image,  # by its path Pillow would map the file, and garble rotated TIFF images
        _LARGE_ONE if image.width * image.height > LARGE else contextlib.nullcontext(),
    ):
        if image.format == "TIFF" and getattr(image, "n_frames", 1) > 1:
            raise ValueError(f"it holds {image.n_frames} pictures, expected one; save each as a file of its own")
        mode = "I;16" if image.mode.startswith("I;16") else image.mode
        mode = mode if mode in DEEP else "L" if mode in ("1", "L") else "RGB"
        cut = mode not in DEEP and ";16" in str(image.tile)
        image.load()
        bands = [band for name, band in zip(image.getbands(), image.split()) if name.upper() != "A"] if cut else []
        if cut and 0 < max(band.getextrema()[1] for band in bands) < 2**KEPT_BITS:
            raise ValueError(
                f"16 bits, of which no more than {8 + KEPT_BITS} are used, and with colours or transparency only the "
                "upper 8 can be read; save it with 8 bits"
            )
        with contextlib.suppress(Exception):  # a broken EXIF block says nothing
            ImageOps.exif_transpose(image, in_place=True)
        if mode in DEEP:
            picture = _deep(image)
        elif image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
            white = Image.new("RGBA", image.size, "white")
            picture = Image.alpha_composite(white, image.convert("RGBA")).convert(mode)
        else:
            picture = image.convert(mode)
        if size:
            picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        return np.atleast_3d(np.asarray(picture)).transpose(2, 0, 1), mode


def _deep(image: Any) -> Any:
    """Return an image of more than 8 bits in Pillow's float mode, its values kept."""
    from PIL import Image

    values = np.asarray(image)
    tags = getattr(image, "tag_v2", None)
    if image.mode == "I" and tags is not None and tags.get(SAMPLE_FORMAT, UNSIGNED) == UNSIGNED:
        values = values.view(np.uint32)  # Pillow's mode is signed
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinite values")
    return Image.fromarray(values)
