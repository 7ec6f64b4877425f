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
from autorobustloss.losses.base import masked, smoothed
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
    def of(cls, memory: Tensor) -> State:
        """Return a state, and what is written into it written into the memory: (3C + 2,)."""
        classes = len(memory) // 3
        return cls(*memory.split((classes, classes, classes, 2)))

    def memory(self) -> Tensor:
        """Return all of it in one tensor, as modules keep it: (3C + 2,)."""
        return torch.cat(self)

    def after(self, beliefs: Tensor, counts: Tensor, seen: Tensor, surprise: Tensor) -> State:
        """Return the state after a batch: sums of beliefs, of their counts, numbers of samples, (C,); of surprise, ().

        A sample fades with the samples that come after its batch, so a batch that comes in parts leaves nearly the
        same state.
        """
        number, fading = seen.sum(), torch.pow(1 - 1 / LABEL_WINDOW, seen)
        # Compilers make memory of what is stacked, of what is padded not.
        surprise, total = F.pad(surprise.unsqueeze(0), (0, 1)), F.pad(number.unsqueeze(0), (1, 0))
        return State(
            self.beliefs * fading + beliefs,
            self.counts * fading + counts,
            self.labels + seen,
            self.surprise * torch.pow(1 - 1 / SURPRISE_WINDOW, number) + surprise + total,
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


def contributions(log_p: Tensor, log_m: Tensor, log_b: Tensor, share: Tensor, gate: Gate) -> tuple[Tensor, ...]:
    """Return what each label adds, belief and count, (…) each, and what all of them add to the surprise, ().

    share: how much a label counts, 0 for one that does not. What is no number counts as 0, so that a batch that
    overflowed, and was skipped, is forgotten.
    """
    belief = _numbers(log_b.exp())
    times: Tensor | float = 1.0
    if gate.own:
        times = belief if gate.own == 1 else _numbers((gate.own * log_b.clamp_min(-1e20)).exp())
    count = (share * times).masked_fill(share == 0, 0.0)
    surprise = _numbers((log_m.exp() - log_p.exp()).clamp_min(0))
    return belief * count, count, (surprise * share).masked_fill(share == 0, 0.0).sum()


def learnt(
    state: State, log_p: Tensor, log_m: Tensor, log_b: Tensor, labels: Tensor, share: Tensor, gate: Gate
) -> State:
    """Return the state after a batch of labels, (M,), each of which counts by its share, 0 or 1."""
    beliefs, counts, surprise = contributions(log_p, log_m, log_b, share, gate)
    seen, none = seen_of(state, labels, share), torch.zeros_like(state.beliefs)
    counts = none.index_add(0, labels, counts) if gate.own else seen
    return state.after(none.index_add(0, labels, beliefs), counts, seen, surprise)


def seen_of(state: State, labels: Tensor, share: Tensor) -> Tensor:
    """Return how often each label is in a batch: (C,)."""
    return torch.zeros_like(state.beliefs).index_add(0, labels, share.to(state.beliefs.dtype))


def corrected(logits: Tensor, labels: Tensor, gate: Gate) -> Tensor:
    """Return logits after the correction by how often each label was seen: (M, C), (C,) -> (M, C)."""
    return logits - gate.prior * (labels + 1).log()


def weight_of(log_b: Tensor, labels: Tensor, counted: Tensor, state: State, gate: Gate) -> Tensor:
    """Return the weight of each row, paced: (M,) each."""
    beliefs, counts = state.beliefs.gather(0, labels), state.counts.gather(0, labels)
    weight = weights(log_b, beliefs, counts, state.surprise, gate)
    return paced(weight, weight, counted, gate.pace)


def paced(weight: Tensor, of_sample: Tensor, counted: Tensor, pace: float) -> Tensor:
    """Return the weights over their mean over the batch to the power of the pace; of_sample: (M,)."""
    if not pace:
        return weight
    total = of_sample.masked_fill(~counted, 0.0).sum()
    mean = (total / counted.sum().clamp_min(1)).clamp_min(torch.finfo(weight.dtype).tiny)
    return weight / mean**pace


def _numbers(values: Tensor) -> Tensor:
    """Return finite values, 0 where they are no numbers; by a comparison, which compilers vectorise."""
    return values.clamp_max(torch.finfo(values.dtype).max).masked_fill(values != values, 0.0)


class Prediction(NamedTuple):
    """What the network makes of each row: log p and log m, (M,), and all log-probabilities, (M, C).

    Those may have −∞ at the label, which is not looked at again.
    """

    log_p: Tensor
    log_m: Tensor
    log_all: Tensor


def predict(logits: Tensor, labels: Tensor) -> Prediction:
    """Return what logits, taken as constants, say of the labels: (M, C), (M,)."""
    at_label, rest = labels.unsqueeze(1), F.log_softmax(logits.detach(), dim=1)
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
    if counted is not None:
        weight = weight * counted
    plain = partial(_plain, labels=labels, weight=weight, smoothing=smoothing)
    if seen_through() or not (torch.is_grad_enabled() and logits.requires_grad):
        return plain(logits)
    return with_gradient(logits, *closed_form(labels, weight, found, smoothing), plain)


def closed_form(
    labels: Tensor, weight: Tensor, found: Prediction, smoothing: float = 0.0, samples: int = 1
) -> tuple[Tensor, Tensor]:
    """Return weight · (−log p) and its gradient weight · (ŷ − target) / samples, from the log-probabilities found.

    found: what `predict` returns, whose log-probabilities are overwritten. target: onehot, or smoothed by ε.
    """
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
