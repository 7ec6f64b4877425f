"""Several labels a sample: a two-class loss for each label."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from autorobustloss.errors import ConfigError, LossInputError
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.create import create_loss
from autorobustloss.losses.inputs import either


class MultiLabel(nn.Module):
    """Multi-label classification: the mean over samples and labels of a loss of two classes, absent and present.

        ℓ(z, t) = L((0, z), t),  whose probability of "present" is the sigmoid of z

    With cross-entropy it is `torch.nn.BCEWithLogitsLoss`. Every loss has a meaning here that has one for two classes;
    one that has none there (a scale rule that it cannot follow) says so when it is called. A loss that looks at other
    samples (`gated`, `antidote`) is copied for each label, so that a rare label is never measured by a common one.

    loss: a loss, or what `create_loss` takes; its `weight`, (2,), is that of absent and present.
    Shapes: input (N, K) logits for K labels; target (N, K): 0 and 1 as floats or integers, `ignore_index` among the
    integers, or probabilities of presence. The call's `sample_weight` is (N, K) or (N,).

    Raises LossInputError for shapes that do not fit, ConfigError for what is no loss.

    >>> z, t = torch.tensor([[2.0, -1.0]]), torch.tensor([[1.0, 1.0]])
    >>> MultiLabel("ce")(z, t), nn.BCEWithLogitsLoss()(z, t), MultiLabel("gce")(z, t)
    (tensor(0.7201), tensor(0.7201), tensor(0.4902))
    """

    def __init__(self, loss: str | RobustLoss, **hyperparameters: Any) -> None:
        super().__init__()
        if isinstance(loss, RobustLoss) and hyperparameters:
            raise ConfigError(f"got a loss and {', '.join(hyperparameters)}, expected the name of one beside them")
        self.loss = loss if isinstance(loss, RobustLoss) else create_loss(loss, **hyperparameters)
        self.each = nn.ModuleList()

    def forward(
        self,
        input: Tensor,
        target: Tensor,
        *,
        sample_weight: Tensor | None = None,
        normalizer: float | Tensor | None = None,
        num_items_in_batch: int | Tensor | None = None,
    ) -> Tensor:
        """Return the reduced loss; a normalizer counts labels, N·K in a batch without ignored ones."""
        if not isinstance(target, Tensor) or input.ndim != 2 or target.shape != input.shape:
            got = tuple(target.shape) if isinstance(target, Tensor) else type(target).__name__
            raise LossInputError(f"got logits {tuple(input.shape)} and target {got}, expected (N, K) and (N, K)")
        pairs = torch.stack([torch.zeros_like(input), input], dim=1)
        if torch.is_floating_point(target):
            target = torch.stack([1 - target, target], dim=1)
        if sample_weight is not None and sample_weight.ndim == 1:
            sample_weight = sample_weight.unsqueeze(1).expand_as(input)
        normalizer = either(normalizer, num_items_in_batch)
        if self.loss.batchwise or self.loss.at_start(2) is not self.loss:
            return self._by_label(pairs, target, sample_weight, normalizer)
        return self.loss(pairs, target, sample_weight=sample_weight, normalizer=normalizer)

    def _by_label(
        self, pairs: Tensor, target: Tensor, sample_weight: Tensor | None, normalizer: float | Tensor | None
    ) -> Tensor:
        """Return the loss with a copy of it for each label, which remembers that label alone."""
        if len(self.each) != pairs.shape[2]:
            self.each = nn.ModuleList(copy.deepcopy(self.loss) for _ in range(pairs.shape[2]))
        values, weights = [], []
        for k, loss in enumerate(cast(list[RobustLoss], self.each)):
            one, share = target[..., k], None if sample_weight is None else sample_weight[:, k]
            loss.reduction = "none"
            values.append(loss(pairs[..., k], one, sample_weight=share))
            weights.append(loss.denominator(one, share))
        return self.loss.reduced(torch.stack(values, dim=-1), torch.stack(weights).sum(), normalizer)
