"""Early-learning regularisation: a loss that remembers what a network said of each sample."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.errors import ConfigError, LossInputError
from autorobustloss.losses.base import RobustLoss, kept, readable
from autorobustloss.losses.numbers import within

LEAST = 1e-4
"""Probabilities are kept so far from 0 and 1, which bounds the gradient."""


class EarlyLearningLoss(RobustLoss):
    """Cross-entropy plus a pull towards what the network said of the same sample before.

        ℓ = CE(z, y) + λ·log(1 − ⟨t, p⟩), t ← β·t + (1 − β)·p, before it is used and without gradient

    A t is kept for every sample of the training set, so a call says which samples it is given: `loss(z, y, index=i)`
    with i (N,) their places in it; `autorobustloss.data.Indexed` has a data set hand these out. All else is as for
    every loss, for one sample a row (no pixels). p is clamped to [1e-4, 1 − 1e-4], and summed to 1 again for t, as in
    the authors' code.

    num_samples: how many the training set has. num_classes: C; t takes num_samples·C numbers, which are part of the
    `state_dict`: training that goes on from a checkpoint goes on with them.
    t changes in training mode with gradients only, once for every call; ignored samples' does not.

    (β, λ): CIFAR-10 symmetric (0.7, 3), the default, asymmetric (0.9, 1), CIFAR-100 (0.9, 7).
    Source: Liu et al., Early-Learning Regularization Prevents Memorization of Noisy Labels, NeurIPS 2020; values of the
    authors' code.
    Raises ConfigError unless 0 <= beta < 1 and lam >= 0; LossInputError without an index, or for one that does not fit.

    >>> loss = EarlyLearningLoss(num_samples=100, num_classes=2)
    >>> z = torch.zeros(3, 2, requires_grad=True)
    >>> [round(loss(z, torch.tensor([0, 1, 1]), index=torch.tensor([4, 0, 99])).item(), 3) for _ in range(3)]
    [0.206, -0.19, -0.502]
    """

    warns = False  # it starts as cross-entropy does
    targets: Tensor

    def __init__(
        self,
        num_samples: int,
        num_classes: int,
        beta: float = 0.7,
        lam: float = 3.0,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction)
        self.beta = within("beta", beta, at_least=0, below=1)
        self.lam = within("lam", lam, at_least=0)
        shape = {"num_samples": num_samples, "num_classes": num_classes}
        for name, value in shape.items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigError(f"got {name}={value!r}, expected an integer >= 1")
        self.register_buffer("targets", torch.zeros(*shape.values()))
        self._index: Tensor | None = None

    def reset(self) -> None:
        """Forget what was said of all samples."""
        self.targets.zero_()

    def hyperparameters(self) -> dict[str, int | float]:
        """Return the hyper-parameters by name."""
        samples, classes = self.targets.shape
        return {"num_samples": samples, "num_classes": classes, "beta": self.beta, "lam": self.lam}

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        *,
        index: Tensor | None = None,
        **arguments: Any,
    ) -> Tensor:
        """Return the reduced loss of logits (N, C) or (C,); index: which samples they are, (N,) or ().

        arguments: sample_weight and normalizer, as for every loss.
        """
        if index is None:
            raise LossInputError(
                "early-learning regularisation needs to know which samples it is given; pass their places in the "
                "training set, as in loss(z, y, index=i); autorobustloss.data.Indexed(dataset) hands them out"
            )
        self._index = self._checked(index, input)
        try:
            return super().forward(input, target, **arguments)
        finally:
            self._index = None

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) -> (M,)."""
        return F.cross_entropy(logits, labels, reduction="none") + self._pull(logits, None)

    def hard_where(self, counted: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row, 0 where it does not count: (M,), (M, C), (M,) -> (M,)."""
        logits = torch.where(counted.unsqueeze(1), logits, torch.zeros_like(logits))
        value = F.cross_entropy(logits, labels, reduction="none") + self._pull(logits, counted)
        return value.masked_fill(~counted, 0.0)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the expected loss of each row: (M, C), (M, C) -> (M,)."""
        cross_entropy = -(kept(torch.log_softmax(logits, dim=1), probabilities) * probabilities).sum(dim=1)
        return cross_entropy + self._pull(logits, probabilities.sum(dim=1) > 0)

    def _pull(self, logits: Tensor, counted: Tensor | None) -> Tensor:
        """Return λ·log(1 − ⟨t, p⟩) of each row, after t has followed p if the loss learns."""
        index = self._index
        p = torch.softmax(logits, dim=1).clamp(LEAST, 1 - LEAST)
        target = self.targets[index].to(p)
        if self.training and torch.is_grad_enabled():
            said = p.detach() / p.detach().sum(dim=1, keepdim=True)
            after = self.beta * target + (1 - self.beta) * said
            target = after if counted is None else torch.where(counted.unsqueeze(1), after, target)
            self.targets[index] = target.to(self.targets)
        return self.lam * torch.log1p(-(target * p).sum(dim=1))

    def _checked(self, index: Tensor, logits: Tensor) -> Tensor:
        """Return the places of the rows, (N,), or raise LossInputError for what they cannot be."""
        samples, classes = self.targets.shape
        if logits.ndim > 2 or logits.shape[-1] != classes:
            raise LossInputError(f"got logits of shape {tuple(logits.shape)}, expected (N, {classes})")
        whole_numbers = isinstance(index, Tensor) and index.dtype in (torch.int64, torch.int32)
        if not whole_numbers or index.shape != logits.shape[:-1]:
            got = f"{tuple(index.shape)} and {index.dtype}" if isinstance(index, Tensor) else type(index).__name__
            raise LossInputError(f"got index of {got}, expected a place for each sample: integers {logits.shape[:-1]}")
        index = index.reshape(-1).long().to(self.targets.device)
        if readable(index) and len(index) and not 0 <= int(index.min()) <= int(index.max()) < samples:
            raise LossInputError(
                f"got places from {int(index.min())} to {int(index.max())}, expected 0 to {samples - 1} in a training "
                f"set of {samples} samples"
            )
        return index
