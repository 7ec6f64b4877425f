"""The cards of each family, and how they are read and written."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from autorobustloss.errors import CardError, ConfigError, unknown_name
from autorobustloss.losses.cards.base import Learned, LossCard, read_numbers
from autorobustloss.losses.cards.shelf import card_paths
from autorobustloss.losses.gated.core import Gate, check_gate
from autorobustloss.losses.gated.module import GatedLoss
from autorobustloss.losses.taylor.form import CanonicalForm, order_of
from autorobustloss.losses.taylor.module import TaylorLoss
from autorobustloss.losses.taylor.scale import Scale, check_scale
from autorobustloss.reading import read_text

LARGEST_FILE = 16 * 2**20


@dataclass(frozen=True)
class Card(LossCard):
    """The card of a learned Taylor loss, see `LossCard`; theta, log_weight, log_power, scale are as in `TaylorLoss`.

    >>> card = Card.from_loss(TaylorLoss([0, 0, 0, 0, -1], scale="init"), name="a-mae")
    >>> card == Card.from_json(card.to_json())
    True
    """

    SCHEMA: ClassVar = "autorobustloss-card/1"
    FAMILY: ClassVar = "taylor"
    LOSS: ClassVar = TaylorLoss
    ARGUMENTS: ClassVar = ("theta", "log_weight", "log_power", "scale")
    NUMBERS: ClassVar = (
        "order", "theta", "theta_hex", "log_weight", "log_weight_hex", "log_power", "log_power_hex", "scale",
        "canonical",
    )  # fmt: skip

    name: str
    theta: tuple[float, ...]
    log_weight: float = 0.0
    scale: Scale = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    measured: Sequence[Any] | Mapping[str, Any] = ()
    licence: str = "MIT"
    log_power: float = 0.0

    def checked(self) -> dict[str, Any]:
        """Return the arguments of the loss in their own types."""
        theta = read_numbers("theta", self.theta)
        log_weight, log_power = (read_numbers(n, [getattr(self, n)])[0] for n in ("log_weight", "log_power"))
        if not 0 <= log_power <= 1:
            raise CardError(f"log_power: got {log_power}, expected 0 to 1")
        scale = _scale(self.scale)
        try:
            order_of(len(theta))
            CanonicalForm.from_theta(theta, log_weight, log_power)
        except ConfigError as error:
            raise CardError(f"theta: {error}") from None
        return {"theta": theta, "log_weight": log_weight, "log_power": log_power, "scale": scale}

    def numbers(self) -> dict[str, Any]:
        """Return what the file says of the loss."""
        form = self.canonical()
        return {
            "order": form.order,
            "theta": list(self.theta),
            "theta_hex": [t.hex() for t in self.theta],
            "log_weight": self.log_weight,
            "log_weight_hex": self.log_weight.hex(),
            "log_power": self.log_power,
            "log_power_hex": self.log_power.hex(),
            "scale": self.scale,
            "canonical": {"a": list(form.a), "b": list(form.b), "k": form.k},
        }

    def defining(self) -> dict[str, Any]:
        """Return θ, the log term and the scale rule."""
        scale = self.scale.hex() if isinstance(self.scale, float) else self.scale
        log_term = {"log_weight": self.log_weight.hex(), "log_power": self.log_power.hex()}
        return {"theta": [t.hex() for t in self.theta], **log_term, "scale": scale}

    def shown(self) -> dict[str, Any]:
        """Return what a summary says of the numbers."""
        return {
            "order": self.canonical().order,
            "log weight": self.log_weight,
            "log power": self.log_power,
            "scale": self.scale,
        }

    def canonical(self) -> CanonicalForm:
        """Return what of θ moves the gradient."""
        return CanonicalForm.from_theta(self.theta, self.log_weight, self.log_power)

    def build(self, **arguments: Any) -> LearnedLoss:
        """Return the loss with these arguments."""
        return LearnedLoss(self, **arguments)


@dataclass(frozen=True)
class GatedCard(LossCard):
    """The card of a learned gated loss, see `LossCard`; the numbers are as in `GatedLoss`.

    >>> card = GatedCard.from_loss(GatedLoss(q=0.5, r=2.0), name="a-gate")
    >>> card == LossCard.from_json(card.to_json())
    True
    """

    SCHEMA: ClassVar = "autorobustloss-gated-card/1"
    FAMILY: ClassVar = "gated"
    LOSS: ClassVar = GatedLoss
    ARGUMENTS: ClassVar = Gate._fields
    NUMBERS: ClassVar = tuple(name for field in Gate._fields for name in (field, f"{field}_hex"))

    name: str
    q: float
    r: float
    terms: tuple[float, ...]
    progress: float | None
    prior: float = 0.0
    pace: float = 0.0
    provenance: Mapping[str, Any] = field(default_factory=dict)
    measured: Sequence[Any] | Mapping[str, Any] = ()
    licence: str = "MIT"

    def checked(self) -> dict[str, Any]:
        """Return the arguments of the loss in their own types."""
        found: dict[str, Any] = {}
        for name in self.ARGUMENTS:
            value = getattr(self, name)
            if name == "terms":
                found[name] = read_numbers(name, value)
            else:
                found[name] = None if name == "progress" and value is None else read_numbers(name, [value])[0]
        try:
            return check_gate(**found)._asdict()
        except ConfigError as error:
            raise CardError(str(error)) from None

    def numbers(self) -> dict[str, Any]:
        """Return what the file says of the loss."""
        found: dict[str, Any] = {}
        for name, value in zip(self.ARGUMENTS, self.gate):
            found[name] = list(value) if isinstance(value, tuple) else value
            found[f"{name}_hex"] = _hex(value)
        return found

    def defining(self) -> dict[str, Any]:
        """Return the family and its numbers."""
        return {"family": self.FAMILY, **{name: _hex(value) for name, value in zip(self.ARGUMENTS, self.gate)}}

    def shown(self) -> dict[str, Any]:
        """Return what a summary says of the numbers."""
        return self.gate._asdict()

    @property
    def gate(self) -> Gate:
        """The numbers of the loss."""
        return Gate(*(getattr(self, name) for name in self.ARGUMENTS))

    def build(self, **arguments: Any) -> LearnedGatedLoss:
        """Return the loss with these arguments."""
        return LearnedGatedLoss(self, **arguments)


class LearnedLoss(Learned, TaylorLoss):
    """The loss of a card: a `TaylorLoss` with nothing left to choose."""

    def __init__(self, card: Card, **arguments: Any) -> None:
        super().__init__(card.theta, card.log_weight, card.scale, log_power=card.log_power, **arguments)
        self.card = card


class LearnedGatedLoss(Learned, GatedLoss):
    """The loss of a card: a `GatedLoss` with nothing left to choose."""

    def __init__(self, card: GatedCard, **arguments: Any) -> None:
        super().__init__(*card.gate, **arguments)
        self.card = card


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


def save_card(card: LossCard, path: str | os.PathLike[str]) -> None:
    """Write a card to a JSON file, whole or not at all."""
    card.save(path)


def _scale(value: Any) -> Scale:
    try:
        return check_scale(value)
    except ConfigError as error:
        raise CardError(f"scale: {error}") from None


def _hex(value: Any) -> Any:
    return [v.hex() for v in value] if isinstance(value, tuple) else None if value is None else value.hex()
