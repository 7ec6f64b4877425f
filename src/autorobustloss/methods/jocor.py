"""JoCoR: two networks that agree, trained on the samples on which their joint loss is small."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from autorobustloss.errors import ConfigError
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.registry import METHODS
from autorobustloss.training import Objective


@METHODS.register("jocor")
def jocor(co_lambda: float = 0.9, forget_rate: float | None = None, ramp: int = 10) -> Procedure:
    """Build JoCoR: two networks, one optimiser, the share R of the samples with the largest loss left out.

    co_lambda: weight λ of agreement; published: 0.9 on CIFAR-10 (0.65 under 80 % noise), 0.85 on CIFAR-100, 0.95 on
        MNIST. forget_rate: τ, by default the realised noise rate of the training labels (privileged information; the
        authors' code takes the true rate, and half of it for class-map noise). ramp: epochs until R reaches τ.
    The protocol is used as it is; the published one is the preset "jocor". Accuracies are means over both networks.
    Source: Wei et al., Combating Noisy Labels by Agreement: A Joint Training Method with Co-Regularization, CVPR 2020,
    equations 1 to 5.
    """
    if not 0 <= co_lambda <= 1:
        raise ConfigError(f"method 'jocor': got co_lambda={co_lambda!r}, expected a number in [0, 1]")
    if forget_rate is not None and not 0 <= forget_rate < 1:
        raise ConfigError(f"method 'jocor': got forget_rate={forget_rate!r}, expected a number in [0, 1)")
    if ramp < 2:
        raise ConfigError(f"method 'jocor': got ramp={ramp!r}, expected at least 2 epochs")

    def run(setting: Setting) -> Trained:
        rate = forget_rate if forget_rate is not None else setting.splits.noise_rate or 0.0
        return setting.fit(JoCoR([setting.network(0), setting.network(1)], co_lambda, rate, ramp))

    unknown = (
        "method 'jocor': the noise rate of these data is not known; give forget_rate, as in jocor(forget_rate=0.2)"
    )
    return Procedure(run, "noise_rate" if forget_rate is None else "", unknown)


class JoCoR(Objective):
    """The joint objective of two networks."""

    def __init__(self, networks: list[nn.Module], co_lambda: float, forget_rate: float, ramp: int = 10) -> None:
        self.networks = nn.ModuleList(networks)
        self.co_lambda, self.forget_rate, self.ramp = co_lambda, forget_rate, ramp

    def loss(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the mean joint loss of the kept samples, and the logits of both networks, (2, N, C)."""
        logits = torch.stack([network(x) for network in self.networks])
        joint = joint_losses(logits, y, self.co_lambda)
        return smallest_mean(joint, forget_rate_at(epoch, self.forget_rate, self.ramp)), logits


def joint_losses(logits: Tensor, labels: Tensor, co_lambda: float) -> Tensor:
    """Return (1 − λ)·(CE₁ + CE₂) + λ·(KL(p₁‖p₂) + KL(p₂‖p₁)) of each sample: (2, N, C), (N,) -> (N,).

    The symmetric divergence is Σ_k (p₁ − p₂)(log p₁ − log p₂); both networks receive its gradient.
    """
    log_p = torch.log_softmax(logits.float() if logits.dtype == torch.bfloat16 else logits, dim=-1)
    supervised = -log_p.gather(-1, labels.expand(2, -1).unsqueeze(-1)).sum(dim=(0, -1))
    p = log_p.exp()
    disagreement = ((p[0] - p[1]) * (log_p[0] - log_p[1])).sum(dim=-1)
    return (1 - co_lambda) * supervised + co_lambda * disagreement


def smallest_mean(losses: Tensor, forget_rate: float) -> Tensor:
    """Return the mean of the int((1 − R)·N) smallest losses, of at least one."""
    keep = max(1, int((1 - forget_rate) * len(losses)))
    return losses.topk(keep, largest=False).values.mean()


def forget_rate_at(epoch: int, forget_rate: float, ramp: int = 10) -> float:
    """Return R of an epoch (from 1): from 0 linearly to τ in the `ramp`-th epoch, τ from then on.

    >>> [round(forget_rate_at(epoch, 0.45), 3) for epoch in (1, 2, 10, 11)]
    [0.0, 0.05, 0.45, 0.45]
    """
    return forget_rate * min(1.0, (epoch - 1) / (ramp - 1))
