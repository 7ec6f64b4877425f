"""Active negative loss with focal losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from torch import Tensor

from autorobustloss.losses.normalised import focal, normalised_focal
from autorobustloss.losses.published import LabelwiseLoss, LossArguments, flag, not_both_zero, within
from autorobustloss.registry import LOSSES

if TYPE_CHECKING:
    from typing_extensions import Unpack


@LOSSES.register("anl_fl")
class ActiveNegativeFL(LabelwiseLoss):
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

    def __init__(
        self,
        alpha: float = 5.0,
        beta: float = 5.0,
        gamma: float = 0.5,
        p_min: float = 1e-7,
        *,
        legacy: bool = False,
        **arguments: Unpack[LossArguments],
    ) -> None:
        super().__init__(**arguments)
        self.alpha, self.beta = not_both_zero(alpha, beta)
        self.gamma = within("gamma", gamma, at_least=0)
        self.p_min = within("p_min", p_min, above=0, at_most=1e-3)
        self.legacy = flag("legacy", legacy)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        active = normalised_focal(chosen, log_p, self.gamma, self.legacy)
        above = self._above(log_p).sum(dim=1, keepdim=True)
        return self.alpha * active + self.beta * (1 - self._above(chosen) / above)

    def _above(self, log_p: Tensor) -> Tensor:
        least = math.log(self.p_min)
        lowest = math.exp(self.gamma * math.log1p(-self.p_min)) * least
        return focal(log_p.clamp_min(least), self.gamma, self.legacy) - lowest
