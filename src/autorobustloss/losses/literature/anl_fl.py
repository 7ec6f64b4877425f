"""Active negative loss with focal losses."""

from __future__ import annotations

import math

from torch import Tensor

from autorobustloss.losses.literature.base import flag, number
from autorobustloss.losses.literature.normalised import ActivePassive, focal, normalised_focal
from autorobustloss.registry import LOSSES


@LOSSES.register("anl_fl")
class ActiveNegativeFL(ActivePassive):
    """Active negative loss: normalised focal loss plus the normalised negative one.

    ℓ = α·NFL + β·(1 − (A + f_y)/Σ_k (A + f_k)), f = (1 − p)^γ·log p with p clamped at p_min, A = −f(p_min).

    γ = 0.5; (α, β), p_min and the L1 penalty of the recipe as for `anl_ce`.
    `legacy=True` holds the focal factors (1 − p)^γ out of the gradient, as the authors' code does.
    Source: Ye et al., Active Negative Loss Functions for Learning with Noisy Labels, NeurIPS 2023; values of the
    authors' code.
    Raises ConfigError for a negative weight, two zeros, or unless gamma >= 0 and 0 < p_min <= 0.001.

    >>> import torch
    >>> ActiveNegativeFL()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(5.)
    """

    alpha: float = number(default=5.0, at_least=0)
    beta: float = number(default=5.0, at_least=0)
    gamma: float = number(default=0.5, at_least=0)
    p_min: float = number(default=1e-7, above=0, at_most=1e-3)
    legacy: bool = flag(default=False, kw_only=True)

    def active(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the normalised focal loss."""
        return normalised_focal(chosen, log_p, self.gamma, self.legacy)

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the normalised negative focal loss."""
        return 1 - self._above(chosen) / self._above(log_p).sum(dim=1, keepdim=True)

    def _above(self, log_p: Tensor) -> Tensor:
        """Return A + f."""
        least = math.log(self.p_min)
        lowest = math.exp(self.gamma * math.log1p(-self.p_min)) * least
        return focal(log_p.clamp_min(least), self.gamma, self.legacy) - lowest
