"""Logit adjustment: a loss that knows how frequent each label is."""

from __future__ import annotations

from torch import Tensor

from autorobustloss.losses.literature.base import within
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import METHODS
from autorobustloss.training import LossObjective


@METHODS.register("ce_prior")
def logit_adjustment(tau: float = 1.0, loss: str = "ce") -> Procedure:
    """Build logit-adjusted cross-entropy: the loss of z + τ·log π, π the frequencies of the training labels.

    What the network itself says, z, is then about as sure of a rare class as of a common one, and it predicts by that:
    the rival where classes are imbalanced. The labels are the noisy ones. A label that does not occur counts once.
    tau: τ, 1 as published. loss: the loss, as text.
    Source: Menon et al., Long-tail Learning via Logit Adjustment, ICLR 2021, equation 10.
    """
    tau, spec = within("tau", tau), MethodSpec.parse(loss)

    def run(setting: Setting) -> Trained:
        criterion = setting.criterion(spec)
        offset = tau * log_frequencies(setting.splits.y_train, setting.splits.num_classes)
        return setting.fit(LossObjective(setting.network(), lambda z, y: criterion(z + offset.to(z.dtype), y)))

    return Procedure(run)


def log_frequencies(labels: Tensor, num_classes: int) -> Tensor:
    """Return log π of each class, (C,) float32, labels that do not occur counted once.

    >>> import torch
    >>> log_frequencies(torch.tensor([0, 0, 0, 1]), num_classes=2).exp()
    tensor([0.7500, 0.2500])
    """
    counts = labels.bincount(minlength=num_classes).clamp_min(1).double()
    return (counts / counts.sum()).log().float()
