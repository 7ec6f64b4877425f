"""Compiles the loss kernel into the wheel where there is a C compiler; without one the wheel is plain Python."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ["-O3", "-std=c11", "-fPIC", "-shared"]
FLAGS += ["-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast", "-Wno-psabi"]

OLDEST_GLIBC = 17
"""Minor version of the oldest glibc, 2.17, that the tags of wheels go back to."""


class KernelHook(BuildHookInterface):
    """Puts libkernel.so, and variants for newer x86-64 processors, beside kernel.c, also where that is edited."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the wheel is packed."""
        source = Path(self.root, "src/autorobustloss/losses/kernel.c")
        made = compile_kernel(source)
        if made:
            build_data["artifacts"] += [str(path.relative_to(self.root)) for path in made]
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform_tag(made)}"


def compile_kernel(source: Path) -> list[Path]:
    """Return the libraries made from a source, none where that fails: PyTorch does what they would do."""
    if sys.platform == "win32":  # where nobody has tried what it would make
        return []
    variants: dict[str, list[str]] = {"libkernel.so": []}
    if platform.machine().lower() in ("x86_64", "amd64"):
        variants["libkernel-avx2.so"] = ["-mavx2", "-mfma"]
        variants["libkernel-avx512.so"] = ["-mavx512f", "-mavx512dq", "-mfma", "-mprefer-vector-width=512"]
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    made = []
    for name, flags in variants.items():
        path = source.with_name(name)
        fresh = path.with_suffix(f".{os.getpid()}")  # a process that has the former one loaded keeps it
        command = [*compiler(), *FLAGS, *flags, f"-DSOURCE={digest}", str(source), "-lm", "-o", str(fresh)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", None) or error
            print(f"autorobustloss: {name} left out, PyTorch takes its place: {why}", file=sys.stderr)
            path.unlink(missing_ok=True)
        else:
            fresh.replace(path)
            made.append(path)
    return made


def platform_tag(libraries: list[Path]) -> str:
    """Return the platform that a wheel with these libraries is for.

    On Linux that is the oldest glibc that has all they ask for (PEP 600): an index takes no wheel for "Linux". They
    need nothing but libc and libm.
    """
    system = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    asked = [int(minor) for path in libraries for minor in re.findall(rb"GLIBC_2\.(\d+)", path.read_bytes())]
    if not system.startswith("linux_") or not asked:
        return system
    return system.replace("linux", f"manylinux_2_{max(OLDEST_GLIBC, *asked)}")


def compiler() -> list[str]:
    """Return the command that compiles C: $CC, or the first that is found."""
    found = next(filter(shutil.which, ("cc", "gcc", "clang")), "cc")
    return os.environ.get("CC", found).split()
