"""What runs on the nodes of a cluster: the check that a node is like the driver, and training."""

from __future__ import annotations

import hashlib
import os
import pickle
import platform
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import autorobustloss
from autorobustloss.data import Dataset
from autorobustloss.errors import WorkerError
from autorobustloss.losses import kernel
from autorobustloss.runs.machine import library_versions
from autorobustloss.runs.result import Result
from autorobustloss.runs.runtime import Runtime, usable_cores
from autorobustloss.runs.trainer import Trainer
from autorobustloss.runs.worker import failure_of


@dataclass(frozen=True)
class Report:
    """What a group of units came to on a node, whose load is that of a core: results or an error for each unit."""

    node: str
    load: float
    outcomes: list[list[Result] | WorkerError]
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
    """Train a pickled group of units with the data and runtime that `shared` refers to, unless this node differs.

    Nothing of the library's own is unpickled before it is known to be the same here.
    """
    load, wrong = os.getloadavg()[0] / usable_cores(), fault(wanted)
    if wrong:
        return Report(platform.node(), load, [], wrong)
    trainer, outcomes = _trainer(shared[0]), list[list[Result] | WorkerError]()
    if trainer.runtime.device == "cuda" and not torch.cuda.is_available():
        return Report(platform.node(), load, [], "PyTorch finds no GPU there, expected one")
    for unit in pickle.loads(group):
        try:
            outcomes.append(trainer(unit))
        except Exception as error:
            outcomes.append(failure_of(unit, error))
    return Report(platform.node(), load, outcomes)


_kept: tuple[Any, Trainer] | None = None
"""The trainer of this process, with the splits it keeps, and what it was made of."""


def _trainer(reference: Any) -> Trainer:
    global _kept
    if _kept is None or _kept[0] != reference:
        import ray

        runtime, datasets = ray.get(reference)
        # Who ran beside it on this machine is for the results to tell.
        runtime = replace(runtime, workers=Runtime(runtime.device).workers)
        _kept = reference, Trainer({name: unpacked(arrays) for name, arrays in datasets.items()}, runtime)
    return _kept[1]


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
