"""A Taylor loss written out: as text, as LaTeX, and as PyTorch code that needs nothing but PyTorch.

Text and LaTeX show the canonical form: constants, and what cancels under softmax, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

from autorobustloss.losses.taylor.form import CanonicalForm, expand_exactly
from autorobustloss.losses.taylor.scale import Scale, split_rule

Terms = list[tuple[float, str]]
"""Coefficients and the symbols they multiply ("" for none)."""

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
    others, label = form.integrals()
    sum_ = [(1.0, f"Σₖ ({joined(_powers(others, 2, 'ŷₖ'))})")] if any(others) else []
    total = joined([*sum_, *_powers(label, 1, "ŷ_y"), _log_term(form)])
    lines = [f"L = {_factor(scale)}/C · [{total}],  ŷ = softmax(z), y the label"]
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
    others, label = form.integrals()
    inner = joined(_powers(others, 2, r"\hat{y}_k", latex=True), latex=True)
    terms = [*_powers(label, 1, r"\hat{y}_y", latex=True), _log_term(form, latex=True)]
    total = joined([(1.0, rf"\sum_k ({inner})"), *terms] if any(others) else terms, latex=True)
    text = rf"\frac{{{_factor(scale)}}}{{C}} \left[ {total} \right]"
    if scale == "init":
        text += r", \quad s = \frac{C^2}{d_0(1/C) - d_1(1/C)}"
    return text


def as_code(form: CanonicalForm, theta: tuple[float, ...], scale: Scale) -> str:
    """Return a Python module with the loss as one function, for those who want no dependency but PyTorch.

    `learned_loss(input, target)` returns for class indices what the loss does; it takes `weight`, `ignore_index` and
    `reduction` too.
    """
    exact = expand_exactly(theta)
    others, label = form.integrals()
    multiple, name = split_rule(str(scale))
    rule = {"init": "init", "max": "top", "geometric": "(init * top) ** 0.5"}.get(name)
    per_class, constant = float(exact[0][0]), float(exact[1][0] + sum(exact[0][1:]))
    return _template("learned_loss").substitute(
        formula=as_text(form, scale).replace("\n", "\n    "),
        scale=_template("scale").substitute(
            d1=f"{_nested((*form.a, form.k), 'x')} - {form.log_weight!r} * x ** {form.log_power - 1!r}",
            d0=_nested((0.0, *form.b, form.k), "x"),
            rule=rule if multiple == 1 else f"{multiple!r} * {rule}",
        )
        if rule
        else "",
        others=f"    p = log_p.exp()\n    rows = rows + (p * p * ({_nested(others, 'p')})).sum(dim=1)\n"
        if any(others)
        else "",
        label=_nested(label, "p_label"),
        log_term=_log_code(form),
        constant=f" + ({per_class!r} * num_classes + {constant!r})" if per_class or constant else "",
        factor="scale(num_classes)" if rule else repr(scale or 1.0),
    )


def _template(name: str) -> Template:
    return Template(Path(__file__).with_name(f"{name}.py.template").read_text(encoding="utf-8"))


def _log_code(form: CanonicalForm) -> str:
    if not form.log_weight:
        return ""
    q = form.log_power
    term = f"{form.log_weight / q!r} * torch.expm1({q!r} * " if q else f"{form.log_weight!r} * ("
    return f" - {term}log_p_label)"


def _log_term(form: CanonicalForm, latex: bool = False) -> tuple[float, str]:
    """Return the log term without its constant: −α log ŷ_y, or −(α/q) ŷ_y^q."""
    symbol = r"\hat{y}_y" if latex else "ŷ_y"
    if not form.log_power:
        return -form.log_weight, rf"\log {symbol}" if latex else f"log {symbol}"
    power = number(form.log_power)
    return -form.log_weight / form.log_power, f"{symbol}^{{{power}}}" if latex else f"{symbol}^{power}"


def _factor(scale: Scale) -> str:
    return "1" if scale is None else "s" if isinstance(scale, str) else number(scale)


def _powers(coefficients: Sequence[float], first: int, symbol: str, latex: bool = False) -> Terms:
    superscript = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    terms = []
    for power, coefficient in enumerate(coefficients, first):
        exponent = f"^{{{power}}}" if latex else str(power).translate(superscript)
        terms.append((coefficient, "" if power == 0 else symbol if power == 1 else symbol + exponent))
    return terms


def joined(terms: Terms, latex: bool = False) -> str:
    """Return a sum of coefficients times symbols as text."""
    text = ""
    for coefficient, symbol in terms:
        size = number(abs(coefficient), latex)
        if size == "0":
            continue
        sign = ("-" if latex else "−") if coefficient < 0 else "+"
        shown = symbol if size == "1" and symbol and not symbol.startswith("/") else f"{size} {symbol}".strip()
        text += f" {sign} {shown}" if text else shown if sign == "+" else sign + shown
    return text or "0"


def number(value: float, latex: bool = False) -> str:
    """Return a number to four digits."""
    text = f"{value:.4g}"
    return re.sub(r"e([+-])0*(\d+)", lambda m: rf" \cdot 10^{{{m[1].strip('+')}{m[2]}}}", text) if latex else text


def _nested(coefficients: Sequence[float], x: str) -> str:
    """Write c₀ + c₁x + … by Horner's rule."""
    while coefficients[1:] and not coefficients[-1]:
        coefficients = coefficients[:-1]
    text = repr(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        text = f"{coefficient!r} + {x} * ({text})"
    return text
