"""What the cards of all families share: a text file with a loss's numbers, their hash, and how they were found."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import reprlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from autorobustloss.errors import CardError, ConfigError, unknown_name
from autorobustloss.losses.learnable import LearnableLoss
from autorobustloss.losses.taylor.form import as_floats

DESCRIBING = ("name", "provenance", "measured", "licence")
"""What a card says beside the numbers of its loss."""
ARGUMENTS = ("weight", "ignore_index", "reduction")

KINDS: dict[str, type[LossCard]] = {}
"""The cards of each family by their schema."""


class LossCard:
    """A learned loss and where it comes from; a subclass is the card of one family.

    name: what the loss is called. provenance: the search that found it (config, seed, generations, fitness, versions,
    date, hardware). measured: how it fared in a benchmark. licence: terms under which the numbers may be used.
    Provenance and table are plain JSON. Raises CardError for a field that is not what it should be.

    A family says its SCHEMA, the name of its losses in `create_loss` (FAMILY), their class (LOSS), which ARGUMENTS of
    that class make the loss, and which fields of the file are about them (NUMBERS).
    """

    SCHEMA: ClassVar[str]
    FAMILY: ClassVar[str]
    LOSS: ClassVar[type[LearnableLoss]]
    ARGUMENTS: ClassVar[tuple[str, ...]]
    NUMBERS: ClassVar[tuple[str, ...]]

    name: str
    provenance: Mapping[str, Any]
    measured: Sequence[Any] | Mapping[str, Any]
    licence: str

    def __init_subclass__(cls) -> None:
        KINDS[cls.SCHEMA] = cls

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for text in ("name", "licence"):
            value = getattr(self, text)
            if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
                raise CardError(f"{text}: got {short(value)}, expected a printable text of 1 to 200 characters")
        for name, value in self.checked().items():
            set_(self, name, value)
        if not isinstance(self.provenance, Mapping):
            raise CardError(f"provenance: got {type(self.provenance).__name__}, expected an object of plain JSON")
        if not isinstance(self.measured, (Mapping, list, tuple)):
            raise CardError(f"measured: got {type(self.measured).__name__}, expected a list or an object of plain JSON")
        set_(self, "provenance", _plain_json("provenance", self.provenance))
        set_(self, "measured", _plain_json("measured", self.measured))

    def checked(self) -> dict[str, Any]:
        """Return the arguments of the loss in their own types; raise CardError where one is not what it should be."""
        raise NotImplementedError

    def numbers(self) -> dict[str, Any]:
        """Return what the file says of the loss, in the order of NUMBERS, hex floats and what follows included."""
        raise NotImplementedError

    def defining(self) -> dict[str, Any]:
        """Return what of the loss is hashed, as plain JSON."""
        raise NotImplementedError

    def shown(self) -> dict[str, Any]:
        """Return what a summary says of the numbers."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Return the numbers as `create_loss` takes them with the name of the family."""
        return self.LOSS(**{name: getattr(self, name) for name in self.ARGUMENTS}).hyperparameters()

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Return the fields of the file, in order."""
        return ("schema", "name", *cls.NUMBERS, "sha256", *DESCRIBING[1:], "checksum")

    @classmethod
    def from_loss(
        cls,
        loss: Any,
        *,
        name: str,
        provenance: Mapping[str, Any] | None = None,
        measured: Sequence[Any] | Mapping[str, Any] = (),
        licence: str = "MIT",
    ) -> LossCard:
        """Return the card of a loss of a family that has cards; raises CardError for any other loss."""
        for kind in KINDS.values():
            if isinstance(loss, kind.LOSS):
                numbers = {argument: getattr(loss, argument) for argument in kind.ARGUMENTS}
                described = {"name": name, "provenance": provenance or {}, "measured": measured, "licence": licence}
                return kind(**numbers, **described)
        expected = " or ".join(f"a {kind.LOSS.__name__}" for kind in KINDS.values())
        raise CardError(f"got {type(loss).__name__}, expected {expected}; other losses are code, not numbers")

    @classmethod
    def from_dict(cls, content: Any) -> LossCard:
        """Read what `to_dict` gives; every field must be there, be of its type and agree with the others."""
        if not isinstance(content, dict):
            raise CardError(f"got {type(content).__name__}, expected a JSON object with the fields of a loss card")
        schema = content.get("schema")
        kind = KINDS.get(schema) if isinstance(schema, str) else None
        if kind is None:
            raise CardError(
                f"schema: got {short(schema)}, expected {' or '.join(map(repr, KINDS))}; "
                "the card may be of a newer version of this library, or no loss card at all"
            )
        fields = kind.fields()
        for name in content:
            if name not in fields:
                raise CardError(str(unknown_name("card field", name, fields)))
        for name in fields:
            if name not in content:
                raise CardError(f"{name}: missing; take the card from its source again")
        card = kind(**{name: content[name] for name in (*kind.ARGUMENTS, *DESCRIBING)})
        for name, wanted in card.to_dict().items():
            if not _same(content[name], wanted):
                raise CardError(
                    f"{name}: got {short(content[name])}, expected {short(wanted)} from the other fields; "
                    "the card was altered or damaged, take it from its source again"
                )
        return card

    @classmethod
    def from_json(cls, text: str | bytes) -> LossCard:
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
        """Return the card as plain JSON, with hex floats, what follows from the numbers, and hashes filled in."""
        content: dict[str, Any] = {
            "schema": self.SCHEMA,
            "name": self.name,
            **self.numbers(),
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
        """Hash of what defines the loss, whatever the name and history."""
        return _digest(self.defining())

    def loss(self, **arguments: Any) -> LearnableLoss:
        """Return the loss; arguments are weight, ignore_index and reduction, as in `CrossEntropyLoss`."""
        for name in arguments:
            if name not in ARGUMENTS:
                raise ConfigError(
                    f"loss {self.name!r} does not take {name!r}; it takes {', '.join(ARGUMENTS)}. Its numbers are "
                    f"learned; to change one, build a {self.LOSS.__name__} from the numbers of the card"
                )
        return self.build(**arguments)

    def build(self, **arguments: Any) -> LearnableLoss:
        """Return the loss with these arguments."""
        raise NotImplementedError

    def summary(self) -> str:
        """Return the card in a few lines for a terminal."""
        lines = {
            "card": self.name,
            **self.shown(),
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


class Learned(LearnableLoss):
    """What a loss of a card is beside a member of its family: it has nothing left to choose."""

    card: LossCard

    def hyperparameters(self) -> dict[str, Any]:
        """Return no hyper-parameters: the numbers are the card's."""
        return {}

    def extra_repr(self) -> str:
        """Show the name of the card."""
        return ", ".join(filter(None, [repr(self.card.name), super().extra_repr()]))


def read_numbers(name: str, values: Any) -> tuple[float, ...]:
    """Return numbers of a card as floats; raise CardError for what is none, or not finite."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise CardError(f"{name}: got {short(values)}, expected a list of numbers")
    values = list(values)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise CardError(f"{name}: got {short(value)}, expected a number")
    try:
        return as_floats(values, name)
    except (ConfigError, OverflowError) as error:
        raise CardError(f"{name}: {error}") from None


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
        raise CardError(f"got a field twice in {short(sorted(k for k, _ in pairs))}, expected each once")
    return content


def _refuse(constant: str) -> Any:
    raise CardError(f"got {constant}, expected finite numbers")


def short(value: Any) -> str:
    """Return a value as a short text on one line."""
    return " ".join(f"{reprlib.repr(value):.80}".split())
