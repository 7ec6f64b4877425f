"""LogitClip: a loss that sees logits of bounded norm."""

from __future__ import annotations

import torch
from torch import Tensor

from autorobustloss.errors import ConfigError
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import METHODS
from autorobustloss.training import LossObjective


@METHODS.register("logitclip")
def logitclip(tau: float = 1.0, loss: str = "ce", legacy: bool = False) -> Procedure:
    """Build a loss on clipped logits: vectors longer than τ are shortened to τ.

    loss: the loss around it, as text, such as "gce(q=0.5)". legacy: see `clip_logits`.
    Source: Wei et al., Mitigating Memorization of Noisy Labels by Clipping the Model Prediction, ICML 2023, equation 4.
    """
    if not tau > 0:
        raise ConfigError(f"method 'logitclip': got tau={tau!r}, expected a positive number")
    spec = MethodSpec.parse(loss)

    def run(setting: Setting) -> Trained:
        criterion = setting.criterion(spec)
        return setting.fit(LossObjective(setting.network(), lambda z, y: criterion(clip_logits(z, tau, legacy), y)))

    return Procedure(run)


def clip_logits(logits: Tensor, tau: float, legacy: bool = False) -> Tensor:
    """Return z·min(1, τ/‖z‖₂) for each row: (N, C) -> (N, C).

    legacy: the published code compares the norm with τ but shortens to 1/τ; the two agree at τ = 1.

    >>> clip_logits(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), tau=1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    norm = torch.linalg.vector_norm(logits, dim=-1, keepdim=True)
    length = 1 / tau if legacy else tau
    return torch.where(norm > tau, logits * (length / norm.clamp_min(tau)), logits)
