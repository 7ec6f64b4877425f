"""The pages of the API: every public name of the stub, by subject."""

from __future__ import annotations

import ast
from pathlib import Path

import autorobustloss

SUBJECTS = {
    "losses": ("Losses: made, searched, shipped", ("losses", "losses.cards")),
    "literature": ("Losses of the literature, as classes", ("losses.literature",)),
    "data": ("Data and noise", ("data", "noise")),
    "training": ("Networks, training, methods", ("models", "training", "methods", "integrations")),
    "jobs": ("Jobs, stores, executors", ("runs",)),
    "search": ("Search, benchmark, wrong labels", ("search", "benchmark", "labels")),
    "errors": ("Errors and warnings", ("errors",)),
}
"""By page: its title, and the packages whose public names it has, the closest one counting."""
BESIDE = {
    "training": (
        "integrations.huggingface.hf_loss",
        "integrations.skorch.skorch_loss",
        "integrations.keras.keras_loss",
    ),
    "jobs": (
        *("runs.executors.SerialExecutor", "runs.executors.ProcessExecutor", "runs.cluster.executor.RayExecutor"),
        "runs.runtime.Runtime",
    ),
}
"""Names that are used from modules of their own."""


def public() -> dict[str, str]:
    """Return the public names and the modules they come from, without the package's name."""
    stub = Path(autorobustloss.__file__).with_suffix(".pyi")
    imports = [node for node in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


def subject(module: str, name: str) -> str:
    """Return the page of a public name; a package of no subject is an error, so that none is forgotten."""
    within = module or name
    owners = {part: page for page, (_, parts) in SUBJECTS.items() for part in parts}
    return owners[max((part for part in owners if f"{within}.".startswith(f"{part}.")), key=len)]


def identifier(module: str, name: str) -> str:
    """Return how the API names it: a module by its path, a function that shares its name with one by its own place."""
    package = autorobustloss.__name__
    if module in ("", "losses") and (name in ("integrations", "analysis")):
        return ".".join(part for part in (package, module, name) if part)
    return f"{package}.{module}.{name}" if name in ("search", "bench") else f"{package}.{name}"


def pages() -> dict[str, tuple[str, str]]:
    """Return, by path, the title and the text of each page."""
    made = {}
    for page, (title, _) in SUBJECTS.items():
        own = [identifier(module, name) for name, module in public().items() if subject(module, name) == page]
        own += [f"{autorobustloss.__name__}.{name}" for name in BESIDE.get(page, ())]
        made[f"api/{page}.md"] = (title, f"# {title}\n\n" + "\n\n".join(f"::: {name}" for name in own) + "\n")
    return made
