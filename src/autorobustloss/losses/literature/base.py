"""What the losses of the literature share: hyper-parameters as constructor arguments, and losses of a label."""

from __future__ import annotations

import inspect
import math
from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from autorobustloss.errors import ConfigError
from autorobustloss.losses.base import RobustLoss, kept


class LossArguments(TypedDict, total=False):
    """The arguments every loss takes besides its hyper-parameters."""

    weight: Tensor | None
    ignore_index: int
    reduction: str


class PublishedLoss(RobustLoss):
    """A loss whose hyper-parameters are the arguments of its constructor, kept under the same names.

    A subclass writes `def __init__(self, q=0.7, **arguments: Unpack[LossArguments])` and stores `self.q`; its
    signature (as `help`, a registry and `hyperparameters` see it) follows from that.
    """

    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = [p for p in list(inspect.signature(cls.__init__).parameters.values())[1:] if p.kind is not p.VAR_KEYWORD]
        shared = list(inspect.signature(RobustLoss.__init__).parameters.values())[1:]
        cls._names = tuple(p.name for p in own if p.name not in LossArguments.__annotations__)
        cls.__signature__ = inspect.Signature([p for p in own if p.name in cls._names] + shared)  # type: ignore[attr-defined]

    def hyperparameters(self) -> dict[str, Any]:
        """Return the hyper-parameters by name, as `create_loss` takes them."""
        return {name: getattr(self, name) for name in self._names}


class LabelwiseLoss(PublishedLoss):
    """A loss ℓ(z, y) of logits z and one label y, written once on log-probabilities.

    A subclass writes `of_label(chosen, log_p)`: `log_p` (M, C) holds the log-probabilities of all classes, `chosen`
    those of the candidate labels, (M, 1) for class indices or (M, C) for all classes; it returns the loss of each
    candidate in the shape of `chosen`.

    A target distribution t counts as a weighted set of labels: the loss is its expectation Σ_c t_c·ℓ(z, c). Two
    votes for a sample weigh as much as the sample given twice, and mixup is the mix of the losses.
    """

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label, from its log-probability and those of all classes."""
        raise NotImplementedError

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) -> (M,)."""
        log_p = torch.log_softmax(logits, dim=1)
        return self.of_label(log_p.gather(1, labels.unsqueeze(1)), log_p).squeeze(1)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the expected loss of each row: (M, C), (M, C) -> (M,)."""
        log_p = torch.log_softmax(logits, dim=1)
        return (probabilities * self.of_label(kept(log_p, probabilities), log_p)).sum(dim=1)


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Return the labels (M,) as one-hot rows in shape and dtype of `like` (M, C).

    `torch.nn.functional.one_hot` looks at the labels, which `vmap` forbids and a GPU waits for.
    """
    return torch.zeros_like(like).scatter(1, labels.unsqueeze(1), 1.0)


def within(
    name: str,
    value: float,
    *,
    above: float = -math.inf,
    below: float = math.inf,
    at_least: float = -math.inf,
    at_most: float = math.inf,
) -> float:
    """Return a hyper-parameter as a float, or raise ConfigError if it is not a number in the given range.

    Any but 0 must be from 1e-30 to 1e30 in size: float32 could not hold what is made of others.

    >>> within("q", 0.7, above=0, at_most=1)
    0.7
    """
    number = not isinstance(value, bool) and isinstance(value, (int, float))
    if number and above < value < below and at_least <= value <= at_most:
        if value == 0 or 1e-30 <= abs(value) <= 1e30:
            return float(value)
        raise ConfigError(f"got {name}={value!r:.80}, expected 0 or a size from 1e-30 to 1e30")
    limits = ((">", above), (">=", at_least), ("<", below), ("<=", at_most))
    wanted = " and ".join(f"{sign} {limit:g}" for sign, limit in limits if math.isfinite(limit))
    raise ConfigError(f"got {name}={value!r}, expected a number {wanted}".rstrip())


def flag(name: str, value: bool) -> bool:
    """Return a hyper-parameter that is True or False, or raise ConfigError: the text "no" would count as True."""
    if not isinstance(value, bool):
        raise ConfigError(f"got {name}={value!r:.80}, expected True or False")
    return value


def weighted(factor: float, term: Tensor) -> Tensor:
    """Return factor·term; 0, and no gradient, where the factor is 0, though the term may be infinite.

    >>> weighted(0.0, torch.tensor([1.0, torch.inf]))
    tensor([0., 0.])
    """
    return factor * term if factor else torch.zeros_like(term)


def whole(name: str, value: int, most: int) -> int:
    """Return a hyper-parameter that counts steps, or raise ConfigError if it is no integer from 1 to `most`.

    >>> whole("order", 2, most=100)
    2
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise ConfigError(f"got {name}={value!r}, expected an integer >= 1, at most {most}")
    return value


def not_both_zero(alpha: float, beta: float) -> tuple[float, float]:
    """Return the two non-negative weights of a combined loss; ConfigError if negative or both zero."""
    alpha, beta = within("alpha", alpha, at_least=0), within("beta", beta, at_least=0)
    if alpha == 0 and beta == 0:
        raise ConfigError("got alpha=0 and beta=0, expected at least one of them > 0")
    return alpha, beta
