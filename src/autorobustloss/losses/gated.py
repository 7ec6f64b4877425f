"""The gated family: cross-entropy whose samples are weighed by how much the network believes them.

Notation: p is the probability of the label, m that of the strongest other class, u = 1 − p.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.errors import ConfigError
from autorobustloss.losses import gated_formula
from autorobustloss.losses.base import all_count, check_shapes, kept, masked, seen_through
from autorobustloss.losses.canonical import as_floats
from autorobustloss.losses.functional import backward_again, changed_in_place, transformed
from autorobustloss.losses.learnable import LearnableLoss
from autorobustloss.losses.registry import LOSSES

TERMS = ("u", "m", "u²", "um", "m²")
"""What the polynomial's coefficients multiply, in order."""

LABEL_WINDOW = 64
"""Samples of a label that its mean belief looks back on: from 16 to 256 made no difference in training."""

AGREEMENT_WINDOW = 4096
"""Samples that the agreement of predictions and labels looks back on."""

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


class State(NamedTuple):
    """What a gated loss remembers of the samples it was trained on: (C,) each, and (2,).

    beliefs, counts: the sum of the beliefs in samples of a label, and their number, in a window.
    labels: how often each label was seen. agreement: samples predicted as labelled, and all, in a window.
    """

    beliefs: Tensor
    counts: Tensor
    labels: Tensor
    agreement: Tensor

    @classmethod
    def empty(cls, classes: int, like: Tensor) -> State:
        """Return the state before the first sample."""
        none = like.new_zeros(classes)
        return cls(none, none, none, like.new_zeros(2))

    def after(self, beliefs: Tensor, counts: Tensor, agreed: Tensor) -> State:
        """Return the state after a batch with these sums of beliefs and numbers of samples, (C,), and this agreement.

        A sample fades with the samples that come after its batch, so a batch that comes in parts leaves nearly the
        same state.
        """
        fading = torch.pow(1 - 1 / LABEL_WINDOW, counts)
        seen = counts.sum()
        agreement = torch.stack([agreed, seen])
        return State(
            self.beliefs * fading + beliefs,
            self.counts * fading + counts,
            self.labels + counts,
            self.agreement * torch.pow(1 - 1 / AGREEMENT_WINDOW, seen) + agreement,
        )


def log_belief(log_p: Tensor, log_m: Tensor, gate: Gate) -> Tensor:
    """Return log b = q·log p + r·log(1 − m) + the terms of u = 1 − p and m; 0 at the certain, right prediction.

    Kept in [−60, 60], except that a label that is masked (p = 0) is believed not at all if q > 0.

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
    if any(gate.terms):
        u, m = -torch.expm1(log_p), log_m.exp()
        of_u, of_m, of_uu, of_um, of_mm = gate.terms
        value = value + u * (of_u + of_uu * u + of_um * m) + m * (of_m + of_mm * m)
    value = value.clamp(SMALLEST, -SMALLEST)
    return value.masked_fill(masked(log_p), -torch.inf) if gate.q else value


def weights(log_b: Tensor, beliefs: Tensor, counts: Tensor, agreement: Tensor, gate: Gate) -> Tensor:
    """Return min(1, b / b̄)^g, with b̄ = beliefs / counts, 1 where nothing was counted, and g = min(1, κ·(1 − a)).

    >>> beliefs, counts, agreement = torch.tensor(2.0), torch.tensor(4.0), torch.tensor([0.0, 4.0])
    >>> weights(torch.tensor([0.25, 0.5, 1.0]).log(), beliefs, counts, agreement, Gate(q=1.0, r=0.0))
    tensor([0.5000, 1.0000, 1.0000])
    """
    tiny = torch.finfo(log_b.dtype).tiny
    mean = (beliefs / counts.clamp_min(tiny)).log().clamp_min(SMALLEST)
    ratio = (log_b - mean).clamp(min=-1e20, max=0.0)
    if gate.progress is not None:
        share = agreement[0] / agreement[1].clamp_min(tiny)
        ratio = ratio * (gate.progress * (1 - share)).clamp(max=1.0)
    return ratio.exp()


class Prediction(NamedTuple):
    """What the network makes of each row: log p and log m, (M,), and what its softmax is found again from.

    rest: the log-probabilities with −∞ at the label, (M, C); in code that is compiled log Σ exp z, (M, 1).
    """

    log_p: Tensor
    log_m: Tensor
    rest: Tensor


def predict(logits: Tensor, labels: Tensor) -> Prediction:
    """Return what logits, taken as constants, say of the labels: (M, C), (M,)."""
    logits, at_label = logits.detach(), labels.unsqueeze(1)
    if torch.compiler.is_compiling():  # in as few loops over the classes as cross-entropy
        largest, at_label = logits.amax(1, keepdim=True), logits.gather(1, at_label)
        # Where the label is alone at the top, the best below it; found by comparing numbers, which vectorises.
        below = torch.where(logits < at_label, logits, -torch.inf).amax(1, keepdim=True)
        alone = (logits >= at_label).to(logits.dtype).sum(1, keepdim=True) < 2
        log_sum = largest + (logits - largest).exp().sum(1, keepdim=True).log()
        strongest_other = torch.where(alone, below, largest)
        return Prediction((at_label - log_sum).squeeze(1), (strongest_other - log_sum).squeeze(1), log_sum)
    rest = F.log_softmax(logits, dim=1)
    log_p = rest.gather(1, at_label).squeeze(1)
    rest = rest.scatter(1, at_label, -torch.inf) if transformed() else rest.scatter_(1, at_label, -torch.inf)
    return Prediction(log_p, rest.amax(1), rest)


def _is_label(logits: Tensor, labels: Tensor) -> Tensor:
    # A CPU compares int32 in vectors of as many numbers as float32, int64 in half as many.
    return torch.arange(logits.shape[1], device=logits.device, dtype=torch.int32) == labels.unsqueeze(1).int()


def weighed_cross_entropy(
    logits: Tensor, labels: Tensor, weight: Tensor, found: Prediction, counted: Tensor | None
) -> Tensor:
    """Return weight · (−log p) of each row, 0 where it does not count, weights taken as constants: (M, C), … -> (M,).

    found: what `predict` returns for the logits.
    """
    if torch.compiler.is_compiling() and not transformed():
        return _Traced.apply(logits, labels, weight, found.log_p, found.rest, counted)
    if counted is not None:
        weight = weight * counted
    if seen_through():
        log_p = F.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
        return _weighed(-log_p, weight)
    return _ClosedForm.apply(logits, labels, weight, found.log_p, found.rest)


class _ClosedForm(torch.autograd.Function):
    """`weighed_cross_entropy` with the gradient weight · (ŷ − onehot), from log-probabilities that are there already.

    The logits themselves are needed for second derivatives only, see the function of this name in `functional`.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, weight: Tensor, log_p: Tensor, rest: Tensor) -> Tensor:
        ctx.save_for_backward(labels, weight, log_p, rest)
        if ctx.needs_input_grad[0]:
            ctx.input, ctx.version = logits, logits._version
        return _weighed(-log_p, weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        labels, weight, log_p, rest = ctx.saved_tensors
        at_label, again = labels.unsqueeze(1), backward_again()
        if torch.is_grad_enabled():  # double backward
            if ctx.input._version != ctx.version:
                raise changed_in_place()
            gradient = ctx.input.softmax(1) - torch.zeros_like(rest).scatter_(1, at_label, 1.0)
            gradient = gradient * (weight * grad).unsqueeze(-1)
        else:
            gradient = rest.exp().scatter_(1, at_label, torch.expm1(log_p).unsqueeze(1))
            gradient = gradient * (weight * grad).unsqueeze(-1)
        if not again:
            ctx.input = None
        return gradient, None, None, None, None


class _Traced(torch.autograd.Function):
    """`weighed_cross_entropy` for `torch.compile`, whose backward pass is one loop over the logits.

    Rows that do not count are chosen at the end of either pass, as in the function of this name in `functional`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        labels: Tensor,
        weight: Tensor,
        log_p: Tensor,
        log_sum: Tensor,
        counted: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(logits, labels, weight, log_sum, counted)
        value = _weighed(-log_p, weight)
        return value if counted is None else value.masked_fill(~counted, 0.0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        logits, labels, weight, log_sum, counted = ctx.saved_tensors
        pull = (weight * grad).unsqueeze(1)
        gradient = (logits - log_sum).exp() * pull - torch.where(_is_label(logits, labels), pull, 0.0)
        if counted is not None:
            gradient = torch.where(counted.unsqueeze(1), gradient, 0.0)
        return gradient, None, None, None, None, None


def _weighed(values: Tensor, weight: Tensor) -> Tensor:
    """Return weight · value; 0 where the weight is 0, even of an infinite value."""
    return (weight * values).masked_fill(weight == 0, 0.0)


@LOSSES.register("gated")
class GatedLoss(LearnableLoss):
    """Cross-entropy, each sample weighed by how much the network believes it, relative to others of its label.

        L = mean of w_i · (−log p_i),    w_i = min(1, b_i / b̄_{y_i})^g, taken as constants,
        b = p^q · (1 − m)^r · exp(c₁u + c₂m + c₃u² + c₄um + c₅m²),    g = min(1, κ·(1 − a))

    p is the probability of the label, m that of the strongest other class, u = 1 − p; b̄_y is the running mean of b over
    samples labelled y, and a the running share of samples that are predicted as labelled. So a label is followed unless
    the network is surer of another class than it is on other samples of that label, and where nearly all labels are
    agreed with, the loss is cross-entropy. It never pulls away from a label.

    q, r: powers >= 0 of p and of 1 − m. terms: c₁ … c₅, a polynomial in log b around the certain, right prediction.
    progress: κ > 0, None for g = 1.
    prior: p and m are those of softmax(z − prior · log π), π the frequencies of the labels seen so far.
    pace: from 0 to 1; the weights are divided by their mean over the batch to this power. At 1 a batch pulls as hard as
        under cross-entropy, whatever of it is believed; above 0 a weight may exceed 1.
    weight, ignore_index, reduction: as in `torch.nn.CrossEntropyLoss`.

    Members: q = r = 0 without terms is cross-entropy, exactly. While all of a label is believed fully (b̄ = 1) and
    g = 1, r = 0 has the gradient of generalised cross-entropy with this q; with q = 1 that of mean absolute error
    (1 − p).

    The gradient is w_i·(ŷ − onehot)/N: none flows through the weights, so it is not the derivative of the value, and
    second derivatives too take the weights as constants. With probabilities as target the loss of a sample is the
    expectation over its labels; state and weights follow each class with its share.

    State: b̄ (a window of 64 samples of a label), label counts and a (4,096 samples), O(C) numbers. A call in training
    mode takes its batch in, then uses them; ignored samples are never part of it. In evaluation mode, and under
    `no_grad`, they are used and left alone; before any training, and for another number of classes than before, the
    batch itself gives them. A label that was never seen has weight 1.
    The `state_dict` has none of it: training that goes on from a checkpoint starts with the first batch's, and has
    forgotten that after some 64 samples of a label. Of a batch that comes in parts (gradient accumulation) each part
    sees the parts before it only, and `pace` its own mean. Each process of a distributed training has a state of its
    own: keep the loss outside of `DistributedDataParallel`. Under `vmap`, `grad` and other transformations, and for
    tensors without values, nothing is remembered. One loss belongs to one training: `reset()`, or a new one, for the
    next.

    Raises ConfigError for numbers out of range.

    >>> loss = GatedLoss(q=1.0, r=0.0, progress=None, reduction="none")
    >>> loss(torch.tensor([[0.0, 0.0], [2.0, 0.0], [-2.0, 0.0]]), torch.tensor([0, 0, 0]))
    tensor([0.6931, 0.1269, 0.5071])
    """

    detached = True
    _beliefs: Tensor

    def __init__(
        self,
        q: float = 0.83,
        r: float = 2.1,
        terms: Iterable[float] = (0.0,) * len(TERMS),
        progress: float | None = 4.35,
        prior: float = 0.0,
        pace: float = 0.0,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)
        self.gate = check_gate(q, r, terms, progress, prior, pace)
        self.q, self.r, self.terms, self.progress, self.prior, self.pace = self.gate
        self.reset()

    def reset(self) -> None:
        """Forget all samples."""
        for name, value in State.empty(0, torch.zeros(0))._asdict().items():
            self.register_buffer(f"_{name}", value, persistent=False)

    def at_start(self, num_classes: int) -> GatedLoss:
        """Return a copy as it is for a network that has learnt nothing, in evaluation mode: uniform beliefs, a = 0."""
        fresh = copy.deepcopy(self).eval()
        device = next(iter(self.buffers())).device
        one = torch.ones(num_classes, dtype=torch.float64, device=device)
        belief = float(self.belief(1 / num_classes, 1 / num_classes))
        fresh._keep(State(belief * one, one, one, one.new_tensor([0.0, 1.0])))
        return fresh

    def belief(self, p: Any, m: Any) -> Any:
        """Return b at probabilities p of the label and m of the strongest other class, numbers or arrays (float64)."""
        p, m = torch.as_tensor(p, dtype=torch.float64), torch.as_tensor(m, dtype=torch.float64)
        return log_belief(p.log(), m.log(), self.gate).exp().numpy()

    def formula(self) -> str:
        """Return the loss as a formula in plain text, and what its symbols mean."""
        return gated_formula.as_text(self.gate)

    def latex(self) -> str:
        """Return the loss as a formula in LaTeX."""
        return gated_formula.as_latex(self.gate)

    def code(self) -> str:
        """Return the loss as a Python module that needs only PyTorch."""
        return gated_formula.as_code(self.gate)

    def hyperparameters(self) -> dict[str, Any]:
        """Return the numbers by name, as `create_loss("gated", …)` takes them."""
        return self.gate._asdict()

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row for class indices: (M, C), (M,) -> (M,)."""
        return self._rows(logits, labels, None)

    def hard_where(self, counted: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row, 0 where it does not count: (M,), (M, C), (M,) -> (M,)."""
        labels = torch.where(counted, labels, torch.zeros_like(labels))
        if not torch.compiler.is_compiling() or transformed():  # compiled code chooses at the end, which costs less
            logits = torch.where(counted.unsqueeze(1), logits, torch.zeros_like(logits))
        return self._rows(logits, labels, counted)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each row for a target distribution: (M, C), (M, C) -> (M,)."""
        log_p, target = F.log_softmax(logits, dim=1), probabilities.detach()
        state, seen = self._recall(log_p), target.sum(0)
        constant = log_p.detach()
        if self.gate.prior:
            constant = F.log_softmax(self._corrected(constant, state, seen), dim=1)
        top = constant.topk(2, dim=1).values
        others = torch.where(constant == top[:, :1], top[:, 1:], top[:, :1])
        log_b = log_belief(constant, others, self.gate)
        if self._learns(state):
            agreed = target * (constant > others)
            state = self._remember(state.after((target * _belief(log_b)).sum(0), seen, agreed.sum()))
        weight = weights(log_b, state.beliefs, state.counts, state.agreement, self.gate)
        weight = self._paced(weight, (target * weight).sum(1), None)
        return _weighed(-kept(log_p, probabilities) * probabilities, weight).sum(1)

    def value_and_gradient(self, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and its gradient in `input`, for training loops that need no graph."""
        check_shapes(input, target)
        usual = input.ndim == 2 and not torch.is_floating_point(target) and not transformed()
        plain = self.reduction == "mean" and self.weight is None and not self.gate.prior
        if not (usual and plain and all_count(target, input.shape[1], self.ignore_index)):
            return super().value_and_gradient(input, target)
        with torch.enable_grad():  # a training, as all that asks for a gradient; on constants that have no graph
            logits = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
            labels = target.long()
            log_p, log_m, rest = predict(logits, labels)
            weight = self._weight(log_p, log_m, labels, None, self._recall(rest))
            gradient = rest.exp_().scatter_(1, labels.unsqueeze(1), torch.expm1(log_p).unsqueeze(1))
            gradient *= (weight / len(labels)).unsqueeze(1)
            return _weighed(-log_p, weight).mean(), gradient.to(input.dtype)

    def _rows(self, logits: Tensor, labels: Tensor, counted: Tensor | None) -> Tensor:
        found, state = predict(logits, labels), self._recall(logits.detach())
        believed = found
        if self.gate.prior:
            believed = predict(self._corrected(logits.detach(), state, _seen(state, labels, counted)), labels)
        weight = self._weight(believed.log_p, believed.log_m, labels, counted, state)
        return weighed_cross_entropy(logits, labels, weight, found, counted)

    def _weight(self, log_p: Tensor, log_m: Tensor, labels: Tensor, counted: Tensor | None, state: State) -> Tensor:
        """Return the weight of each row, after the batch was taken into the state if the loss learns."""
        log_b = log_belief(log_p, log_m, self.gate)
        if self._learns(state):
            belief, agreed = _belief(log_b), (log_p > log_m).to(log_b.dtype)
            if counted is not None:
                belief, agreed = belief.masked_fill(~counted, 0.0), agreed * counted
            beliefs = torch.zeros_like(state.beliefs).index_add(0, labels, belief)
            state = self._remember(state.after(beliefs, _seen(state, labels, counted), agreed.sum()))
        beliefs, counts = state.beliefs.gather(0, labels), state.counts.gather(0, labels)
        weight = weights(log_b, beliefs, counts, state.agreement, self.gate)
        return self._paced(weight, weight, counted)

    def _corrected(self, logits: Tensor, state: State, seen: Tensor) -> Tensor:
        """Return logits after the correction by label frequencies: (M, C) -> (M, C)."""
        labels = state.labels + seen if self._learns(state) else state.labels
        return logits - self.gate.prior * (labels + 1).log()

    def _paced(self, weight: Tensor, of_sample: Tensor, counted: Tensor | None) -> Tensor:
        """Return the weights over their mean over the batch to the power of the pace; of_sample: (M,)."""
        if not self.gate.pace:
            return weight
        samples = of_sample.new_tensor(len(of_sample)) if counted is None else counted.sum()
        total = of_sample.sum() if counted is None else of_sample.masked_fill(~counted, 0.0).sum()
        mean = (total / samples.clamp_min(1)).clamp_min(torch.finfo(weight.dtype).tiny)
        return weight / mean**self.gate.pace

    def _recall(self, log_p: Tensor) -> State:
        """Return what is remembered, for logits of this shape, type and place; an empty state for nothing."""
        if self._beliefs.shape[0] != log_p.shape[1] or not _has_values(log_p):
            return State.empty(log_p.shape[1], log_p.detach())
        return State(*(getattr(self, f"_{name}").to(log_p) for name in State._fields))

    def _learns(self, state: State) -> bool:
        """Return whether a batch is taken in before its weights are taken: in training, and where nothing is known."""
        return self._trains() or self._beliefs.shape[0] != state.beliefs.shape[0] or not _has_values(state.beliefs)

    def _trains(self) -> bool:
        """Return whether this call is part of a training: whoever looks at a loss without gradients only looks."""
        return self.training and torch.is_grad_enabled()

    def _remember(self, state: State) -> State:
        """Keep a state, in training where nothing sees through the code that runs; return it."""
        if self._trains() and _has_values(state.beliefs) and not transformed() and not _traced():
            self._keep(state)
        return state

    def _keep(self, state: State) -> None:
        for name, value in state._asdict().items():
            old = getattr(self, f"_{name}")
            alike = (old.shape, old.dtype, old.device) == (value.shape, value.dtype, value.device)
            if torch.compiler.is_compiling() and alike:
                old.copy_(value)  # what a compiled step returns may lie in memory that the next one takes over
            else:
                setattr(self, f"_{name}", value if type(value) is Tensor else value.as_subclass(Tensor))


def check_gate(q: Any, r: Any, terms: Any, progress: Any, prior: Any, pace: Any) -> Gate:
    """Return the numbers of a gated loss; raise ConfigError for what is out of range."""
    terms = as_floats(terms, "terms")
    if len(terms) != len(TERMS):
        raise ConfigError(f"got {len(terms)} terms, expected {len(TERMS)}, the coefficients of {', '.join(TERMS)}")
    (kappa,) = (None,) if progress is None else as_floats([progress], "progress")
    numbers = {"q": q, "r": r, "prior": prior, "pace": pace}
    numbers = {name: as_floats([value], name)[0] for name, value in numbers.items()}
    for name, value in numbers.items():
        if value < 0:
            raise ConfigError(f"got {name}={value}, expected a number of 0 or more")
    if numbers["pace"] > 1:
        raise ConfigError(f"got pace={numbers['pace']}, expected 0 to 1")
    if kappa is not None and kappa <= 0:
        raise ConfigError(f"got progress={kappa}, expected a positive number, or None to leave it out")
    return Gate(terms=terms, progress=kappa, **numbers)


def _belief(log_b: Tensor) -> Tensor:
    """Return the belief, 0 where it is no number, so that a batch that overflowed, and was skipped, is forgotten."""
    return log_b.exp().nan_to_num(0.0)


def _seen(state: State, labels: Tensor, counted: Tensor | None) -> Tensor:
    """Return how often each label is in a batch: (C,)."""
    ones = state.beliefs.new_ones(len(labels)) if counted is None else counted.to(state.beliefs.dtype)
    return torch.zeros_like(state.beliefs).index_add(0, labels, ones)


def _has_values(values: Tensor) -> bool:
    """Return whether a tensor stands for numbers, as one on the meta device or a fake one does not."""
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(values):
        return True
    return values.device.type != "meta" and type(values).__torch_dispatch__ is Tensor.__torch_dispatch__


def _traced() -> bool:
    """Return whether somebody writes down the operations that run, other than `torch.compile`."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._len_torch_dispatch_stack() > 0 or torch._C._get_tracing_state() is not None
