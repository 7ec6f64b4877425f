"""How losses are written out: sums and numbers as text, text as LaTeX, and templates of code."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
IN_LATEX = {"ŷₖ": r"\hat{y}_k", "ŷ_y": r"\hat{y}_y", "Σₖ": r"\sum_k", "log": r"\log", "exp": r"\exp", "−": "-"}


def joined(terms: Iterable[tuple[float, str]]) -> str:
    """Return a sum of coefficients times symbols ("" for none) as text.

    >>> joined([(-1.0, "x"), (0.0, "x²"), (0.25, "")])
    '−x + 0.25'
    """
    text = ""
    for coefficient, symbol in terms:
        size = number(abs(coefficient))
        if size == "0":
            continue
        sign = "−" if coefficient < 0 else "+"
        shown = symbol if size == "1" and symbol and not symbol.startswith("/") else f"{size} {symbol}".strip()
        text += f" {sign} {shown}" if text else shown if sign == "+" else sign + shown
    return text or "0"


def number(value: float) -> str:
    """Return a number to four digits."""
    return f"{value:.4g}"


def to_latex(text: str) -> str:
    r"""Return a formula in plain text as LaTeX.

    >>> to_latex("−2 ŷ_y^0.5 + 1e-07 ŷ_y²")
    '-2 \\hat{y}_y^{0.5} + 1 \\cdot 10^{-7} \\hat{y}_y^{2}'
    """
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹]+", lambda m: f"^{{{m[0].translate(SUPERSCRIPTS)}}}", text)
    text = re.sub(r"\^([\d.e+-]+)", r"^{\1}", text)
    text = re.sub(r"e([+-])0*(\d+)", lambda m: rf" \cdot 10^{{{m[1].strip('+')}{m[2]}}}", text)
    for symbol, latex in IN_LATEX.items():
        text = text.replace(symbol, latex)
    return text


def code(template: Path, **values: Any) -> str:
    """Return code from a template of it."""
    return fill(template.read_text(encoding="utf-8"), **values)


def fill(template: str, **values: Any) -> str:
    """Return the text of a template with values for its names.

    >>> fill("{{ q }} * x", q=0.5)
    '0.5 * x'
    """
    from jinja2 import StrictUndefined, Template  # here, for few losses are written out

    written = Template(
        template, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return written.render(values)
