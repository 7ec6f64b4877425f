"""Training jobs: the pure function from a spec and its data to a result."""

from __future__ import annotations

import platform
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

from autorobustloss.data import Dataset, Splits, make_splits
from autorobustloss.errors import ConfigError
from autorobustloss.losses import TaylorLoss, kernel
from autorobustloss.methods import Setting, run_method
from autorobustloss.noise import NoiseSpec, empirical_matrix, transition_matrix
from autorobustloss.runs.cohort import Unit
from autorobustloss.runs.job import Job
from autorobustloss.runs.machine import blas, library_versions, peak_memory, processor
from autorobustloss.runs.outputs import mean_logits, pack
from autorobustloss.runs.reproducible import denormals_flushed, reproducible
from autorobustloss.runs.result import Result
from autorobustloss.runs.runtime import Runtime
from autorobustloss.training.cohort import fit_cohort

SERIAL = Runtime(workers=1)


Trained: TypeAlias = tuple[list[Result], Splits, nn.ModuleList]
"""What training leaves: a result for each job, the splits, and the networks of a job that was trained alone.

Of a cohort, whose weights are kept by nobody, the networks are the initial one.
"""


def run_job(job: Job, dataset: Dataset, runtime: Runtime = SERIAL) -> Result:
    """Train and score one network: the same job on the same data gives the same numbers, whatever ran before.

    On the CPU the numbers are the same to the last bit in every process of a machine, because one thread does it all,
    and on machines of the same type with the same build of PyTorch. Other processors have other kernels beneath, whose
    results agree to rounding, which training may amplify; `Runtime.exact` leaves out what this library adds to that.

    Raises DataError if the data set is not the one that the job was written for (`DataSpec.fingerprint`).
    """
    return Trainer({job.task.dataset.name: dataset}, runtime)((job,))[0]


class Trainer:
    """`run_job` with the data sets at hand: what an executor calls for each job, in whatever process.

    It keeps the splits used last for later jobs; that changes the time, not the numbers.
    """

    def __init__(self, datasets: Mapping[str, Dataset], runtime: Runtime = SERIAL) -> None:
        """`datasets`: by the name in the jobs' specs."""
        self.datasets = datasets
        self.runtime = runtime
        self.cache = SplitsCache()

    def __call__(self, unit: Unit) -> list[Result]:
        """Return the results of jobs that are trained at once, or of one."""
        return self.train(*unit)[0]

    def train(self, job: Job, *others: Job) -> Trained:
        """Train a job, and at once with it others that differ from it in their Taylor loss only (see `runs.cohort`).

        Raises ConfigError when its data set was not handed over, and CohortError where jobs cannot be trained at once.
        """
        device, exact = self.runtime.device, self.runtime.exact and not others
        jobs, task = (job, *others), job.task
        name = task.dataset.name
        if name not in self.datasets:
            raise ConfigError(f"job {job.label}: got no data set {name!r}, expected it among {sorted(self.datasets)}")
        with reproducible(job.seed, device), kernel.left_out() if exact else denormals_flushed():
            splits = self.cache.get(job, self.datasets[name], device)
            start = time.perf_counter()
            told = known_noise(task.noise, name, splits)
            setting = Setting(task.model, splits, task.protocol, job.seed, job.evaluate, told)
            if others:
                losses = [setting.criterion(each.method) for each in jobs]
                coefficients = [cast(TaylorLoss, loss).coefficients(splits.num_classes) for loss in losses]
                networks = nn.ModuleList([setting.network()])
                histories = fit_cohort(networks[0], coefficients, splits, task.protocol, job.seed, job.evaluate)
            else:
                networks, history = run_method(job.method, setting)
                histories = [history]
            outputs = pack(mean_logits(networks, splits.x_test, task.protocol.precision)) if job.predict else ""
            seconds = (time.perf_counter() - start) / len(jobs)
        where = torch.cuda.get_device_name() if device == "cuda" else "cpu"
        results = [
            Result(
                key=each.key,
                history=history,
                noise_rate=splits.noise_rate,
                wall_time=seconds,
                device=where + (f", cohort of {len(jobs)}" if others else ""),
                host=platform.node(),
                versions=library_versions(),
                peak_memory=peak_memory(),
                processor=processor(),
                blas=blas(),
                exact=exact,
                workers=self.runtime.workers,
                outputs=outputs,
            )
            for each, history in zip(jobs, histories)
        ]
        return results, splits, networks


class SplitsCache:
    """The splits used last: one, and more as long as all fit into `max_bytes`.

    The jobs of one generation or one table row share data, noise and seeds, so most find their splits made. Splits that
    differ in their noise only share their images, so that a long search, with new noise each generation, keeps no more
    of them than a short one.
    """

    def __init__(self, max_bytes: int = 1 << 28) -> None:
        self.max_bytes = max_bytes
        self._splits: OrderedDict[tuple[Any, ...], Splits] = OrderedDict()

    def get(self, job: Job, dataset: Dataset, device: str = "cpu") -> Splits:
        """Return the splits of a job on a device, made now or kept from an earlier job."""
        task = job.task
        images = (dataset.fingerprint, task.dataset, job.split_seed, device)
        key = (*images, task.noise, job.noise_seed)
        if key not in self._splits:
            alike = next((s for k, s in reversed(self._splits.items()) if k[: len(images)] == images), None)
            seeds = job.split_seed, job.noise_seed
            made = make_splits(dataset, task.dataset, task.noise, *seeds, allow_hopeless=True, alike=alike)
            self._splits[key] = made.to(device)
        self._splits.move_to_end(key)
        while len(self._splits) > 1 and self.bytes > self.max_bytes:
            self._splits.popitem(last=False)
        return self._splits[key]

    @property
    def bytes(self) -> int:
        """Memory of all kept splits."""
        tensors = (v for s in self._splits.values() for v in vars(s).values() if isinstance(v, Tensor))
        return sum({t.data_ptr(): t.nbytes for t in tensors}.values())


def known_noise(noise: str, dataset_name: str, splits: Splits) -> Tensor | None:
    """Return T[true, noisy] for the methods that are told it: the spec's, else counted, else (nobody knows) None."""
    if splits.noise_rate is None:
        return None
    if not NoiseSpec.parse(noise).by_class:
        return empirical_matrix(splits.y_train_clean, splits.y_train, splits.num_classes)
    return transition_matrix(noise, splits.num_classes, dataset_name)
