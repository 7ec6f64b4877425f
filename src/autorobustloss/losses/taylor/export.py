"""A Taylor loss written out: as text, as LaTeX, and as code that needs nothing but one library.

Text and LaTeX show the canonical form: constants, and what cancels under softmax, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autorobustloss.losses.taylor.form import CanonicalForm, expand_exactly
from autorobustloss.losses.taylor.scale import Scale, split_rule
from autorobustloss.losses.writing import code, joined, number, to_latex
from autorobustloss.losses.writing.formats import module

SCALES = {
    "init": "C² / (d₀(1/C) − d₁(1/C))",
    "max": "1 / max |∂L/∂z_y| from uniform to certain predictions, L at s = 1",
    "geometric": "√(s_init · s_max)",
}


def as_text(form: CanonicalForm, scale: Scale = None) -> str:
    """Return the loss as plain text, coefficients to four digits.

    >>> print(as_text(CanonicalForm(a=(-1.0, 0.0, 0.0), b=(0.5, 0.0), k=0.0, log_weight=0.1), "init"))
    L = s/C · [Σₖ (0.25 ŷₖ²) − ŷ_y − 0.25 ŷ_y² − 0.1 log ŷ_y],  ŷ = softmax(z), y the label
    s = C² / (d₀(1/C) − d₁(1/C)),  d₁(ŷ) = −1 − 0.1 / ŷ,  d₀(ŷ) = 0.5 ŷ
    """
    lines = [f"L = {_factor(scale)}/C · [{_sum(form)}],  ŷ = softmax(z), y the label"]
    if isinstance(scale, str):
        log_slope = f"ŷ^{number(form.log_power - 1)}" if form.log_power else "/ ŷ"
        d1 = joined([*_powers([*form.a, form.k], 0, "ŷ"), (-form.log_weight, log_slope)])
        d0 = joined(_powers([*form.b, form.k], 1, "ŷ"))
        factor, rule = split_rule(scale)
        multiple = "" if factor == 1 else f"{number(factor)} · "
        lines.append(f"s = {multiple}{SCALES[rule]},  d₁(ŷ) = {d1},  d₀(ŷ) = {d0}")
    return "\n".join(lines)


def as_latex(form: CanonicalForm, scale: Scale = None) -> str:
    r"""Return the loss as LaTeX for math mode, coefficients to four digits.

    >>> print(as_latex(CanonicalForm(a=(-1.0, 0.0), b=(0.5,), k=0.0, log_weight=0.1)))
    \frac{1}{C} \left[ \sum_k (0.25 \hat{y}_k^{2}) - \hat{y}_y - 0.25 \hat{y}_y^{2} - 0.1 \log \hat{y}_y \right]
    """
    text = rf"\frac{{{_factor(scale)}}}{{C}} \left[ {to_latex(_sum(form))} \right]"
    if scale == "init":
        text += r", \quad s = \frac{C^2}{d_0(1/C) - d_1(1/C)}"
    return text


def as_code(form: CanonicalForm, theta: tuple[float, ...], scale: Scale, format: str = "torch") -> str:
    """Return a Python module with the loss as one function `loss`, for those who want no dependency but one library.

    It returns for class indices what the loss does; it takes `weight`, `ignore_index` and `reduction` too.
    """
    constant, per_label = expand_exactly(theta)[:2]
    others, label = form.integrals()
    multiple, rule = split_rule(str(scale))
    body = code(
        Path(__file__).with_name("rows.py.j2"),
        form=form,
        others=others if any(others) else [],
        label=label,
        per_class=float(constant[0]),
        constant=float(per_label[0] + sum(constant[1:])),
        factor=scale or 1.0,
        multiple=multiple,
        rule=rule,
        nested=_nested,
    )
    if format == "torch":
        body += "\n\nlearned_loss = loss  # its name in files of earlier versions\n"
    title = "A classification loss for noisy labels, learned with autorobustloss."
    return module(format, body, title=title, formula=as_text(form, scale))


def _sum(form: CanonicalForm) -> str:
    """Return the terms of the loss, but for their factor and a constant."""
    others, label = form.integrals()
    sum_ = [(1.0, f"Σₖ ({joined(_powers(others, 2, 'ŷₖ'))})")] if any(others) else []
    q = form.log_power
    log_term = (-form.log_weight / q, f"ŷ_y^{number(q)}") if q else (-form.log_weight, "log ŷ_y")
    return joined([*sum_, *_powers(label, 1, "ŷ_y"), log_term])


def _factor(scale: Scale) -> str:
    return "1" if scale is None else "s" if isinstance(scale, str) else number(scale)


def _powers(coefficients: Sequence[float], first: int, symbol: str) -> list[tuple[float, str]]:
    superscript = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    symbols = {0: "", 1: symbol}
    return [(v, symbols.get(n, symbol + str(n).translate(superscript))) for n, v in enumerate(coefficients, first)]


def _nested(coefficients: Sequence[float], x: str) -> str:
    """Write c₀ + c₁x + … by Horner's rule."""
    while coefficients[1:] and not coefficients[-1]:
        coefficients = coefficients[:-1]
    text = repr(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        text = f"{coefficient!r} + {x} * ({text})"
    return text
