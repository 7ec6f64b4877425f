"""Logit bias: a loss that sees the label's logit raised, so that it starts at many classes as it does at ten."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autorobustloss.errors import ConfigError
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.literature.base import PublishedLoss, number_or_none, one_hot, text
from autorobustloss.registry import LOSSES, parse_call


@LOSSES.register("logit_bias")
class LogitBias(PublishedLoss):
    """A loss of logits whose label's is raised: ℓ(z + ε·e_y, y).

    Bounded losses have no gradient to speak of where p_y is near 0, which is where a network of many classes starts.
    By default ε = log((C − 1)/9), so that p_y is 1/10 at uniform predictions whatever the number C of classes; fewer
    than ten are left alone, ε = 0.

    loss: a registered loss as text, hyper-parameters included, such as "gce(q=0.7)"; one without a memory of batches.
    bias: ε, or None to take it from C.
    Probabilities as target are a weighted set of labels, at the price of M·C² numbers.
    Source: Staats, Thamm and Rosenow, Enhancing Noise-Robust Losses for Large-Scale Noisy Data Learning, AAAI 2025,
    who use it on mean absolute error above all, and take ε from C alone.
    Raises ConfigError for a text that names no such loss.

    >>> torch.stack([LogitBias()(torch.zeros(3, c), torch.tensor([0, 1, 2])) for c in (5, 10, 1000)])
    tensor([0.8000, 0.9000, 0.9000])
    """

    loss: str = text(default="mae")
    bias: float | None = number_or_none(default=None)

    def check(self) -> None:
        """Build the loss; raise ConfigError for one that looks at more than a sample at a time."""
        name, options = parse_call("loss", self.loss)
        self.biased: RobustLoss = LOSSES.create(name, **options)
        if self.biased.batchwise or self.biased.at_start(2) is not self.biased:
            raise ConfigError(
                f"got loss={self.loss!r}, expected one whose value for a sample hangs on that sample only"
            )
        self.detached = self.biased.detached

    def at_classes(self, num_classes: int) -> float:
        """Return ε for so many classes."""
        return max(0.0, math.log((num_classes - 1) / 9)) if self.bias is None else self.bias

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) -> (M,)."""
        return self.biased.hard(logits + self.at_classes(logits.shape[1]) * one_hot(labels, logits), labels)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the expected loss of each row: (M, C), (M, C) -> (M,)."""
        rows, classes = logits.shape
        labels = torch.ones_like(logits, dtype=torch.long).cumsum(dim=1).flatten() - 1
        of_label = self.hard(logits.repeat_interleave(classes, dim=0), labels).reshape(rows, classes)
        return (probabilities * of_label.masked_fill(probabilities == 0, 0.0)).sum(dim=1)
