"""The cards of each family, and how they are read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from autorobustloss.errors import CardError, unknown_name
from autorobustloss.losses.base import LearnableLoss
from autorobustloss.losses.cards.base import Learned, LossCard
from autorobustloss.losses.cards.shelf import card_paths
from autorobustloss.losses.gated.module import GatedLoss
from autorobustloss.losses.taylor.form import CanonicalForm
from autorobustloss.losses.taylor.module import TaylorLoss
from autorobustloss.losses.taylor.scale import Scale
from autorobustloss.reading import read_text
from autorobustloss.registry import LOSSES, Registry

LARGEST_FILE = 16 * 2**20


class LearnedLoss(Learned, TaylorLoss):
    """The loss of a card: a `TaylorLoss` with nothing left to choose."""


class LearnedGatedLoss(Learned, GatedLoss):
    """The loss of a card: a `GatedLoss` with nothing left to choose."""


@dataclass(frozen=True)
class Card(LossCard):
    """The card of a learned Taylor loss, see `LossCard`; theta, log_weight, log_power, scale are as in `TaylorLoss`.

    >>> card = Card.from_loss(TaylorLoss([0, 0, 0, 0, -1], scale="init"), name="a-mae")
    >>> card == Card.from_json(card.to_json())
    True
    """

    SCHEMA: ClassVar[Any] = "autorobustloss-card/1"
    FAMILY: ClassVar[Any] = "taylor"
    LOSS: ClassVar[Any] = TaylorLoss
    LEARNED: ClassVar[Any] = LearnedLoss

    theta: tuple[float, ...]
    log_weight: float = 0.0
    log_power: float = 0.0
    scale: Scale = None

    def numbers(self) -> dict[str, Any]:
        """Return what the file says of the loss, its order and its canonical form included."""
        form = self.canonical()
        canonical = {"a": list(form.a), "b": list(form.b), "k": form.k}
        return {"order": form.order, **super().numbers(), "canonical": canonical}

    def shown(self) -> dict[str, Any]:
        """Return what a summary says of the numbers."""
        rest = {name: value for name, value in self.arguments().items() if name != "theta"}
        return {"order": self.canonical().order, **rest}

    def canonical(self) -> CanonicalForm:
        """Return what of θ moves the gradient."""
        return CanonicalForm.from_theta(self.theta, self.log_weight, self.log_power)


@dataclass(frozen=True)
class GatedCard(LossCard):
    """The card of a learned gated loss, see `LossCard`; the numbers are as in `GatedLoss`.

    >>> card = GatedCard.from_loss(GatedLoss(q=0.5, r=2.0), name="a-gate")
    >>> card == LossCard.from_json(card.to_json())
    True
    """

    SCHEMA: ClassVar[Any] = "autorobustloss-gated-card/1"
    FAMILY: ClassVar[Any] = "gated"
    LOSS: ClassVar[Any] = GatedLoss
    LEARNED: ClassVar[Any] = LearnedGatedLoss

    q: float
    r: float
    terms: tuple[float, ...]
    progress: float | None
    prior: float = 0.0
    pace: float = 0.0
    odds: float = 0.0
    own: float = 0.0
    smoothing: float = 0.0

    def defining(self) -> dict[str, Any]:
        """Return the family and its numbers."""
        return {"family": self.FAMILY, **super().defining()}


def load_card(source: str | os.PathLike[str]) -> LossCard:
    """Return the card in a JSON file, or one that ships with the library, by its name.

    Everything is checked before it is used, and nothing in the file is run. Raises CardError, which names the file
    and the field, for a card that is missing, damaged, altered or of an unknown version.
    """
    shipped = card_paths()
    if source in shipped:
        source = shipped[str(source)]
    elif isinstance(source, str) and re.fullmatch(r"[\w+-]+", source) and not os.path.exists(source):
        raise unknown_name("learned loss", source, shipped)
    text = read_text(source, "try the path of a .json file with a loss card", CardError, LARGEST_FILE)
    try:
        return LossCard.from_json(text)
    except CardError as error:
        raise CardError(f"loss card {source}: {error}") from None


def register_cards(registry: Registry[Any]) -> None:
    """Register each card's loss under its name; a card is read when its loss is created."""
    for name, path in card_paths().items():
        registry.register(name)(_factory(path))


def _factory(path: Path) -> Callable[..., LearnableLoss]:
    def learned(
        *, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> LearnableLoss:
        """Return the loss of the card; not every family takes label_smoothing."""
        smoothing = {"label_smoothing": label_smoothing} if label_smoothing else {}
        return load_card(path).loss(weight=weight, ignore_index=ignore_index, reduction=reduction, **smoothing)

    return learned


register_cards(LOSSES)
