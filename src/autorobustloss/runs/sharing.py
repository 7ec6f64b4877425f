"""Data sets that several processes read and none copies."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from multiprocessing import reduction
from typing import IO, TYPE_CHECKING, Any

import torch
from torch import Tensor

from autorobustloss.errors import WorkerError

if TYPE_CHECKING:
    from autorobustloss.data import Dataset

_ALIGNMENT = 64


def share(datasets: Mapping[str, Dataset]) -> Mapping[str, Dataset]:
    """Return the data sets in a form that child processes get without a copy.

    On Windows PyTorch's own shared memory does that. Elsewhere it would take `/dev/shm`, which containers keep small.
    """
    return datasets if os.name == "nt" else SharedDatasets(datasets)


class SharedDatasets(Mapping[str, "Dataset"]):
    """Data sets whose tensors lie in a temporary file that every child process maps into its memory.

    The file has no name from the start, so that nothing is left of it when the last process ends, however it ends.
    Children see the pages of the one file; what a child would write stays its own.
    """

    def __init__(self, datasets: Mapping[str, Dataset]) -> None:
        self._datasets = dict(datasets)
        self._stored: tuple[IO[bytes], dict[str, Any]] | None = None

    def __getitem__(self, name: str) -> Dataset:
        return self._datasets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._datasets)

    def __len__(self) -> int:
        return len(self._datasets)

    def __getstate__(self) -> dict[str, Any]:
        """Hand a child that is being started the open file, and where in it each tensor lies."""
        if self._stored is None:
            self._stored = _store(self._datasets)
        file, layout = self._stored
        return {"file": reduction.DupFd(file.fileno()), "layout": layout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        handle = state["file"].detach()
        try:
            memory = mmap.mmap(handle, 0, access=mmap.ACCESS_COPY)
        finally:
            os.close(handle)
        self._datasets = {name: _replace_leaves(d, lambda p: p.read(memory)) for name, d in state["layout"].items()}
        self._stored = None


def _store(datasets: Mapping[str, Dataset]) -> tuple[IO[bytes], dict[str, Any]]:
    """Write the tensors to a nameless file; return it, and the data sets with places for tensors."""
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115, it lives as long as the data sets
        file.write(bytes(_ALIGNMENT))  # an empty file cannot be mapped
        layout = {name: _replace_leaves(d, lambda x: _Place.write(file, x)) for name, d in datasets.items()}
        file.flush()
    except OSError as error:
        raise WorkerError(
            f"cannot share the data with worker processes through a file in {tempfile.gettempdir()}: {error}; "
            "free some space there, point TMPDIR to another folder, or use one worker"
        ) from error
    return file, layout


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies in the file."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def write(cls, file: IO[bytes], tensor: Tensor) -> _Place:
        offset = -(-file.tell() // _ALIGNMENT) * _ALIGNMENT
        file.seek(offset)
        file.write(memoryview(tensor.contiguous().numpy().data).cast("B") if tensor.numel() else b"")
        return cls(offset, tuple(tensor.shape), tensor.dtype)

    def read(self, memory: mmap.mmap) -> Tensor:
        count = torch.Size(self.shape).numel()
        if count == 0:
            return torch.empty(self.shape, dtype=self.dtype)
        return torch.frombuffer(memory, dtype=self.dtype, count=count, offset=self.offset).reshape(self.shape)


def _replace_leaves(dataset: Any, change: Callable[[Any], Any]) -> Any:
    """Return a data set with `change` applied to each of its tensors, or places of tensors."""

    def visit(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: visit(v) for name, v in value.items()}
        return change(value) if isinstance(value, (Tensor, _Place)) else value

    return replace(dataset, **{f.name: visit(getattr(dataset, f.name)) for f in fields(dataset) if f.init})
