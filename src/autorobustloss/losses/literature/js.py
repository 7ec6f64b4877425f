"""The Jensen-Shannon divergence between prediction and label."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autorobustloss.losses.base import kept
from autorobustloss.losses.literature.base import LabelwiseLoss, number
from autorobustloss.losses.literature.plain import reduced_mae
from autorobustloss.registry import LOSSES


@LOSSES.register("js")
class JensenShannon(LabelwiseLoss):
    """Jensen-Shannon divergence between label and prediction, scaled: between cross-entropy and mean absolute error.

        ℓ = {π·KL(e_y‖m) + (1 − π)·KL(p‖m)} / Z, m = π·e_y + (1 − π)·p, Z = −(1 − π)·log(1 − π)
          = {−π·log m_y + (1 − π)·[p_y·log(p_y/m_y) − (1 − p_y)·log(1 − π)]} / Z

    π -> 0 is cross-entropy, π -> 1 is 1 − p_y (half the literal mean absolute error).

    The authors choose π by data set and true noise: CIFAR-10 0.1 clean, 0.7 for 20 and 40 % symmetric noise (the
    default), 0.9 for 60 and 80 %, 0.3 asymmetric; CIFAR-100 0.1 clean and for 20 %, 0.3 for 40 and 80 %, 0.5 for 60 %
    and asymmetric. Their generalised form adds a term between two augmented views of an image, which a loss does not
    see.
    Source: Englesson and Azizpour, Generalized Jensen-Shannon Divergence Loss for Learning with Noisy Labels,
    NeurIPS 2021; values of the authors' code.
    Raises ConfigError unless 0 < pi < 1.

    >>> JensenShannon()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(1.3448)
    """

    pi: float = number(default=0.7, above=0, below=1)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        pi, miss = self.pi, reduced_mae(chosen)
        of_rest = -(1 - pi) * math.log1p(-pi)
        log_mean = torch.log1p((pi - 1) * miss)
        of_label = chosen.exp() * (kept(chosen) - log_mean)
        return ((1 - pi) * of_label - pi * log_mean) / of_rest + miss
