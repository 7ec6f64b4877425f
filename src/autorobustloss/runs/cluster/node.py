"""What runs on the nodes of a cluster: the check that a node is like the driver, and training."""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import autorobustloss
from autorobustloss.data import Dataset
from autorobustloss.errors import ClusterError, WorkerError
from autorobustloss.losses import kernel
from autorobustloss.runs.cohort import Unit
from autorobustloss.runs.machine import library_versions
from autorobustloss.runs.result import Result
from autorobustloss.runs.runtime import Runtime, usable_cores
from autorobustloss.runs.trainer import Trainer
from autorobustloss.runs.worker import Run, failure_of


@dataclass(frozen=True)
class Report:
    """What a group of units came to on a node, whose load is that of a core: results or an error for each unit."""

    node: str
    load: float
    outcomes: list[Sequence[Result] | WorkerError]
    fault: str = ""


@cache
def environment() -> dict[str, str]:
    """Return what must be the same on every node: versions, the code of this library, and its compiled loss."""
    folder = Path(autorobustloss.__file__).parent
    code = sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".c", ".toml"))
    digest = hashlib.sha256()
    for path in code:
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    source = hashlib.sha256(kernel.SOURCE.read_bytes()).hexdigest()[:12]
    compiled = source if kernel.available() else "not compiled"
    return {**library_versions(), "code": digest.hexdigest()[:12], "kernel": compiled}


def fault(wanted: Mapping[str, str]) -> str:
    """Return in what this process differs from the driver's environment, "" if in nothing."""
    here = environment()
    names = [name for name in wanted if here.get(name) != wanted[name]]
    return ", ".join(f"{name} {here.get(name)}, expected {wanted[name]}" for name in names)


def probe(wanted: Mapping[str, str]) -> str:
    """Return what is wrong with the node that this runs on, "" if nothing."""
    return fault(wanted)


def train(wanted: Mapping[str, str], shared: list[Any], group: bytes) -> Report:
    """Train a pickled group of units with what `shared` refers to in the object store, unless this node differs.

    Nothing of the library's own is unpickled before it is known to be the same here.
    """
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    load, wrong = busy / usable_cores(), fault(wanted)
    if wrong:
        return Report(platform.node(), load, [], wrong)
    run, outcomes = _fetched(shared[0]), list[Sequence[Result] | WorkerError]()
    for unit in pickle.loads(group):
        try:
            outcomes.append(run(unit))
        except Exception as error:
            outcomes.append(failure_of(unit, error))
    return Report(platform.node(), load, outcomes)


_kept: tuple[Any, Run] | None = None
"""What this process trains with, and the object of the store that it came from."""


def _fetched(reference: Any) -> Run:
    global _kept
    if _kept is None or _kept[0] != reference:
        import ray

        _kept = reference, ray.get(reference)
    return _kept[1]


class Training:
    """A `Trainer` on its way to the nodes: each process makes its own when it is first called, from the arrays there.

    Raises ClusterError where there is no GPU for a runtime that has one.
    """

    def __init__(self, datasets: Mapping[str, Dataset], runtime: Runtime) -> None:
        self.runtime = runtime
        self.arrays = {name: packed(dataset) for name, dataset in datasets.items()}

    def __call__(self, unit: Unit) -> Sequence[Result]:
        """Return the results of a unit."""
        return self._trainer(unit)

    @cached_property
    def _trainer(self) -> Trainer:
        if self.runtime.device == "cuda" and not torch.cuda.is_available():
            raise ClusterError("PyTorch finds no GPU on this node; install its build for GPUs there, or use the CPU")
        # Who runs beside it on this machine is for the results to tell.
        runtime = replace(self.runtime, workers=Runtime(self.runtime.device).workers)
        return Trainer({name: unpacked(arrays) for name, arrays in self.arrays.items()}, runtime)


def packed(dataset: Dataset) -> dict[str, Any]:
    """Return a data set as NumPy arrays, which Ray's object store holds once for all processes of a node."""
    return {field.name: _as(Tensor.numpy, Tensor, getattr(dataset, field.name)) for field in fields(dataset)}


def unpacked(values: Mapping[str, Any]) -> Dataset:
    """Return a data set whose tensors are the arrays of the object store: mapped, not copied; nobody writes to them."""
    import numpy as np

    with warnings.catch_warnings():  # of arrays that cannot be written
        warnings.simplefilter("ignore", UserWarning)
        return Dataset(**{name: _as(torch.from_numpy, np.ndarray, value) for name, value in values.items()})


def _as(change: Any, kind: type, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _as(change, kind, part) for name, part in value.items()}
    return change(value) if isinstance(value, kind) else value
