"""The arithmetic of the gated family: beliefs, weights, and cross-entropy under weights that are constants.

Notation: p is the probability of the label, m that of the strongest other class, u = 1 − p.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.errors import ConfigError
from autorobustloss.losses.base import MASKED, masked, smoothed
from autorobustloss.losses.closed import Plain, with_gradient
from autorobustloss.losses.modes import seen_through, transformed
from autorobustloss.losses.numbers import as_floats, within

TERMS = ("u", "m", "u²", "um", "m²")
"""What the polynomial's coefficients multiply, in order."""

LABEL_WINDOW = 64
"""Samples of a label that its mean belief looks back on: from 16 to 256 made no difference in training."""

SURPRISE_WINDOW = 4096
"""Samples that the mean surprise looks back on."""

SMALLEST = -60.0
"""Beliefs end at e to this and to minus this, so that sums of thousands, and their quotients, stay in float32."""


class Gate(NamedTuple):
    """The numbers of a gated loss, see `GatedLoss`."""

    q: float
    r: float
    terms: tuple[float, ...] = (0.0,) * len(TERMS)
    progress: float | None = None
    prior: float = 0.0
    pace: float = 0.0
    odds: float = 0.0
    own: float = 0.0
    smoothing: float = 0.0


class State(NamedTuple):
    """What a gated loss remembers of the samples it was trained on: (C,) each, and (2,).

    beliefs, counts: the sum of the beliefs in samples of a label, and of how often these count, in a window.
    labels: how often each label was seen. surprise: the sum of max(0, m − p), and the number of samples, in a window.
    """

    beliefs: Tensor
    counts: Tensor
    labels: Tensor
    surprise: Tensor

    @classmethod
    def empty(cls, classes: int, like: Tensor) -> State:
        """Return the state before the first sample."""
        return cls(*(like.new_zeros(count) for count in (classes, classes, classes, 2)))

    def after(self, beliefs: Tensor, counts: Tensor, seen: Tensor, surprise: Tensor) -> State:
        """Return the state after a batch: sums of beliefs, of their counts, numbers of samples, (C,); of surprise, ().

        A sample fades with the samples that come after its batch, so a batch that comes in parts leaves nearly the
        same state.
        """
        fading = torch.pow(1 - 1 / LABEL_WINDOW, seen)
        return State(
            self.beliefs * fading + beliefs,
            self.counts * fading + counts,
            self.labels + seen,
            self.surprise * torch.pow(1 - 1 / SURPRISE_WINDOW, seen.sum()) + torch.stack([surprise, seen.sum()]),
        )


def log_belief(log_p: Tensor, log_m: Tensor, gate: Gate) -> Tensor:
    """Return log b = q·log p + r·log(1 − m) + odds·log(p / (p + m)) + the terms of u = 1 − p and m.

    0 at the certain, right prediction. Kept in [−60, 60], except that a label that is masked (p = 0) is believed not at
    all if q > 0 or odds > 0.

    >>> half = torch.tensor(0.5).log()
    >>> log_belief(half, half, Gate(q=1.0, r=2.0)).exp()
    tensor(0.1250)
    """
    value = torch.zeros_like(log_p)
    finite = log_p.clamp_min(-1e20)
    if gate.q:
        value = value + gate.q * finite
    if gate.r:
        # 1 − m is at least p; near m = 1 that has the digits which the difference has lost.
        value = value + gate.r * torch.maximum((-torch.expm1(log_m)).clamp_min(0).log(), finite)
    if gate.odds:
        value = value - gate.odds * F.softplus(log_m.clamp_min(-1e20) - finite)
    if any(gate.terms):
        u, m = -torch.expm1(log_p), log_m.exp()
        of_u, of_m, of_uu, of_um, of_mm = gate.terms
        value = value + u * (of_u + of_uu * u + of_um * m) + m * (of_m + of_mm * m)
    value = value.clamp(SMALLEST, -SMALLEST)
    return value.masked_fill(masked(log_p), -torch.inf) if gate.q or gate.odds else value


def weights(log_b: Tensor, beliefs: Tensor, counts: Tensor, surprise: Tensor, gate: Gate) -> Tensor:
    """Return min(1, b / b̄)^g, with b̄ = beliefs / counts, 1 where nothing was counted, and g = min(1, κ·d).

    >>> beliefs, counts, surprise = torch.tensor(2.0), torch.tensor(4.0), torch.tensor([4.0, 4.0])
    >>> weights(torch.tensor([0.25, 0.5, 1.0]).log(), beliefs, counts, surprise, Gate(q=1.0, r=0.0))
    tensor([0.5000, 1.0000, 1.0000])
    """
    tiny = torch.finfo(log_b.dtype).tiny
    mean = (beliefs / counts.clamp_min(tiny)).log().clamp_min(SMALLEST)
    ratio = (log_b - mean).clamp(min=-1e20, max=0.0)
    if gate.progress is not None:
        ratio = ratio * (gate.progress * surprise[0] / surprise[1].clamp_min(tiny)).clamp(max=1.0)
    return ratio.exp()


class Prediction(NamedTuple):
    """What the network makes of each row: log p and log m, (M,), and all log-probabilities, (M, C).

    Those may have −∞ at the label, which is not looked at again.
    """

    log_p: Tensor
    log_m: Tensor
    log_all: Tensor


def predict(logits: Tensor, labels: Tensor) -> Prediction:
    """Return what logits, taken as constants, say of the labels: (M, C), (M,)."""
    logits, at_label = logits.detach(), labels.unsqueeze(1)
    if torch.compiler.is_compiling():  # in as few loops over the classes as cross-entropy
        largest, label = logits.amax(1, keepdim=True), logits.gather(1, at_label)
        # Where the label is alone at the top, the best below it; found by comparing numbers, which vectorises.
        below = torch.where(logits < label, logits, -torch.inf).amax(1, keepdim=True)
        alone = (logits >= label).to(logits.dtype).sum(1, keepdim=True) < 2
        log_sum = largest + (logits - largest).exp().sum(1, keepdim=True).log()
        strongest_other = torch.where(alone, below, largest)
        return Prediction((label - log_sum).squeeze(1), (strongest_other - log_sum).squeeze(1), logits - log_sum)
    rest = F.log_softmax(logits, dim=1)
    log_p = rest.gather(1, at_label).squeeze(1)
    rest = rest.scatter(1, at_label, -torch.inf) if transformed() else rest.scatter_(1, at_label, -torch.inf)
    return Prediction(log_p, rest.amax(1), rest)


def weighed_cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor, found: Prediction, counted: Tensor | None, smoothing: float = 0.0
) -> Tensor:
    """Return weight · (−log p) of each row, 0 where it does not count, weights taken as constants: (M, C), … -> (M,).

    found: what `predict` returns for the logits. smoothing ε: of −log p in favour of its mean over all classes that are
    not masked.
    """
    compiled = torch.compiler.is_compiling() and not transformed()
    if counted is not None and not compiled:
        weight = weight * counted
    plain = partial(_plain, labels=labels, weight=weight, smoothing=smoothing)
    if not compiled and (seen_through() or not (torch.is_grad_enabled() and logits.requires_grad)):
        return plain(logits)
    value, gradient = closed_form(labels, weight, found, smoothing)
    return with_gradient(logits, value, gradient, plain, counted)


def closed_form(
    labels: Tensor, weight: Tensor, found: Prediction, smoothing: float = 0.0, samples: int = 1
) -> tuple[Tensor, Tensor]:
    """Return weight · (−log p) and its gradient weight · (ŷ − target) / samples, from the log-probabilities found.

    found: what `predict` returns, whose log-probabilities are overwritten. target: onehot, or smoothed by ε.
    """
    if torch.compiler.is_compiling():
        value, gradient = _fused_form(labels, found, smoothing)
        return weighed(value, weight), gradient * (weight / samples).unsqueeze(1)
    at_label, value, least = labels.unsqueeze(1), -found.log_p, None
    if smoothing:
        log_all = found.log_all.scatter(1, at_label, found.log_p.unsqueeze(1))
        value = smoothed(found.log_p.unsqueeze(1), log_all, smoothing).squeeze(1)
        least = _each_share(log_all, smoothing)
    of_label = torch.expm1(found.log_p).unsqueeze(1)
    gradient = found.log_all.exp_().scatter_(1, at_label, of_label)
    if least is not None:
        gradient = (gradient - least).scatter_add(1, at_label, torch.full_like(of_label, smoothing))
    return weighed(value, weight), gradient.mul_((weight / samples).unsqueeze(1))


def _fused_form(labels: Tensor, found: Prediction, smoothing: float) -> tuple[Tensor, Tensor]:
    """Return −log p and ŷ − target in the form that compilers make as few loops of as of cross-entropy."""
    value, of_label, log_all = -found.log_p, torch.expm1(found.log_p).unsqueeze(1), found.log_all
    # A CPU compares int32 in vectors of as many numbers as float32, int64 in half as many.
    classes = torch.arange(log_all.shape[1], device=labels.device, dtype=torch.int32)
    gradient = torch.where(classes == labels.unsqueeze(1).int(), of_label + smoothing, log_all.exp())
    if smoothing:
        # 1 for a class, 0 where it is masked, by arithmetic: truth values would go through memory to the next pass.
        allowed = (log_all - MASKED).clamp(0, 1)
        least = smoothing / allowed.sum(1).clamp_min(1)
        value = (1 - smoothing) * value - least * (log_all.clamp_min(MASKED) * allowed).sum(1)
        gradient = gradient - least.unsqueeze(1) * allowed
    return value, gradient


def _each_share(log_p: Tensor, epsilon: float) -> Tensor:
    """Return ε over the number of classes that are not masked, 0 for those that are: (M, C)."""
    allowed = (~masked(log_p)).to(log_p.dtype)
    return epsilon * allowed / allowed.sum(1, keepdim=True).clamp_min(1)


def again(labels: Tensor, weight: Tensor, smoothing: float) -> Plain:
    """Return the mean of the weighted rows as a function of the logits, by plain operations."""
    return lambda logits: _plain(logits, labels, weight, smoothing).mean()


def _plain(logits: Tensor, labels: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    log_all = F.log_softmax(logits, dim=1)
    log_p = log_all.gather(1, labels.unsqueeze(1))
    return weighed((smoothed(log_p, log_all, smoothing) if smoothing else -log_p).squeeze(1), weight)


def weighed(values: Tensor, weight: Tensor) -> Tensor:
    """Return weight · value; 0 where the weight is 0, even of an infinite value."""
    return (weight * values).masked_fill(weight == 0, 0.0)


def check_gate(**numbers: Any) -> Gate:
    """Return the numbers of a gated loss; raise ConfigError for what is out of range."""
    terms = as_floats(numbers["terms"], "terms")
    if len(terms) != len(TERMS):
        raise ConfigError(f"got {len(terms)} terms, expected {len(TERMS)}, the coefficients of {', '.join(TERMS)}")
    known: dict[str, Any] = {"terms": terms}
    for name in ("q", "r", "prior", "odds", "own"):
        known[name] = within(name, numbers[name], smallest=0, at_least=0)
    for name in ("pace", "smoothing"):
        known[name] = within(name, numbers[name], smallest=0, at_least=0, at_most=1)
    progress = numbers["progress"]
    known["progress"] = None if progress is None else within("progress", progress, smallest=0, above=0)
    return Gate(**known)
