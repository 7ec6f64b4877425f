"""Mixup: a loss of mixed samples and mixed labels."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autorobustloss.losses.literature.base import within
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import METHODS
from autorobustloss.seeding import derive_seed, torch_generator
from autorobustloss.training import LossObjective


@METHODS.register("mixup")
def mixup(alpha: float = 1.0, loss: str = "ce") -> Procedure:
    """Build a loss of mixed samples: each is w·x + (1 − w)·x′ with label w·y + (1 − w)·y′, x′ another of its batch.

    alpha: w is drawn for every batch from Beta(α, α); published: 1, and 8 or 32 under label noise. loss: as text.
    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, equation 1.
    """
    alpha, spec = within("alpha", alpha, above=0), MethodSpec.parse(loss)

    def run(setting: Setting) -> Trained:
        return setting.fit(Mixup(setting.network(), setting.criterion(spec), alpha, setting.seed))

    return Procedure(run)


class Mixup(LossObjective):
    """One network under one loss, of samples mixed in pairs."""

    def __init__(self, network: nn.Module, criterion: nn.Module, alpha: float, seed: int) -> None:
        super().__init__(network, criterion)
        self.alpha = alpha
        self.shares, self.partners = random.Random(derive_seed("mixup", seed)), torch_generator("mixup", seed)

    def loss(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the loss of the mixed batch, and its logits."""
        share = self.shares.betavariate(self.alpha, self.alpha)
        other = torch.randperm(len(y), generator=self.partners).to(y.device)
        logits = self.network(torch.lerp(x[other], x, share))
        labels = F.one_hot(y, logits.shape[-1]).float()
        return self.criterion(logits, torch.lerp(labels[other], labels, share)), logits
