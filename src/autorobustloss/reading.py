"""Files that somebody else made: whatever is wrong with one ends as an error that names it, in bounded memory."""

from __future__ import annotations

import codecs
import contextlib
import math
import os
import re
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from autorobustloss.errors import ARLError, DataError

if TYPE_CHECKING:
    import numpy as np

Path = str | os.PathLike[str]

AGAIN = "copy or download it again"
LARGEST_TEXT = 2**24
"""Bytes of a text that is read whole."""

_MARKS = {
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),  # before UTF-16, whose mark is the beginning of this one
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}


@contextlib.contextmanager
def reading(path: Path, what: str, remedy: str, error: type[ARLError] = DataError) -> Iterator[None]:
    """Turn whatever goes wrong inside into an `error` that says: PATH: WHAT (reason); REMEDY.

    The libraries beneath raise nearly anything on a broken or hostile file, hence the broad net. Errors of this
    library pass through.

    >>> with reading("a.json", "is no JSON", "write it again"):
    ...     raise KeyError("shape")
    Traceback (most recent call last):
        ...
    autorobustloss.errors.DataError: a.json: is no JSON (KeyError: 'shape'); write it again
    """
    try:
        yield
    except ARLError:
        raise
    except MemoryError:
        raise error(f"{path}: {what} (it takes more memory than there is); {remedy}") from None
    except Exception as problem:
        raise error(f"{path}: {what} ({_reason(path, problem):.200}); {remedy}") from None


def _reason(path: Path, problem: Exception) -> str:
    """Return the problem in one line that does not repeat the path."""
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    text = " ".join(str(problem)[:2000].replace(str(path), "the file").split())
    text = re.sub(r" <_io\.\w+ name='the file'>", "", text)
    return text if isinstance(problem, (OSError, ValueError)) and text else f"{type(problem).__name__}: {text}"


def read_text(path: Path, remedy: str, error: type[ARLError] = DataError, largest: int = LARGEST_TEXT) -> str:
    """Return the text of a file: UTF-8, or what its byte-order mark says, without the mark.

    Raises `error`, which names the file, where it cannot be read, is no text, or has more than `largest` bytes.
    """
    with reading(path, "cannot be read", remedy, error):
        with open(path, "rb") as file:
            content = file.read(largest + 1)
        if len(content) > largest:
            raise ValueError(f"more than {largest} bytes")
        encoding = next((name for name, marks in _MARKS.items() if content.startswith(marks)), "utf-8-sig")
        text = content.decode(encoding)
        if "\0" in text:
            raise ValueError("no UTF-8 text: it holds zero bytes")
        return text


def read_npy(path: Path, file: IO[bytes], size: int) -> np.ndarray:
    """Read one array in NumPy's format from an open file (or archive member) of `size` bytes.

    The header must agree with the size before any memory is taken for what it claims.
    Raises DataError that names `path` for pickled objects, ValueError and others for a damaged file.
    """
    from numpy.lib import format as npy  # here, so that reading texts needs no NumPy

    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(file)
    if version not in headers:
        raise ValueError(f"an array in NumPy's format {version}, which holds no plain numbers")
    shape, _, dtype = headers[version](file)
    if dtype.hasobject:
        raise DataError(
            f"{path}: holds pickled objects, which are never loaded since that can run code; "
            "save plain numeric arrays (no lists of unequal length, no dtype=object)"
        )
    claimed, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or claimed != there or not dtype.itemsize:
        raise ValueError(f"a header claims shape {shape} of {dtype}, {claimed} bytes, but {there} are there")
    file.seek(0)
    return npy.read_array(file, allow_pickle=False)


def require_memory(path: Path, size: int, remedy: str) -> None:
    """Raise DataError where `size` bytes are more than this machine has."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows promises no memory that it does not have
        return
    if size > there:
        need, have = (f"{value / 2**30:.1f} GiB" for value in (size, there))
        raise DataError(f"{path}: needs {need} of memory, this machine has {have}; {remedy}")
