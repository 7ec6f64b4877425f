"""A gated loss written out: as text, as LaTeX, and as PyTorch code that needs nothing but PyTorch."""

from __future__ import annotations

from string import Template
from typing import TYPE_CHECKING

from autorobustloss.losses.taylor.export import joined, number

if TYPE_CHECKING:
    from autorobustloss.losses.gated.core import Gate

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
    return _CODE.substitute(
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
        pace=_PACE.substitute(pace=repr(gate.pace)) if gate.pace else "",
    )


_CODE = Template('''"""A classification loss for noisy labels, learned with autorobustloss.

    $formula
"""

import torch
import torch.nn.functional as F


class LearnedLoss(torch.nn.Module):
    """The loss of logits (N, C) or (N, C, d1, ...) for class indices (N,) or (N, d1, ...).

    weight (C,), ignore_index and reduction ("mean", "sum", "none") are those of `torch.nn.CrossEntropyLoss`. A call
    in training mode remembers its batch; in evaluation mode, and under `torch.no_grad`, what is remembered is used and
    left alone, or else the batch's own. Use a new one for each training.
    """

    def __init__(self, weight=None, ignore_index=-100, reduction="mean"):
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"got reduction={reduction!r}, expected mean, sum or none")
        self.weight, self.ignore_index, self.reduction = weight, ignore_index, reduction
        self.classes = 0

    def forward(self, input, target):
        ignored = (target == self.ignore_index).reshape(-1)
        logits = input.movedim(1, -1).reshape(-1, input.shape[1])
        logits = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
        label = target.reshape(-1).long().masked_fill(ignored, 0)
        log_p_all = F.log_softmax(logits.masked_fill(ignored.unsqueeze(1), 0), dim=1)
        values = -log_p_all.gather(1, label.unsqueeze(1)).squeeze(1)
        training = self.training and torch.is_grad_enabled()
        w = self.weights(log_p_all.detach(), label, (~ignored).to(values.dtype), training)
        rows = torch.where(w > 0, w * values, 0.0)
        factors = (~ignored).to(rows.dtype)
        if self.weight is not None:
            factors = factors * self.weight.to(rows)[label]
        rows = rows * factors
        if self.reduction == "none":
            return rows.reshape(target.shape)
        return rows.sum() if self.reduction == "sum" else rows.sum() / factors.sum().clamp_min(1e-30)

    def weights(self, log_p_all, label, counted, training):
        """Return the weight of each sample; counted: 1 for a sample that is not ignored, else 0."""
        classes = log_p_all.shape[1]
        memory = {name: value for name, value in vars(self).items() if isinstance(value, torch.Tensor)}
        learning = training or classes != self.classes
        if classes != self.classes:
            none = log_p_all.new_zeros(classes)
            self.beliefs, self.counts, self.labels = none, none, none
            self.agreed, self.seen = none.sum(), none.sum()
        n = torch.zeros_like(self.labels).index_add(0, label, counted)
        self.labels = self.labels + n if learning else self.labels
        log_p_all = $corrected
        log_p = log_p_all.gather(1, label.unsqueeze(1)).squeeze(1)
        log_m = log_p_all.scatter(1, label.unsqueeze(1), -torch.inf).amax(1)
        finite, u, m = log_p.clamp_min(-1e20), -torch.expm1(log_p), log_m.exp()
        log_b = $q * finite + $r * torch.maximum((-torch.expm1(log_m)).clamp_min(0).log(), finite)
        log_b = (log_b + $polynomial).clamp(-60.0, 60.0)$masked
        if learning:
            fading = (1 - 1 / 64) ** n
            b = log_b.exp().nan_to_num(0.0) * counted
            self.beliefs = self.beliefs * fading + torch.zeros_like(n).index_add(0, label, b)
            self.counts = self.counts * fading + n
            fading = (1 - 1 / 4096) ** counted.sum()
            self.agreed = self.agreed * fading + ((log_p > log_m) * counted).sum()
            self.seen = self.seen * fading + counted.sum()
        mean = (self.beliefs / self.counts.clamp_min(1e-30)).log().clamp_min(-60.0)[label]
        w = ((log_b - mean).clamp(min=-1e20, max=0.0) * $power).exp()$pace
        if training:
            self.classes = classes
        else:
            vars(self).update(memory)
        return w
''')

_PACE = Template("""
        w = w / ((w * counted).sum() / counted.sum().clamp_min(1)).clamp_min(1e-30) ** $pace""")
