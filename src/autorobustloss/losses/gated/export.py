"""A gated loss written out: as text, as LaTeX, and as PyTorch code that needs nothing but PyTorch."""

from __future__ import annotations

from pathlib import Path

from autorobustloss.losses.gated.core import Gate
from autorobustloss.losses.writing import code, joined, number, to_latex

SYMBOLS = ("u", "m", "u²", "u m", "m²")


def as_text(gate: Gate) -> str:
    """Return a gated loss as plain text, numbers to four digits.

    >>> from autorobustloss.losses.gated.core import Gate
    >>> print(as_text(Gate(q=0.5, r=2.0, progress=3.0)).splitlines()[0])
    L = mean of w · (−log p),  w = min(1, b / b̄)^g,  b = p^0.5 (1 − m)^2,  g = min(1, 3 d)
    """
    fading = "" if gate.progress is None else f",  g = min(1, {number(gate.progress)} d)"
    power = "" if gate.progress is None else "^g"
    ce = "CE_ε" if gate.smoothing else "(−log p)"
    lines = [f"L = mean of w · {ce},  w = min(1, b / b̄){power},  b = {_belief(gate)}{fading}"]
    if gate.smoothing:
        lines.append(
            f"CE_ε = (1 − ε) (−log p) + ε (mean of −log p_c over all classes c),  ε = {number(gate.smoothing)}"
        )
    if gate.pace:
        divisor = "mean w" if gate.pace == 1 else f"(mean w)^{number(gate.pace)}"
        lines.append(f"w is divided by {divisor}, the mean over the batch")
    corrected = f", after softmax(z − {number(gate.prior)} log π), π the label frequencies" if gate.prior else ""
    polynomial = ", u = 1 − p" if any(gate.terms) else ""
    surprise = "" if gate.progress is None else ", d: of max(0, m − p) over all"
    return "\n".join(
        [
            *lines,
            f"p: probability of the label, m: of the strongest other class{corrected}{polynomial}",
            f"b̄: running mean of b over the samples of the same label{_counting(gate)}{surprise}",
            "no gradient flows through w",
        ]
    )


def as_latex(gate: Gate) -> str:
    r"""Return a gated loss as LaTeX for math mode, numbers to four digits.

    >>> from autorobustloss.losses.gated.core import Gate
    >>> print(as_latex(Gate(q=0.5, r=0.0)))
    -\frac{1}{N} \sum_i \min\left(1, \frac{b_i}{\bar{b}_{y_i}}\right) \log p_i, \quad b = p^{0.5}
    """
    power = "" if gate.progress is None else "^{g}"
    weight = rf"\min\left(1, \frac{{b_i}}{{\bar{{b}}_{{y_i}}}}\right){power}"
    log_p = r"\log p_i"
    if gate.smoothing:
        epsilon = to_latex(number(gate.smoothing))
        log_p = rf"\left((1 - {epsilon}) \log p_i + \frac{{{epsilon}}}{{C}} \sum_c \log p_{{ic}}\right)"
    text = rf"-\frac{{1}}{{N}} \sum_i {weight} {log_p}, \quad b = {to_latex(_belief(gate))}"
    if gate.own:
        more, own = (to_latex(number(power)) for power in (1 + gate.own, gate.own))
        text += rf", \quad \bar{{b}} = \frac{{\sum b^{{{more}}}}}{{\sum b^{{{own}}}}}".replace("^{1}", "")
    if any(gate.terms):
        text += r", \quad u = 1 - p"
    if gate.progress is not None:
        text += rf", \quad g = \min(1, {to_latex(number(gate.progress))} d)"
    if gate.prior:
        text += rf", \quad p, m \text{{ of }} \mathrm{{softmax}}(z - {to_latex(number(gate.prior))} \log \pi)"
    if gate.pace:
        text += rf", \quad w \to w / \bar{{w}}^{{{to_latex(number(gate.pace))}}}"
    return text


def _counting(gate: Gate) -> str:
    """Return how often a sample counts in b̄, if not once."""
    if not gate.own:
        return ""
    return ", each counted " + ("b times" if gate.own == 1 else f"b^{number(gate.own)} times")


def _belief(gate: Gate) -> str:
    """Return the factors of b that are not 1."""
    bases = (("p", gate.q), ("(1 − m)", gate.r), ("(p / (p + m))", gate.odds))
    factors = [base if power == 1 else f"{base}^{number(power)}" for base, power in bases if power]
    polynomial = joined(zip(gate.terms, SYMBOLS))
    return " ".join(factors if polynomial == "0" else [*factors, f"exp({polynomial})"]) or "1"


def as_code(gate: Gate) -> str:
    """Return a Python module with the loss as one `torch.nn.Module`, for those who want no dependency but PyTorch.

    `LearnedLoss()(input, target)` returns for class indices what the gated loss does, state included; `loss` is one.
    """
    return code(Path(__file__).with_name("learned_loss.py.j2"), formula=as_text(gate), gate=gate)
