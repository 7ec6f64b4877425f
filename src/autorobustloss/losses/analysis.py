"""What a loss does, before and without training: curves, minima, gradients, symmetry, and the screen of candidates.

Everything here looks at predictions on lines through the simplex: one class has probability t, the C − 1 others share
the rest equally. The label is either that class ("label 1") or one of the others ("label 0").
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.polynomial.polynomial import polyint, polyval
from numpy.typing import NDArray

from autorobustloss.errors import ConfigError
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.gated.module import GatedLoss
from autorobustloss.losses.taylor.form import CanonicalForm
from autorobustloss.losses.taylor.module import TaylorLoss
from autorobustloss.losses.taylor.scale import SMALLEST
from autorobustloss.seeding import numpy_generator

Array = NDArray[np.float64]

EDGE = 1e-6
"""Probabilities are kept this far from 0 and 1, where many losses have no finite value."""

STIFFNESS = 15.0
"""The screen rejects a loss whose gradient grows so many times more than that of mean absolute error.

A rule of thumb from 41 random canonical losses at scale="init" (digits, a small MLP, SGD at 0.1, 0.01, 0.001): of the
four above 15, three stayed at chance at every learning rate and one learnt at 0.001 alone.
"""


@dataclass(frozen=True)
class Line:
    """A loss along a line of predictions: its value, its slope in t, its gradient in the logit of the class at t."""

    value: Array
    slope: Array
    gradient: Array


def along_line(loss: RobustLoss, t: Array, num_classes: int, labelled: bool) -> Line:
    """Evaluate any loss where one class has probability t, shape (n,), and the others share the rest.

    It is taken as it is before training. Of a loss whose weights are taken as constants the value is what its gradient
    adds up to along the line, from 0.

    labelled: whether that class is the label; if not, one of the others is.
    """
    t = np.clip(np.asarray(t, dtype=np.float64), EDGE, 1 - EDGE)
    p = torch.from_numpy(np.repeat((1 - t)[:, None] / (num_classes - 1), num_classes, axis=1))
    p[:, 0] = torch.from_numpy(t)
    logits = p.log().requires_grad_()
    labels = torch.full((len(t),), 0 if labelled else 1)
    double = _double(loss, num_classes)
    # Points of a line are no batch.
    parts = 1 if loss.batchwise else len(t)
    value = torch.cat([double.hard(z, y) for z, y in zip(logits.split(parts), labels.split(parts))])
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    g = gradient.numpy()
    slope = g[:, 0] / t - g[:, 1:].sum(axis=1) / (1 - t)  # ∂ log ŷ/∂t is 1/t for the class, −1/(1−t) for the others
    if loss.detached:
        return Line(np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2 * np.diff(t))]), slope, g[:, 0])
    return Line(value.detach().numpy(), slope, g[:, 0])


def curves(loss: RobustLoss, num_points: int = 201, class_wise: bool = True) -> dict[str, Array]:
    """Return the loss against the predicted probability, for label 1 and label 0, as in Figure 2 of the paper.

    Keys: "probability", from 0 to 1; "value_1", "value_0"; "gradient_1", "gradient_0", the slopes in the probability.
    A Taylor loss is drawn class by class: ℓ(ŷ, 1) and ℓ(ŷ, 0), unscaled. Softmax leaves open a multiple of ŷ that is
    common to both; it is chosen such that the two labels pull equally hard at ŷ = 1/2, so that equal losses look
    equal. Any other loss is drawn for two classes, ŷ being the prediction for the class that is the label, or is not.

    >>> table = curves(TaylorLoss([0, 0, 0, 0, -1]), num_points=3)  # mean absolute error
    >>> table["gradient_1"].tolist(), table["gradient_0"].tolist()
    ([-0.5, -0.5, -0.5], [0.5, 0.5, 0.5])
    """
    t = np.linspace(0, 1, num_points)
    if class_wise and isinstance(loss, TaylorLoss):
        lines = _class_curves(loss.canonical(), t)
    else:
        lines = {label: along_line(loss, t, 2, labelled=bool(label)) for label in (1, 0)}
    table = {"probability": t}
    table.update({f"value_{label}": line.value for label, line in lines.items()})
    table.update({f"gradient_{label}": line.slope for label, line in lines.items()})
    return table


def _class_curves(form: CanonicalForm, t: Array) -> dict[int, Line]:
    p = np.clip(t, EDGE, 1 - EDGE)
    common = -(form.d1(0.5) + form.d0(0.5)) / 2
    slopes = {1: form.d1(p) + common, 0: form.d0(p) + common}
    polynomials = {1: (*form.a, form.k), 0: (0.0, *form.b, form.k)}
    values = {label: common * p + polyval(p, polyint(slope)) for label, slope in polynomials.items()}
    values[1] = values[1] - form.log_weight * form.log_term(p)
    return {label: Line(values[label], slopes[label], slopes[label]) for label in (1, 0)}


def soft_targets(loss: RobustLoss, num_classes: int) -> tuple[float, float]:
    """Return where the loss is least: the probability of the label, and that of a class that is not the label.

    Losses that ask for certainty have (1, 0). A loss that is content earlier fits a wrong label less (the paper's
    second conjecture, section 4.2).
    """
    found = []
    for labelled in (True, False):
        low, high = 0.0, 1.0
        for _ in range(2):  # a grid, then a finer one around its best point
            t = np.linspace(low, high, 1001)
            best = t[np.argmin(along_line(loss, t, num_classes, labelled).value)]
            step = t[1] - t[0]
            low, high = max(best - step, 0.0), min(best + step, 1.0)
        found.append(round(float(best), 5))
    return found[0], found[1]


def symmetry_gap(loss: RobustLoss, num_classes: int, num_samples: int = 256) -> float:
    """Return max − min of Σ_k ℓ(ŷ, k) over predictions ŷ: the corners and seeded draws from two Dirichlets.

    Zero for a symmetric loss, which symmetric label noise below (C−1)/C leaves with the same minimiser (Ghosh, Kumar,
    Sastry, AAAI 2017). In units of the loss; probabilities end at 1e-6, so that an unbounded loss has a number too.
    """
    draws = numpy_generator("symmetry gap", num_classes)
    ones = np.ones(num_classes)
    samples = [draws.dirichlet(ones, num_samples), draws.dirichlet(0.1 * ones, num_samples), np.eye(num_classes)]
    p = torch.from_numpy(np.clip(np.concatenate([*samples, [ones / num_classes]]), EDGE, 1))
    logits = (p / p.sum(1, keepdim=True)).log()
    with torch.no_grad():
        double = _double(loss, num_classes)
        labels = torch.arange(num_classes).unsqueeze(1).expand(-1, len(p))
        sums = torch.stack([double.hard(logits, label) for label in labels]).sum(0)
    return float(sums.max() - sums.min())


def properties(loss: RobustLoss, num_classes: int = 10) -> dict[str, float]:
    """Return numbers that characterise any loss at C classes.

    start_gradient: pull towards the label at uniform predictions, cross-entropy being 1.
    max_gradient: largest |∂L/∂z_label| from uniform to certain predictions (cross-entropy: 1 − 1/C).
    soft_target_label, soft_target_other: see `soft_targets`.
    mistake_gradient_90, mistake_gradient_99: ∂L/∂z of a wrong class predicted with probability 0.9 and 0.99, over the
        gradient at the start: how hard the loss corrects a confident contradiction of the label (cross-entropy: about
        1), negative where it strengthens the prediction instead.
    symmetry_gap: see `symmetry_gap`, over the gradient at the start; not there for a loss whose weights are taken as
        constants, of which it is no property.
    """
    uniform = np.array([1 / num_classes])
    start = -float(along_line(loss, uniform, num_classes, labelled=True).gradient[0])
    unit = abs(start) / (1 - 1 / num_classes) or 1.0
    path = along_line(loss, np.linspace(1 / num_classes, 1, 1001), num_classes, labelled=True)
    mistakes = along_line(loss, np.array([0.9, 0.99]), num_classes, labelled=False).gradient
    label, other = soft_targets(loss, num_classes)
    return {
        "start_gradient": start / (1 - 1 / num_classes),
        "max_gradient": float(np.abs(path.gradient).max()),
        "soft_target_label": label,
        "soft_target_other": other,
        "mistake_gradient_90": float(mistakes[0]) / unit,
        "mistake_gradient_99": float(mistakes[1]) / unit,
        **({} if loss.detached else {"symmetry_gap": symmetry_gap(loss, num_classes) / unit}),
    }


@dataclass(frozen=True)
class Verdict:
    """Whether a candidate is worth training, and if not, why."""

    ok: bool
    reason: str = ""


def screen(candidate: RobustLoss | CanonicalForm | Iterable[float], class_counts: Iterable[int]) -> Verdict:
    """Judge a gated loss, or a Taylor loss (its form, its θ) for data sets of these class counts; never raises.

    A gated loss has a bounded pull to the label by construction; rejected is one that believes a contradicted label
    more than a confirmed one.

    Of Taylor losses rejected are: parameters that are no finite numbers; a negative log weight, which has no lower
    bound; a loss that does not pull towards the label at uniform predictions, d₀(1/C) ≤ d₁(1/C); and a loss whose
    gradient grows more than 15 times as much as that of mean absolute error (which grows by C²/4(C−1), and at least
    1), because any learning rate then is too small for the start or too large for the rest.

    >>> screen([0, 0, 0, 0, 1], [10]).reason
    'does not pull towards the label at the start, for 10 classes'
    """
    if isinstance(candidate, GatedLoss):
        contradicted = float(candidate.belief(0.01, 0.98))
        certain = f"believes a label that is contradicted {contradicted:.3g} times as much as one that is confirmed"
        return Verdict(False, certain) if contradicted > 1 else Verdict(True)
    try:
        form = _form(candidate)
    except ConfigError as error:
        return Verdict(False, str(error))
    if form.log_weight < 0:
        return Verdict(False, f"the log weight {form.log_weight:g} is negative: the loss has no lower bound")
    for num_classes in class_counts:
        if not form.bracket(num_classes) > 2 * num_classes**2 * SMALLEST:  # so that its gradient is above, too
            return Verdict(False, f"does not pull towards the label at the start, for {num_classes} classes")
        growth, limit = stiffness(form, num_classes), STIFFNESS * stiffness(MAE, num_classes)
        if not growth <= limit:
            return Verdict(
                False, f"its gradient grows {growth:.3g} times, for {num_classes} classes (limit {limit:.3g})"
            )
    return Verdict(True)


def stiffness(form: CanonicalForm, num_classes: int) -> float:
    """Return the largest gradient in a logit, along both lines, over the gradient in the label's logit at the start."""
    t = np.concatenate([np.linspace(0, 1, 1002)[1:-1], [1 / num_classes]])
    s = (1 - t) / (num_classes - 1)
    with np.errstate(over="ignore", invalid="ignore"):
        right = t * (1 - t) * (form.d1(t) - form.d0(s))
        mean = t * form.d0(t) + s * form.d1(s) + (num_classes - 2) * s * form.d0(s)
        wrong = np.stack([t * (form.d0(t) - mean), s * (form.d1(s) - mean)])
        return float(max(np.abs(right).max(), np.abs(wrong).max()) / np.abs(right[-1]))


MAE = CanonicalForm(a=(-1.0,), b=(), k=0.0)
"""Mean absolute error, up to scale: ℓ = −ŷ at the label."""


def _double(loss: RobustLoss, num_classes: int) -> RobustLoss:
    return copy.deepcopy(loss.at_start(num_classes)).to("cpu", torch.float64)


def _form(candidate: RobustLoss | CanonicalForm | Iterable[float]) -> CanonicalForm:
    if isinstance(candidate, CanonicalForm):
        return candidate
    if isinstance(candidate, TaylorLoss):
        return candidate.canonical()
    if isinstance(candidate, RobustLoss):
        raise ConfigError(f"got {type(candidate).__name__}, expected a loss of a family that is searched")
    return CanonicalForm.from_theta(candidate)


def triangle(loss: GatedLoss, num_points: int = 101) -> tuple[Array, Array]:
    """Return what a gated loss makes of predictions: probabilities (n,), and weights (n, n), NaN where p + m > 1.

    weights[i, j] is w = min(1, b) at p = probabilities[j] of the label and m = probabilities[i] of the strongest other
    class: the weight where all other samples of the label are believed fully (b̄ = 1) and the gate is open (g = 1).
    """
    t = np.linspace(0, 1, num_points)
    p, m = np.meshgrid(t, t)
    weight = np.minimum(loss.belief(np.clip(p, EDGE, 1 - EDGE), np.clip(m, EDGE, 1 - EDGE)), 1.0)
    return t, np.where(p + m <= 1 + 1e-9, weight, np.nan)
