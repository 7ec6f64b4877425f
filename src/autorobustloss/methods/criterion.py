"""From a loss's spec to the module that is minimised, at its published scale or at cross-entropy's."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autorobustloss.errors import ConfigError
from autorobustloss.losses import RobustLoss, create_loss
from autorobustloss.losses.cards import LossCard
from autorobustloss.losses.literature.values import PENALTY
from autorobustloss.losses.start import start_pull
from autorobustloss.methods.spec import MethodSpec


class Scaled(nn.Module):
    """A loss times a constant factor."""

    def __init__(self, loss: nn.Module, factor: float) -> None:
        super().__init__()
        self.loss = loss
        self.factor = factor

    def forward(self, input: Tensor, target: Tensor, **arguments: Any) -> Tensor:
        """Return the factor times the loss."""
        return self.factor * self.loss(input, target, **arguments)


def like_cross_entropy(loss: RobustLoss, num_classes: int) -> Scaled:
    """Return a loss scaled to start training like cross-entropy: equal gradients at uniform predictions.

    factor = Σ_y ‖∇CE‖² / Σ_y ⟨∇ℓ, ∇CE⟩, gradients with respect to logits of 0, one for each label y. For a loss
    that treats all classes alike ∇ℓ is parallel to ∇CE there, and the two become equal; else they agree on average.
    Scale is a confounder: with a fixed learning rate and number of epochs a smaller gradient is early stopping.
    Raises ConfigError for a loss whose gradient there vanishes, is not finite, or pushes away from the label.

    >>> like_cross_entropy(create_loss("mae"), num_classes=10).factor
    10.0
    """
    pull = start_pull(loss, num_classes)
    if not 1e-12 < pull < float("inf"):
        raise ConfigError(
            f"{loss} cannot be matched to cross-entropy for {num_classes} classes: at uniform predictions its gradient "
            f"is {pull:g} times cross-entropy's, expected a positive number; train it without match_scale"
        )
    return Scaled(loss, round(1 / pull, 12))


def card_method(card: LossCard) -> MethodSpec:
    """Return the method that trains with a learned loss: its numbers, so that a job says what it trains, not a name.

    >>> from autorobustloss.losses import TaylorLoss
    >>> card_method(LossCard.from_loss(TaylorLoss([0, 0, 0, 0, -1], scale="init"), name="a-mae")).name
    'taylor'
    """
    return MethodSpec.of(card.FAMILY, **card.options())


def penalty_of(spec: MethodSpec) -> float:
    """Return δ of the L1 penalty δ·Σ|w| that a loss is trained with, 0 for none; ConfigError for none that can be.

    >>> penalty_of(MethodSpec.parse("anl_ce(l1=5e-5)"))
    5e-05
    """
    value = spec.options.get(PENALTY, 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise ConfigError(f"method {spec.label!r}: got l1={value!r}, expected a number of 0 or more")
    return float(value)


def bare_loss(spec: MethodSpec) -> RobustLoss:
    """Return the loss of a spec by itself, without what any loss may be given beside its own hyper-parameters."""
    return create_loss(spec.name, **{k: v for k, v in spec.options.items() if k not in ("match_scale", PENALTY)})


def create_criterion(spec: MethodSpec, num_classes: int, device: torch.device | str = "cpu") -> nn.Module:
    """Build the loss of a spec on a device.

    `match_scale=True` is understood for every loss, see `like_cross_entropy`; `l1` too, which is a penalty on weights,
    so that the loss itself leaves it out (see `run_method`).

    >>> criterion = create_criterion(MethodSpec.parse("gce(q=0.5, match_scale=True)"), num_classes=10)
    >>> criterion.factor == like_cross_entropy(create_loss("gce", q=0.5), 10).factor
    True
    """
    penalty_of(spec)  # refuses one that is none
    match_scale = spec.options.get("match_scale", False)
    if not isinstance(match_scale, bool):
        raise ConfigError(f"method {spec.label!r}: got match_scale={match_scale!r}, expected True or False")
    if (got := spec.options.get("reduction", "mean")) != "mean":
        raise ConfigError(f"method {spec.label!r}: got reduction={got!r}, training takes the mean")
    loss = bare_loss(spec)
    loss.warns = False  # a table says how it fared
    return (like_cross_entropy(loss, num_classes) if match_scale else loss).to(device)
