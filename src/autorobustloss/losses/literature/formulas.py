"""The losses of the literature written out, from formulas.toml."""

from __future__ import annotations

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from autorobustloss.errors import UnsupportedArgumentError
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.literature.logit_bias import LogitBias
from autorobustloss.losses.writing import fill, number
from autorobustloss.registry import LOSSES


@cache
def formulas() -> dict[str, Any]:
    """Return the file as it is."""
    return msgspec.toml.decode(Path(__file__).with_suffix(".toml").read_bytes())


def name_of(loss: RobustLoss) -> str:
    """Return the name that a loss of the literature is registered by; raise UnsupportedArgumentError for another."""
    for name in formulas()["losses"]:
        if LOSSES.get(name) is type(loss):
            return name
    known = ", ".join(sorted(formulas()["losses"]))
    raise UnsupportedArgumentError(
        f"got {type(loss).__name__}, which has no formula to be written out; losses that have: {known}, taylor, gated "
        "and the learned ones"
    )


def body_of(loss: RobustLoss) -> tuple[str, bool]:
    """Return the functions of a loss in the vocabulary of `writing`, and whether it looks at a batch as a whole."""
    entry, values = formulas()["losses"][name_of(loss)], loss.hyperparameters()
    if isinstance(loss, LogitBias):
        values["inner"] = body_of(loss.biased)[0].replace("def rows(", "def rows_of_raised(")
    text = fill(entry["rows"], **values, log=math.log).strip("\n")
    used = [part.strip("\n") for name, part in formulas()["parts"].items() if re.search(rf"\b{name}\(", text)]
    return "\n\n\n".join([text, *(part for part in used if part not in text)]), entry.get("batchwise", False)


def latex_of(loss: RobustLoss) -> str:
    r"""Return a loss of the literature as LaTeX for math mode, numbers to four digits.

    >>> from autorobustloss.losses import create_loss
    >>> latex_of(create_loss("gce"))
    '\\frac{1 - p_y^{0.7}}{0.7}'
    """
    values = {key: Shown(v) if type(v) is float else v for key, v in loss.hyperparameters().items()}
    if isinstance(loss, LogitBias):
        values["inner_latex"] = latex_of(loss.biased)
    text = fill(formulas()["losses"][name_of(loss)]["latex"], **values, shown=Shown)
    text = re.sub(r"\{ ([^{}]+) \}", r"{\1}", text)
    return re.sub(r"(^|[+=] )1 (?:\\, )?(?=[A(]|\\(?!;))", r"\1", text)  # a factor of 1 is not written


class Shown(float):
    """A number that is written to four digits, powers of ten as LaTeX has them."""

    def __str__(self) -> str:
        mantissa, _, exponent = number(self).partition("e")
        power = rf"10^{{{int(exponent)}}}" if exponent else ""
        return power if power and mantissa == "1" else rf"{mantissa} \cdot {power}" if power else mantissa
