"""Active negative losses."""

from __future__ import annotations

import math

from torch import Tensor

from autorobustloss.losses.literature.base import number
from autorobustloss.losses.literature.normalised import ActivePassive
from autorobustloss.registry import LOSSES


@LOSSES.register("anl_ce")
class ActiveNegativeCE(ActivePassive):
    """Active negative loss: normalised cross-entropy plus the normalised negative one.

    ℓ = α·NCE + β·(1 − (A + log p_y)/Σ_k (A + log p_k)), A = −log p_min, each p clamped at p_min in the second term:
    the clamp belongs to the definition, it keeps every A + log p at 0 or above.

    (α, β), δ: MNIST (1, 1), 1e-6; CIFAR-10 (5, 5), 5e-5, the default; CIFAR-100 (10, 1), 5e-7; WebVision (20, 1), 5e-6.
    The published recipe trades weight decay for δ·‖w‖₁ over all weights. A loss does not see weights, so this class
    leaves that term out: to follow the recipe, set weight decay to 0 and add the penalty in the training loop, as
    benchmarks here do for the method `anl_ce` and for any loss by `l1`, as in anl_ce(l1=5e-5).
    Source: Ye et al., Active Negative Loss Functions for Learning with Noisy Labels, NeurIPS 2023; values
    of the authors' code.
    Raises ConfigError for a negative weight, two zeros, or unless 0 < p_min <= 0.001.

    >>> import torch
    >>> ActiveNegativeCE()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(5.)
    """

    alpha: float = number(default=5.0, at_least=0)
    beta: float = number(default=5.0, at_least=0)
    p_min: float = number(default=1e-7, above=0, at_most=1e-3)

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the normalised negative cross-entropy."""
        least = math.log(self.p_min)
        above = (log_p.clamp_min(least) - least).sum(dim=1, keepdim=True)
        return 1 - (chosen.clamp_min(least) - least) / above
