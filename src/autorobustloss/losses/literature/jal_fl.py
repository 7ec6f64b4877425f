"""Joint asymmetric loss with the focal loss."""

from __future__ import annotations

from torch import Tensor

from autorobustloss.losses.literature.asymmetric import JointAsymmetricCE
from autorobustloss.losses.literature.base import flag, number
from autorobustloss.losses.literature.normalised import normalised_focal
from autorobustloss.registry import LOSSES


@LOSSES.register("jal_fl")
class JointAsymmetricFL(JointAsymmetricCE):
    """Joint asymmetric loss: ℓ = α·NFL_γ + β·‖a·e_y − p‖²/C, the normalised focal loss in place of cross-entropy.

    γ = 0.5; (α, β, a) and the L1 penalty as for `jal_ce`. `legacy=True` as for `nfl`.
    Source: Wang et al., Joint Asymmetric Loss for Learning with Noisy Labels, ICCV 2025, section 4.
    Raises ConfigError for a negative weight, two zeros, or unless a >= 1 and gamma >= 0.

    >>> import torch
    >>> JointAsymmetricFL()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(89.5100)
    """

    gamma: float = number(default=0.5, at_least=0)
    legacy: bool = flag(default=False, kw_only=True)

    def active(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the normalised focal loss of each candidate label."""
        return normalised_focal(chosen, log_p, self.gamma, self.legacy)
