"""Data sets that several processes read and none copies."""

from __future__ import annotations

import os
import tempfile
from functools import cached_property, partial
from typing import IO, Any

import torch

from autorobustloss.errors import WorkerError


class SharedDatasets(dict[str, Any]):
    """Data sets by name that child processes get without a copy: the tensors lie in a file that each of them maps.

    The file has no name, so that nothing is left of it when the last process ends, however it ends. What a child would
    write into a tensor stays its own. Where there is no `/proc` through which to find such a file, PyTorch's own shared
    memory serves; on Linux that would take `/dev/shm`, which containers keep small.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Hand a child that is being started the way to the file."""
        if not os.path.isdir("/proc/self/fd"):
            return dict, (dict(self),)
        # This process wrote the file, and keeps it, so its classes can be trusted.
        load = partial(torch.load, mmap=True, weights_only=False)
        return load, (f"/proc/{os.getpid()}/fd/{self._file.fileno()}",)

    @cached_property
    def _file(self) -> IO[bytes]:
        """The file, written when the first child starts; it lives as long as this object."""
        try:
            file = tempfile.TemporaryFile()  # noqa: SIM115
            torch.save(dict(self), file)
            file.flush()
        except (OSError, RuntimeError) as error:  # PyTorch's writer has errors of its own
            raise WorkerError(
                f"cannot share the data with worker processes through a file in {tempfile.gettempdir()}: {error}; "
                "free some space there, point TMPDIR to another folder, or use one worker"
            ) from error
        return file
