"""What the losses of the literature share: hyper-parameters as fields of a class, and losses of a label."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from typing_extensions import dataclass_transform

from autorobustloss.errors import ConfigError
from autorobustloss.losses.base import RobustLoss, kept
from autorobustloss.losses.numbers import within


class Field(NamedTuple):
    """A hyper-parameter: its default, how a value is checked, and whether it is given by name only."""

    default: Any
    check: Callable[[str, Any], Any]
    kw_only: bool = False


def number(*, default: float, **limits: Any) -> Any:
    """Declare a hyper-parameter that is a number, in the limits of `within`."""
    return Field(default, partial(within, **limits))


def count(*, default: int, at_most: int) -> Any:
    """Declare a hyper-parameter that counts steps, an integer from 1 to `at_most`."""

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= at_most:
            raise ConfigError(f"got {name}={value!r}, expected an integer >= 1, at most {at_most}")
        return value

    return Field(default, check)


def flag(*, default: bool, kw_only: bool) -> Any:
    """Declare a hyper-parameter that is True or False; the text "no" would count as True."""
    return Field(default, partial(_instance, kind=bool, expected="True or False"), kw_only)


def number_or_none(*, default: float | None) -> Any:
    """Declare a hyper-parameter that is a number, or None."""
    return Field(default, lambda name, value: None if value is None else within(name, value))


def text(*, default: str) -> Any:
    """Declare a hyper-parameter that is a text."""
    return Field(default, partial(_instance, kind=str, expected="a text"))


def _instance(name: str, value: Any, kind: type, expected: str) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"got {name}={value!r:.80}, expected {expected}")
    return value


def argument(*, default: Any, kw_only: bool) -> Any:
    """Declare, to type checkers, an argument that every loss takes."""


@dataclass_transform(eq_default=False, field_specifiers=(number, number_or_none, count, flag, text, argument))
class _Declared:
    """Tells type checkers that the fields of a class are the arguments of its constructor."""


class PublishedLoss(RobustLoss, _Declared):
    """A loss whose hyper-parameters are fields: arguments of its constructor, checked, and kept under their names.

    A subclass writes `q: float = number(default=0.7, above=0)`. Its signature, as `help`, a registry and type checkers
    see it, has the fields in their order, then those given by name only, then weight, ignore_index, reduction and, if
    it `smooths`, label_smoothing.
    """

    smooths: ClassVar[bool] = True
    """Whether smoothed labels have a meaning for the loss: not if it smooths them itself, or follows its own belief."""

    if TYPE_CHECKING:
        weight: Tensor | None = argument(default=None, kw_only=True)
        ignore_index: int = argument(default=-100, kw_only=True)
        reduction: str = argument(default="mean", kw_only=True)
        label_smoothing: float = argument(default=0.0, kw_only=True)

    _fields: ClassVar[dict[str, Field]] = {}
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        found = cls._fields | {name: field for name, field in vars(cls).items() if isinstance(field, Field)}
        cls._fields = dict(sorted(found.items(), key=lambda item: item[1].kw_only))
        kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
        own = [inspect.Parameter(name, kinds[f.kw_only], default=f.default) for name, f in cls._fields.items()]
        shared = list(inspect.signature(RobustLoss.__init__).parameters.values())[1 : None if cls.smooths else -1]
        cls.__signature__ = inspect.Signature([*own, *shared])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        given = self.__signature__.bind(*args, **kwargs)
        given.apply_defaults()
        own = {name: given.arguments.pop(name) for name in self._fields}
        super().__init__(**given.arguments)
        for name, field in self._fields.items():
            setattr(self, name, field.check(name, own[name]))
        self.check()

    def check(self) -> None:
        """Raise ConfigError for hyper-parameters that do not go together."""

    def hyperparameters(self) -> dict[str, Any]:
        """Return the hyper-parameters by name, as `create_loss` takes them."""
        return {name: getattr(self, name) for name in self._fields}


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


class TwoTerms(PublishedLoss):
    """A loss with two weighted terms, α·active + β·passive; ConfigError for a negative weight or two zeros."""

    alpha: float = number(default=1.0, at_least=0)
    beta: float = number(default=1.0, at_least=0)

    def check(self) -> None:
        """Raise ConfigError for two zeros."""
        if self.alpha == 0 and self.beta == 0:
            raise ConfigError("got alpha=0 and beta=0, expected at least one of them > 0")
