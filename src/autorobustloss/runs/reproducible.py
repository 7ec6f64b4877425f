"""What surrounds a job: the state of the process as if it were fresh, put back afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch.utils import deterministic

from autorobustloss.seeding import derive_seed


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
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)
