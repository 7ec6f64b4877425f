"""Running one job: the pure function from a spec and its data to a result."""

from __future__ import annotations

import functools
import os
import platform
import re
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils import deterministic

from autorobustloss.errors import ConfigError
from autorobustloss.losses import kernel
from autorobustloss.methods import Setting, run_method
from autorobustloss.noise import NoiseSpec, empirical_matrix, transition_matrix
from autorobustloss.runs.job import Job
from autorobustloss.runs.result import Result
from autorobustloss.seeding import derive_seed
from autorobustloss.training.history import History

if TYPE_CHECKING:
    from autorobustloss.data import Dataset, Splits

CACHE_BYTES = 1 << 30


def run_job(
    job: Job, dataset: Dataset, device: str = "cpu", cache: SplitsCache | None = None, exact: bool = False
) -> Result:
    """Train and score one network: the same job on the same data gives the same numbers, whatever ran before.

    On the CPU the numbers are the same to the last bit in every process of a machine, because one thread does it all,
    and on machines of the same type with the same build of PyTorch. Other processors have other kernels beneath, whose
    results agree to rounding, which training may amplify.
    exact: leave out what of this library adds to that: the compiled loss (`losses.kernel`), which is not the same, or
        not there, everywhere, and the rule that numbers below 10⁻³⁸ count as 0.
    cache: splits of earlier jobs; it changes the time, not the numbers.

    Raises DataError if the data set is not the one that the job was written for (`DataSpec.fingerprint`).
    """
    with reproducible(job.seed, device), kernel.left_out() if exact else denormals_flushed():
        splits = (SplitsCache(0) if cache is None else cache).get(job, dataset, device)
        start = time.perf_counter()
        told = known_noise(job.task.noise, dataset.name, splits)
        setting = Setting(job.task.model, splits, job.task.protocol, job.seed, job.evaluate, told)
        _, history = run_method(job.method, setting)
        wall_time = time.perf_counter() - start
    return make_result(job, history, splits, wall_time, device, exact=exact)


def make_result(
    job: Job,
    history: History,
    splits: Splits,
    wall_time: float,
    device: str = "cpu",
    how: str = "",
    exact: bool = False,
) -> Result:
    """Return a job's result, with what this process knows of where it was trained; how: noted beside the device."""
    return Result(
        key=job.key,
        history=history,
        noise_rate=splits.noise_rate,
        wall_time=wall_time,
        device=(torch.cuda.get_device_name() if device == "cuda" else "cpu") + how,
        host=platform.node(),
        versions=dict(library_versions()),
        peak_memory=peak_memory(),
        processor=processor(),
        blas=blas(),
        exact=exact,
    )


class Trainer:
    """`run_job` with the data sets at hand: what an executor calls for each job, in whatever process."""

    def __init__(
        self,
        datasets: Mapping[str, Dataset],
        device: str = "cpu",
        cache_bytes: int = CACHE_BYTES,
        exact: bool = False,
    ) -> None:
        """`datasets`: by the name in the jobs' specs; device: "cpu" or "cuda"; exact: see `run_job`.

        cache_bytes: see `SplitsCache`.
        """
        self.datasets = datasets
        self.device = device
        self.exact = exact
        self.cache = SplitsCache(cache_bytes)

    def __call__(self, job: Job) -> Result:
        """Run a job; ConfigError when its data set was not handed over."""
        return run_job(job, self.dataset(job), self.device, self.cache, self.exact)

    def dataset(self, job: Job) -> Dataset:
        """Return the data set of a job; ConfigError when it was not handed over."""
        name = job.task.dataset.name
        if name not in self.datasets:
            raise ConfigError(f"job {job.label}: got no data set {name!r}, expected it among {sorted(self.datasets)}")
        return self.datasets[name]


class SplitsCache:
    """The splits used last, as long as they fit into `max_bytes`; 0 keeps none.

    The jobs of one generation or one table row share data, noise and seeds, so most find their splits made. Splits that
    differ in their noise only share their images, so that a long search, with new noise each generation, keeps no more
    of them than a short one.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self.max_bytes = max_bytes
        self._splits: OrderedDict[tuple[Any, ...], Splits] = OrderedDict()

    def get(self, job: Job, dataset: Dataset, device: str = "cpu") -> Splits:
        """Return the splits of a job on a device, made now or kept from an earlier job."""
        from autorobustloss.data import make_splits

        task = job.task
        images = (dataset.fingerprint, task.dataset, job.split_seed, device)
        key = (*images, task.noise, job.noise_seed)
        if key not in self._splits:
            made = make_splits(dataset, task.dataset, task.noise, job.split_seed, job.noise_seed, allow_hopeless=True)
            alike = next((s for k, s in reversed(self._splits.items()) if k[: len(images)] == images), None)
            self._splits[key] = made.to(device) if alike is None else _with_images_of(alike, made, device)
        self._splits.move_to_end(key)
        splits = self._splits[key]
        while self._splits and self.bytes > self.max_bytes:
            self._splits.popitem(last=False)
        return splits

    @property
    def bytes(self) -> int:
        """Memory of all kept splits."""
        tensors = (v for s in self._splits.values() for v in vars(s).values() if isinstance(v, Tensor))
        return sum({t.data_ptr(): t.nbytes for t in tensors}.values())

    def __len__(self) -> int:
        return len(self._splits)


def _with_images_of(alike: Splits, made: Splits, device: str) -> Splits:
    """Return splits on a device, with the images of others that are drawn from the same data by the same seed."""
    images = {name: getattr(alike, name) for name in ("x_train", "x_valid", "x_test")}
    return replace(replace(made, **{name: x[:0] for name, x in images.items()}).to(device), **images)


def known_noise(noise: str, dataset_name: str, splits: Splits) -> Tensor | None:
    """Return T[true, noisy] for the methods that are told it: the spec's, else counted, else (nobody knows) None."""
    if splits.noise_rate is None:
        return None
    if not NoiseSpec.parse(noise).by_class:
        return empirical_matrix(splits.y_train_clean, splits.y_train, splits.num_classes)
    return transition_matrix(noise, splits.num_classes, dataset_name)


@contextmanager
def reproducible(seed: int = 0, device: str = "cpu") -> Iterator[None]:
    """Run as in a fresh process with one thread, whatever this process has set, and put everything back afterwards.

    The global random state starts from `seed`, for code that draws from it. On a GPU, kernels are deterministic where
    PyTorch has such; on the CPU one thread is enough.
    """
    with ExitStack() as stack:
        set_back = stack.callback
        set_back(torch.set_num_threads, torch.get_num_threads())
        set_back(torch.set_default_dtype, torch.get_default_dtype())
        set_back(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        # Not by `use_deterministic_algorithms`, which imports PyTorch's compiler: two seconds, 70 MB, for nothing here.
        set_back(torch.set_deterministic_debug_mode, torch.get_deterministic_debug_mode())
        # Filling fresh memory is a part of PyTorch's deterministic mode that costs time and changes no sound result.
        for owner, name in ((deterministic, "fill_uninitialized_memory"), (torch.backends.cudnn, "benchmark")):
            set_back(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, False)
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        torch.set_deterministic_debug_mode("warn" if device == "cuda" else "default")
        if torch.empty(0).device.type != "cpu":  # PyTorch 2.4 does not tell of every way to choose it
            stack.enter_context(torch.device("cpu"))  # it slows every call down, so only where it is needed
        stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.random.fork_rng(devices=[torch.cuda.current_device()] if device == "cuda" else []))
        torch.random.default_generator.manual_seed(derive_seed("job", seed))  # torch.manual_seed takes a millisecond
        if device == "cuda":
            torch.cuda.manual_seed(derive_seed("job", seed))
            stack.enter_context(environment(CUBLAS_WORKSPACE_CONFIG=":4096:8"))  # cuBLAS's own switch for determinism
        yield


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Take numbers too small for full precision, below 10⁻³⁸, for 0 for a while, in this thread.

    The gradients of confident networks under losses like MAE are full of them, and a processor takes a hundred times as
    long over each, or longer.
    """
    before = float(torch.full((1,), 1e-40) * 1.0) == 0.0  # PyTorch sets it, but does not tell what was set
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


@contextmanager
def environment(**variables: str) -> Iterator[None]:
    """Set environment variables for a while; child processes that start meanwhile inherit them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@functools.cache
def library_versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    try:
        own = version("autorobustloss")
    except PackageNotFoundError:  # run from a source tree
        own = "unknown"
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "autorobustloss": own,
    }


@functools.cache
def processor() -> str:
    """Return the processor's name and the instruction set that PyTorch takes on it, such as "AMD EPYC 7543, AVX2"."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):  # Linux
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        name = model[1] if model else name
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


@functools.cache
def blas() -> str:
    """Return what multiplies matrices for NumPy and PyTorch, such as "openblas 0.3.31 Zen (NumPy), mkl (PyTorch)"."""
    from threadpoolctl import threadpool_info

    loaded = [library for library in threadpool_info() if library["user_api"] == "blas"]
    parts = (" ".join(filter(None, (b["internal_api"], b["version"], b.get("architecture")))) for b in loaded)
    built: Any = np.show_config(mode="dicts")  # what NumPy was built with, for libraries that say nothing of themselves
    for_numpy = " + ".join(dict.fromkeys(parts)) or built["Build Dependencies"]["blas"]["name"]
    for_torch = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return f"{for_numpy} (NumPy), {for_torch[1] if for_torch else 'unknown'} (PyTorch)"


def peak_memory() -> int:
    """Return the largest resident memory of this process so far in bytes, 0 on systems that do not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
