"""The closed forms in C: value and gradient of a batch in a sweep or two over the logits, on a CPU in float32.

`sweep` is that of the Taylor loss, `gated.sweep` that of the gated one. The installation compiles kernel.c where there
is a C compiler (`hatch_build.py`). Where there is none, and for whatever the kernel does not take, PyTorch's operations
do the same: twenty calls and more, each of which takes longer on a small batch than the arithmetic in it. Both agree to
rounding, not to the last bit; `left_out` is for who needs the last bit.
"""

from __future__ import annotations

import ctypes
import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from autorobustloss.losses.modes import plain

SOURCE = Path(__file__).with_suffix(".c")
OTHERS, LABEL = 3, 4
"""How many coefficients of G and of H the kernel has room for: those of order 4, the paper's."""

MANY = 1 << 16
"""From so many numbers on PyTorch's threads, if it has enough of them, are faster than the kernel's one."""

WIDE = 32
"""From so many classes on a processor's widest vectors pay."""

_wanted = ContextVar("kernel wanted", default=True)


class Coefficients(NamedTuple):
    """A class-wise separable polynomial loss for hard labels.

    The loss of a sample is Σ_k G(ŷ_k) + H(ŷ_label) − log_weight · log_q ŷ_label + offset, where
    G(ŷ) = others₀ ŷ² + others₁ ŷ³ + …, H(ŷ) = label₀ ŷ + label₁ ŷ² + …, and log_q ŷ = (ŷ^q − 1)/q with q = log_power,
    the logarithm at q = 0. The entries are floats (the fast path), or 0-d tensors, which `torch.vmap` may batch over
    candidates and autograd may differentiate.
    """

    others: tuple[Any, ...]
    label: tuple[Any, ...]
    log_weight: Any
    offset: Any
    log_power: Any = 0.0


ForClasses = Callable[[int], Coefficients]
"""The coefficients of a loss for a number of classes."""


@contextmanager
def left_out() -> Iterator[None]:
    """Compute losses without the kernel for a while, whatever was installed: the same numbers with and without it."""
    token = _wanted.set(False)
    try:
        yield
    finally:
        _wanted.reset(token)


def sweep(
    input: Tensor, target: Tensor, coefficients: ForClasses, *, mean: bool, gradient: bool, ignored: int = -1
) -> tuple[Tensor, Any] | None:
    """Return the loss of each row, (M,), or their mean, (), and its gradient, (M, C), if that is asked for, else None.

    coefficients: of the loss for a number of classes. ignored: a label that is none. Not for use in compiled code.
    None where the kernel does not do it: another device or precision, rows that do not lie one behind the other, a
    label that is no class or is `ignored`, polynomials of an order above 4, code that is traced, and no kernel.
    """
    library = library_for(input, target)
    if library is None:
        return None
    rows, classes = input.shape
    loss = _packed(coefficients(classes))
    if loss is None:
        return None
    value = torch.empty(() if mean else rows, dtype=torch.float32, device="cpu")
    slope = torch.empty_like(input) if gradient else None
    places = value.data_ptr(), 0 if slope is None else slope.data_ptr()
    failed = library.taylor_loss(input.data_ptr(), target.data_ptr(), rows, classes, ignored, loss, mean, *places)
    return None if failed else (value, slope)


def library_for(input: Tensor, target: Tensor, threads: int = 1) -> Any:
    """Return the library of kernels for a batch of such a shape, None where that is for PyTorch's operations.

    threads: how many of PyTorch's the kernel's one thread is faster than on a large batch.
    """
    libraries = _libraries() if _takes(input, target, threads) else ()
    return libraries[input.shape[1] >= WIDE] if libraries else None


def _takes(input: Tensor, target: Tensor, threads: int) -> bool:
    return (
        _wanted.get()
        and plain(input, target)
        and input.dtype is torch.float32
        and input.ndim == 2
        and target.dtype is torch.int64
        and target.shape == input.shape[:1]
        and input.is_cpu
        and target.is_cpu
        and input.is_contiguous()
        and target.is_contiguous()
        and input.shape[1] > 1
        and 0 < input.numel() < (1 << 62 if torch.get_num_threads() <= threads else MANY)
    )


def available() -> bool:
    """Return whether the kernel was compiled when the package was installed, for a processor like this one."""
    return bool(_libraries())


@cache
def _libraries() -> tuple[Any, ...]:
    """Return the library for few classes and the one for `WIDE` and more, or nothing.

    Vectors of sixteen numbers are faster where there are sixteen; for few classes their set-up is all that counts.
    """
    capability = torch.backends.cpu.get_cpu_capability()
    narrow = _library("libkernel-avx2.so") if capability.startswith("AVX") else None
    wide = _library("libkernel-avx512.so") if capability.startswith("AVX512") else None
    narrow = narrow or _library("libkernel.so")
    return (narrow, wide or narrow) if narrow else ()


def _library(name: str) -> Any:
    """Return a compiled library, or None where there is none that can be used."""
    path = SOURCE.with_name(name)
    if not path.exists():
        return None
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        warnings.warn(f"{name} cannot be loaded, PyTorch takes its place: {error}", stacklevel=2)
        return None
    library.source.restype = ctypes.c_char_p
    if library.source().decode() != hashlib.sha256(SOURCE.read_bytes()).hexdigest():
        warnings.warn(f"{name} was made from another {SOURCE.name} and is left out; install again", stacklevel=2)
        return None
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    batch: list[Any] = [pointer, pointer, number, number, number]
    library.taylor_loss.argtypes = [*batch, pointer, ctypes.c_int, pointer, pointer]
    library.gated_loss.argtypes = [*batch, pointer, pointer, ctypes.c_int, *[pointer] * 3]
    return library


@lru_cache(maxsize=1024)
def _packed(c: Coefficients) -> Any:
    """Return the coefficients as the kernel reads them, or None if there are too many."""
    if len(c.others) > OTHERS or len(c.label) > LABEL:
        return None
    others, label = (*c.others, *[0.0] * (OTHERS - len(c.others))), (*c.label, *[0.0] * (LABEL - len(c.label)))
    numbers = *others, *label, c.log_weight, c.offset, c.log_power
    return (ctypes.c_float * len(numbers))(*numbers)
