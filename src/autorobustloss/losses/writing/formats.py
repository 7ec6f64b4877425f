"""Stand-alone code in other libraries: a formula, written once, in the frame of each."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from autorobustloss.errors import ConfigError
from autorobustloss.losses.writing import code

FOLDER = Path(__file__).parent
CODE = ("torch", "numpy", "jax", "keras")
FORMATS = (*CODE, "latex")
FRAMES = {"torch": "torch.py.j2", "numpy": "arrays.py.j2", "jax": "arrays.py.j2", "keras": "keras.py.j2"}
HELPERS: dict[str, dict[str, str]] = msgspec.toml.decode((FOLDER / "helpers.toml").read_bytes())


def check_format(format: str) -> str:
    """Return a format; raise ConfigError for none.

    >>> check_format("jax")
    'jax'
    """
    if format not in FORMATS:
        raise ConfigError(f"got format {format!r}, expected one of {', '.join(FORMATS)}")
    return format


def module(format: str, body: str, *, title: str, formula: str, frame: str = "", batchwise: bool = False) -> str:
    """Return a Python file with a loss, which needs nothing but the library of the format.

    body: functions in the vocabulary of `helpers.toml`, one of them `rows(logits, labels)`, the loss of each row for
        class indices: (M, C), (M,) -> (M,). batchwise: it takes which rows count too, (M,) of 1 and 0.
    frame: of a family whose losses are called otherwise: the first part of the name of its templates.
    """
    template, xp = FOLDER / (frame + FRAMES[format]), HELPERS[format]["xp"]
    values = {"xp": xp, "math": "math." in body, "batchwise": batchwise}
    text = code(template, body=body.strip("\n"), title=title, formula=as_docstring(formula), **values)
    return with_helpers(format, text) + "\n"


def with_helpers(format: str, text: str) -> str:
    """Return code in the words of a format, and after it the helpers that it calls."""
    helpers = {name: helper for name, helper in HELPERS[format].items() if name != "xp"}
    used = [helper.strip("\n") for name, helper in helpers.items() if re.search(rf"\b{name}\(", text)]
    return re.sub(r"\bxp\.", f"{HELPERS[format]['xp']}.", "\n\n\n".join([text.strip("\n"), *used]))


def as_docstring(text: str) -> str:
    """Return a text that can stand in a docstring."""
    return text.replace("\\", "\\\\").replace('"""', "'''")
