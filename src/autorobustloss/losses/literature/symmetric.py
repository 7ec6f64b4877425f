"""Reverse and symmetric cross-entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autorobustloss.losses.base import weighted
from autorobustloss.losses.literature.base import LabelwiseLoss, TwoTerms, flag, number
from autorobustloss.losses.literature.generalised import LEGACY_FLOOR
from autorobustloss.registry import LOSSES

LOG_ZERO = math.log(1e-4)
"""What stands for log 0 of the one-hot label; the paper's text says −4, its code and every published table use this."""


def reverse_cross_entropy(chosen: Tensor, log_p: Tensor, legacy: bool = False) -> Tensor:
    """Return −Σ_k p_k·log e_k = −LOG_ZERO·(1 − p_y); `legacy` clamps every p_k at 1e-7, which adds up to 1e-6·C."""
    if not legacy:
        return LOG_ZERO * torch.expm1(chosen)
    p = log_p.exp().clamp_min(LEGACY_FLOOR)
    return LOG_ZERO * (chosen.exp().clamp_min(LEGACY_FLOOR) - p.sum(dim=1, keepdim=True))


@LOSSES.register("rce")
class RCE(LabelwiseLoss):
    """Reverse cross-entropy: ℓ = scale·A·(1 − p_y), A = −log 1e-4 = 9.21, a scaled mean absolute error.

    Source: Wang et al., Symmetric Cross Entropy for Robust Learning with Noisy Labels, ICCV 2019 (ℓ_rce).
    Probabilities as target are a weighted set of labels (expected loss), not put through the clipped logarithm.
    `legacy=True` clamps all probabilities at 1e-7, as the widely used code does.
    Raises ConfigError unless scale > 0.

    >>> import torch
    >>> RCE()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(8.2893)
    """

    scale: float = number(default=1.0, above=0)
    legacy: bool = flag(default=False, kw_only=True)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        return self.scale * reverse_cross_entropy(chosen, log_p, self.legacy)


@LOSSES.register("sce")
class SCE(TwoTerms, LabelwiseLoss):
    """Symmetric cross-entropy: ℓ = α·(−log p_y) + β·A·(1 − p_y), A = −log 1e-4.

    | data set | α | β |
    | --- | --- | --- |
    | MNIST | 0.01 | 1 |
    | CIFAR-10 (default) | 0.1 | 1 |
    | CIFAR-100 | 6 | 0.1 |
    | WebVision | 10 | 1 |

    Source: Wang et al., ICCV 2019 (ℓ_sl); values of the authors' code. `legacy=True` clamps the probabilities of
    the reverse term at 1e-7.
    Raises ConfigError for a negative weight or two zeros.

    >>> import torch
    >>> SCE()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(8.5196)
    """

    alpha: float = number(default=0.1, at_least=0)
    legacy: bool = flag(default=False, kw_only=True)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        return self.beta * reverse_cross_entropy(chosen, log_p, self.legacy) - weighted(self.alpha, chosen)
