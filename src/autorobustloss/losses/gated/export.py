"""A gated loss written out: as text, as LaTeX, and as PyTorch code that needs nothing but PyTorch."""

from __future__ import annotations

from pathlib import Path
from string import Template

from autorobustloss.losses.gated.core import Gate
from autorobustloss.losses.taylor.export import joined, number

SYMBOLS = ("u", "m", "u²", "u m", "m²")
LATEX = ("u", "m", "u^{2}", "u m", "m^{2}")


def as_text(gate: Gate) -> str:
    """Return a gated loss as plain text, numbers to four digits.

    >>> from autorobustloss.losses.gated.core import Gate
    >>> print(as_text(Gate(q=0.5, r=2.0, progress=3.0)).splitlines()[0])
    L = mean of w · (−log p),  w = min(1, b / b̄)^g,  b = p^0.5 (1 − m)^2,  g = min(1, 3 (1 − a))
    """
    fading = "" if gate.progress is None else f",  g = min(1, {number(gate.progress)} (1 − a))"
    power = "" if gate.progress is None else "^g"
    belief = " ".join(_factors(gate, "p^{}", "(1 − m)^{}", "exp({})", SYMBOLS)) or "1"
    lines = [f"L = mean of w · (−log p),  w = min(1, b / b̄){power},  b = {belief}{fading}"]
    if gate.pace:
        divisor = "mean w" if gate.pace == 1 else f"(mean w)^{number(gate.pace)}"
        lines.append(f"w is divided by {divisor}, the mean over the batch")
    corrected = f", after softmax(z − {number(gate.prior)} log π), π the label frequencies" if gate.prior else ""
    polynomial = ", u = 1 − p" if any(gate.terms) else ""
    agreement = "" if gate.progress is None else ", a: running share of samples predicted as labelled"
    return "\n".join(
        [
            *lines,
            f"p: probability of the label, m: of the strongest other class{corrected}{polynomial}",
            f"b̄: running mean of b over the samples of the same label{agreement}; no gradient flows through w",
        ]
    )


def as_latex(gate: Gate) -> str:
    r"""Return a gated loss as LaTeX for math mode, numbers to four digits.

    >>> from autorobustloss.losses.gated.core import Gate
    >>> print(as_latex(Gate(q=0.5, r=0.0)))
    -\frac{1}{N} \sum_i \min\left(1, \frac{b_i}{\bar{b}_{y_i}}\right) \log p_i, \quad b = p^{0.5}
    """
    belief = " ".join(_factors(gate, "p^{{{}}}", "(1 - m)^{{{}}}", r"\exp({})", LATEX, latex=True)) or "1"
    power = "" if gate.progress is None else "^{g}"
    weight = rf"\min\left(1, \frac{{b_i}}{{\bar{{b}}_{{y_i}}}}\right){power}"
    text = rf"-\frac{{1}}{{N}} \sum_i {weight} \log p_i, \quad b = {belief}"
    if any(gate.terms):
        text += r", \quad u = 1 - p"
    if gate.progress is not None:
        text += rf", \quad g = \min(1, {number(gate.progress, latex=True)} (1 - a))"
    if gate.prior:
        text += rf", \quad p, m \text{{ of }} \mathrm{{softmax}}(z - {number(gate.prior, latex=True)} \log \pi)"
    if gate.pace:
        text += rf", \quad w \to w / \bar{{w}}^{{{number(gate.pace, latex=True)}}}"
    return text


def _factors(
    gate: Gate, of_p: str, of_m: str, exponential: str, symbols: tuple[str, ...], latex: bool = False
) -> list[str]:
    """Return the factors of b that are not 1."""
    factors = [form.format(number(power, latex)) for form, power in ((of_p, gate.q), (of_m, gate.r)) if power]
    polynomial = joined(list(zip(gate.terms, symbols)), latex)
    return factors if polynomial == "0" else [*factors, exponential.format(polynomial)]


def as_code(gate: Gate) -> str:
    """Return a Python module with the loss as one `torch.nn.Module`, for those who want no dependency but PyTorch.

    `LearnedLoss()(input, target)` returns for class indices what the gated loss does, state included.
    """
    q, r, (u, m, uu, um, mm) = gate.q, gate.r, gate.terms
    polynomial = f"u * ({u!r} + {uu!r} * u + {um!r} * m) + m * ({m!r} + {mm!r} * m)" if any(gate.terms) else "0.0"
    return Template(Path(__file__).with_name("learned_loss.py.template").read_text(encoding="utf-8")).substitute(
        formula=as_text(gate).replace("\n", "\n    "),
        q=repr(q),
        r=repr(r),
        polynomial=polynomial,
        masked=".masked_fill(log_p < -1e20, -torch.inf)" if q else "",
        power=f"({gate.progress!r} * (1 - self.agreed / self.seen.clamp_min(1e-30))).clamp(max=1.0)"
        if gate.progress is not None
        else "1.0",
        corrected=f"F.log_softmax(log_p_all - {gate.prior!r} * (self.labels + 1).log(), dim=1)"
        if gate.prior
        else "log_p_all",
        pace=f"\n        w = w / ((w * counted).sum() / counted.sum().clamp_min(1)).clamp_min(1e-30) ** {gate.pace!r}"
        if gate.pace
        else "",
    )
