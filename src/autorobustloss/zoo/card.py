"""A learned loss as a text file: its numbers, their hash, and how they were found."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import reprlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autorobustloss.errors import CardError, ConfigError, unknown_name
from autorobustloss.losses.canonical import CanonicalForm, as_floats, order_of
from autorobustloss.losses.scale import Scale, check_scale
from autorobustloss.losses.taylor import TaylorLoss
from autorobustloss.reading import read_text
from autorobustloss.zoo.shelf import card_paths

SCHEMA = "autorobustloss-card/1"
FIELDS = (
    "schema", "name", "order", "theta", "theta_hex", "log_weight", "log_weight_hex", "log_power",
    "log_power_hex", "scale", "canonical", "sha256",
    "provenance", "measured", "licence", "checksum",
)  # fmt: skip
DEFINING = ("name", "theta", "log_weight", "log_power", "scale", "provenance", "measured", "licence")
"""The fields that the others follow from."""
LARGEST_FILE = 16 * 2**20
ARGUMENTS = ("weight", "ignore_index", "reduction")


@dataclass(frozen=True)
class Card:
    """A learned Taylor loss and where it comes from.

    name: what the loss is called. theta, log_weight, log_power, scale: the arguments of `TaylorLoss`.
    provenance: the search that found it (config, seed, generations, fitness, versions, date, hardware).
    measured: how it fared in a benchmark. licence: terms under which the numbers may be used.

    Provenance and table are plain JSON. Raises CardError for a field that is not what it should be.

    >>> card = Card.from_loss(TaylorLoss([0, 0, 0, 0, -1], scale="init"), name="a-mae")
    >>> card == Card.from_json(card.to_json())
    True
    """

    name: str
    theta: tuple[float, ...]
    log_weight: float = 0.0
    scale: Scale = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    measured: Sequence[Any] | Mapping[str, Any] = ()
    licence: str = "MIT"
    log_power: float = 0.0

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for text in ("name", "licence"):
            value = getattr(self, text)
            if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
                raise CardError(f"{text}: got {_short(value)}, expected a printable text of 1 to 200 characters")
        set_(self, "theta", _numbers("theta", self.theta))
        for name in ("log_weight", "log_power"):
            set_(self, name, _numbers(name, [getattr(self, name)])[0])
        if not 0 <= self.log_power <= 1:
            raise CardError(f"log_power: got {self.log_power}, expected 0 to 1")
        set_(self, "scale", _scale(self.scale))
        try:
            order_of(len(self.theta))
            self.canonical()
        except ConfigError as error:
            raise CardError(f"theta: {error}") from None
        if not isinstance(self.provenance, Mapping):
            raise CardError(f"provenance: got {type(self.provenance).__name__}, expected an object of plain JSON")
        if not isinstance(self.measured, (Mapping, list, tuple)):
            raise CardError(f"measured: got {type(self.measured).__name__}, expected a list or an object of plain JSON")
        set_(self, "provenance", _plain_json("provenance", self.provenance))
        set_(self, "measured", _plain_json("measured", self.measured))

    @classmethod
    def from_loss(
        cls,
        loss: Any,
        *,
        name: str,
        provenance: Mapping[str, Any] | None = None,
        measured: Sequence[Any] | Mapping[str, Any] = (),
        licence: str = "MIT",
    ) -> Card:
        """Return the card of a `TaylorLoss`; raises CardError for any other loss."""
        if not isinstance(loss, TaylorLoss):
            raise CardError(f"got {type(loss).__name__}, expected a TaylorLoss; other losses are code, not numbers")
        return cls(name, loss.theta, loss.log_weight, loss.scale, provenance or {}, measured, licence, loss.log_power)

    @classmethod
    def from_dict(cls, content: Any) -> Card:
        """Read what `to_dict` gives; every field must be there, be of its type and agree with the others."""
        if not isinstance(content, dict):
            raise CardError(f"got {type(content).__name__}, expected a JSON object with the fields of a loss card")
        if content.get("schema") != SCHEMA:
            raise CardError(
                f"schema: got {_short(content.get('schema'))}, expected {SCHEMA!r}; "
                "the card may be of a newer version of this library, or no loss card at all"
            )
        for name in content:
            if name not in FIELDS:
                raise CardError(str(unknown_name("card field", name, FIELDS)))
        for name in FIELDS:
            if name not in content:
                raise CardError(f"{name}: missing; take the card from its source again")
        card = cls(**{name: content[name] for name in DEFINING})
        for name, wanted in card.to_dict().items():
            if not _same(content[name], wanted):
                raise CardError(
                    f"{name}: got {_short(content[name])}, expected {_short(wanted)} from the other fields; "
                    "the card was altered or damaged, take it from its source again"
                )
        return card

    @classmethod
    def from_json(cls, text: str | bytes) -> Card:
        """Read the text of a card file."""
        try:
            text = text.decode("utf-8") if isinstance(text, bytes) else text
            content = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse)
            return cls.from_dict(content)
        except CardError:
            raise
        except (ValueError, RecursionError) as error:
            raise CardError(f"not the JSON text of a loss card: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain JSON, with hex floats, canonical coefficients and hashes filled in."""
        form = self.canonical()
        content: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "order": form.order,
            "theta": list(self.theta),
            "theta_hex": [t.hex() for t in self.theta],
            "log_weight": self.log_weight,
            "log_weight_hex": self.log_weight.hex(),
            "log_power": self.log_power,
            "log_power_hex": self.log_power.hex(),
            "scale": self.scale,
            "canonical": {"a": list(form.a), "b": list(form.b), "k": form.k},
            "sha256": self.sha256,
            "provenance": self.provenance,
            "measured": self.measured,
            "licence": self.licence,
        }
        return {**content, "checksum": _digest(content)}

    def to_json(self) -> str:
        """Return the text of the card file."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the card to a file, whole or not at all."""
        target = Path(path)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.write(self.to_json())
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        except OSError as error:
            raise CardError(f"cannot write {target}: {error.strerror}; try a folder that exists") from None
        finally:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """Hash of what defines the loss: θ, the log term and the scale rule, whatever the name and history."""
        scale = self.scale.hex() if isinstance(self.scale, float) else self.scale
        log_term = {"log_weight": self.log_weight.hex(), "log_power": self.log_power.hex()}
        return _digest({"theta": [t.hex() for t in self.theta], **log_term, "scale": scale})

    def canonical(self) -> CanonicalForm:
        """Return what of θ moves the gradient."""
        return CanonicalForm.from_theta(self.theta, self.log_weight, self.log_power)

    def loss(self, **arguments: Any) -> LearnedLoss:
        """Return the loss; arguments are weight, ignore_index and reduction, as in `CrossEntropyLoss`."""
        for name in arguments:
            if name not in ARGUMENTS:
                raise ConfigError(
                    f"loss {self.name!r} does not take {name!r}; it takes {', '.join(ARGUMENTS)}. Its numbers are "
                    "learned; to change one, build a TaylorLoss from the theta, log term and scale of the card"
                )
        return LearnedLoss(self, **arguments)

    def summary(self) -> str:
        """Return the card in a few lines for a terminal."""
        lines = {
            "card": self.name,
            "order": self.canonical().order,
            "log weight": self.log_weight,
            "log power": self.log_power,
            "scale": self.scale,
            "sha256": self.sha256[:16],
            "licence": self.licence,
        }
        for part in (self.provenance, self.measured):
            if isinstance(part, Mapping):
                lines.update({k.replace("_", " "): v for k, v in part.items() if isinstance(v, (str, int, float))})
        width = max(map(len, lines))
        indent = "\n" + " " * (width + 2)
        return "\n".join(
            f"{name:<{width}}  {indent.join(textwrap.wrap(str(value), 100 - width))}" for name, value in lines.items()
        )


class LearnedLoss(TaylorLoss):
    """The loss of a card: a `TaylorLoss` with nothing left to choose."""

    def __init__(self, card: Card, **arguments: Any) -> None:
        super().__init__(card.theta, card.log_weight, card.scale, log_power=card.log_power, **arguments)
        self.card = card

    def hyperparameters(self) -> dict[str, Any]:
        """Return no hyper-parameters: θ, log_weight, log_power and scale are the card's."""
        return {}

    def extra_repr(self) -> str:
        """Show the name of the card."""
        return ", ".join(filter(None, [repr(self.card.name), super().extra_repr()]))


def load_card(source: str | os.PathLike[str]) -> Card:
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
        return Card.from_json(text)
    except CardError as error:
        raise CardError(f"loss card {source}: {error}") from None


def save_card(card: Card, path: str | os.PathLike[str]) -> None:
    """Write a card to a JSON file, whole or not at all."""
    card.save(path)


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise CardError(f"{name}: got {_short(values)}, expected a list of numbers")
    values = list(values)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise CardError(f"{name}: got {_short(value)}, expected a number")
    try:
        return as_floats(values, name)
    except (ConfigError, OverflowError) as error:
        raise CardError(f"{name}: {error}") from None


def _scale(value: Any) -> Scale:
    try:
        return check_scale(value)
    except ConfigError as error:
        raise CardError(f"scale: {error}") from None


def _plain_json(name: str, value: Any) -> Any:
    """Return a copy in JSON's own types."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()  # half a surrogate pair cannot be written
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise CardError(f"{name}: {error}; expected texts, finite numbers, lists and objects only") from None


def _digest(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _same(got: Any, wanted: Any) -> bool:
    """Compare as JSON text, so that 1, 1.0 and True differ nowhere but in how a number is written."""
    if isinstance(wanted, float):
        # Compared before it is converted: an integer may be beyond a float. The sign tells 0.0 from -0.0.
        number = isinstance(got, (int, float)) and not isinstance(got, bool) and got == wanted
        return number and math.copysign(1, got) == math.copysign(1, wanted)
    if isinstance(wanted, list):
        return isinstance(got, list) and len(got) == len(wanted) and all(map(_same, got, wanted))
    if isinstance(wanted, dict):
        return isinstance(got, dict) and got.keys() == wanted.keys() and all(_same(got[k], wanted[k]) for k in wanted)
    return type(got) is type(wanted) and got == wanted


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise CardError(f"got a field twice in {_short(sorted(k for k, _ in pairs))}, expected each once")
    return content


def _refuse(constant: str) -> Any:
    raise CardError(f"got {constant}, expected finite numbers")


def _short(value: Any) -> str:
    return " ".join(f"{reprlib.repr(value):.80}".split())
