"""What a result tells of the machine that it was computed on."""

from __future__ import annotations

import functools
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from autorobustloss import __version__


def library_versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "autorobustloss": __version__,
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

    # SciPy brings one of its own, which is there or not by what this process did before.
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    loaded = [library for library in found if not Path(library["filepath"]).parent.name.startswith("scipy")]
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
