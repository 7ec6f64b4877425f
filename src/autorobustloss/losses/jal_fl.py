"""Joint asymmetric loss with the focal loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from autorobustloss.losses.normalised import normalised_focal
from autorobustloss.losses.published import LossArguments, flag, within
from autorobustloss.losses.recent import JointAsymmetricCE
from autorobustloss.registry import LOSSES

if TYPE_CHECKING:
    from typing_extensions import Unpack


@LOSSES.register("jal_fl")
class JointAsymmetricFL(JointAsymmetricCE):
    """Joint asymmetric loss: ℓ = α·NFL_γ + β·‖a·e_y − p‖²/C, the normalised focal loss in place of cross-entropy.

    γ = 0.5; (α, β, a), the L1 penalty and source as for `jal_ce`. `legacy=True` as for `nfl`.
    Raises ConfigError for a negative weight, two zeros, or unless a >= 1 and gamma >= 0.

    >>> import torch
    >>> JointAsymmetricFL()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(89.5100)
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 1.0,
        a: float = 30.0,
        gamma: float = 0.5,
        *,
        legacy: bool = False,
        **arguments: Unpack[LossArguments],
    ) -> None:
        super().__init__(alpha, beta, a, **arguments)
        self.gamma = within("gamma", gamma, at_least=0)
        self.legacy = flag("legacy", legacy)

    def active(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the normalised focal loss of each candidate label."""
        return normalised_focal(chosen, log_p, self.gamma, self.legacy)
