"""Weights that follow the optimiser's more smoothly, and are evaluated in place of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from autorobustloss.training.protocol import TrainingProtocol


class SmoothWeights:
    """A second copy of some of a network's tensors: smooth ← smooth + pull(step)·(live − smooth) after each step."""

    def __init__(self, tensors: Sequence[Tensor], pull: Callable[[int], float], pulls_back: bool = False) -> None:
        """`pull`: by the number of the step, from 1; pulls_back: the live weights become the smooth ones that moved."""
        self.live = list(tensors)
        self.smooth = [t.detach().clone() for t in tensors]
        self.pull, self.pulls_back = pull, pulls_back

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the optimiser's weights after a step."""
        if pull := self.pull(step):
            torch._foreach_lerp_(self.smooth, self.live, pull)
            if self.pulls_back:
                self.adopt()

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Put the smooth weights into the network for a while."""
        kept = [t.detach().clone() for t in self.live]
        self.adopt()
        try:
            yield
        finally:
            self.adopt(kept)

    @torch.no_grad()
    def adopt(self, values: list[Tensor] | None = None) -> None:
        """Put the smooth weights into the network for good; or other values."""
        torch._foreach_copy_(self.live, self.smooth if values is None else values)


def create_smoothing(networks: nn.Module, protocol: TrainingProtocol) -> list[SmoothWeights]:
    """Return the protocol's smoothed weights in the order they are updated; the last one is evaluated.

    Lookahead keeps slow weights: every k steps, slow ← slow + α·(fast − slow) and fast ← slow; momentum stays.
    Source: Zhang et al., Lookahead Optimizer: k steps forward, 1 step back, NeurIPS 2019, algorithm 1.

    The average is an exponential one of weights and floating-point buffers, a ← d·a + (1 − d)·w after each step with
    d = min(decay, (1 + step)/(10 + step)), so that it forgets the initial weights within a few steps (Tarvainen &
    Valpola 2017 ramp their mean teacher up likewise).
    """
    smoothing = []
    if protocol.lookahead:
        k, alpha = protocol.lookahead
        pull = lambda step: 0.0 if step % k else alpha  # noqa: E731
        smoothing.append(SmoothWeights(list(networks.parameters()), pull, pulls_back=True))
    if protocol.average:
        tensors = [*networks.parameters(), *(b for b in networks.buffers() if b.is_floating_point())]
        follow = lambda step: 1 - min(protocol.average, (1 + step) / (10 + step))  # noqa: E731
        smoothing.append(SmoothWeights(tensors, follow))
    return smoothing
