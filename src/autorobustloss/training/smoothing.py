"""Weights that follow the optimiser's more smoothly, and are evaluated in place of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from autorobustloss.training.protocol import TrainingProtocol


class SmoothWeights:
    """A second copy of some of a network's tensors, which takes their place while `shown`."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self.live = list(tensors)
        self.smooth = [t.detach().clone() for t in tensors]

    def update(self, step: int) -> None:
        """Follow the optimiser's weights after its step number `step` (from 1)."""
        raise NotImplementedError

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Put the smooth weights into the network for a while."""
        kept = [t.detach().clone() for t in self.live]
        self.adopt()
        try:
            yield
        finally:
            _copy(self.live, kept)

    def adopt(self) -> None:
        """Put the smooth weights into the network for good."""
        _copy(self.live, self.smooth)


class Average(SmoothWeights):
    """Exponential moving average of weights and floating-point buffers: a ← d·a + (1 − d)·w after each step.

    d = min(decay, (1 + step)/(10 + step)), so that the average forgets the initial weights within a few steps
    (Tarvainen & Valpola 2017 ramp their mean teacher up likewise).
    """

    def __init__(self, networks: nn.ModuleList, decay: float) -> None:
        super().__init__([*networks.parameters(), *(b for b in networks.buffers() if b.is_floating_point())])
        self.decay = decay

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights."""
        torch._foreach_lerp_(self.smooth, self.live, 1 - min(self.decay, (1 + step) / (10 + step)))


class Lookahead(SmoothWeights):
    """Slow weights: every k steps, slow ← slow + α·(fast − slow) and fast ← slow; momentum stays.

    Source: Zhang et al., Lookahead Optimizer: k steps forward, 1 step back, NeurIPS 2019, algorithm 1.
    """

    def __init__(self, parameters: Sequence[Tensor], k: float, alpha: float) -> None:
        super().__init__(parameters)
        self.k, self.alpha = int(k), alpha

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Synchronise slow and fast weights if it is time."""
        if step % self.k == 0:
            torch._foreach_lerp_(self.smooth, self.live, self.alpha)
            self.adopt()


def create_smoothing(networks: nn.ModuleList, protocol: TrainingProtocol) -> list[SmoothWeights]:
    """Return the protocol's smoothed weights in the order they are updated; the last one is evaluated."""
    smoothing: list[SmoothWeights] = []
    if protocol.lookahead:
        smoothing.append(Lookahead(list(networks.parameters()), *protocol.lookahead))
    if protocol.average:
        smoothing.append(Average(networks, protocol.average))
    return smoothing


@torch.no_grad()
def _copy(into: list[Tensor], values: list[Tensor]) -> None:
    torch._foreach_copy_(into, values)
