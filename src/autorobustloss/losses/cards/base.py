"""What the cards of all families share: a text file with a loss's numbers, their hash, and how they were found."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from autorobustloss.errors import CardError, ConfigError, unknown_name
from autorobustloss.losses.base import LearnableLoss
from autorobustloss.losses.cards.strict import digest, hexed, plain_json, read_field, read_json, same, short

DESCRIBING = ("name", "provenance", "measured", "licence")
"""What a card says beside the numbers of its loss."""
ARGUMENTS = ("weight", "ignore_index", "reduction", "label_smoothing")
"""What any loss may be given beside its numbers, where its class takes it."""

KINDS: dict[str, type[LossCard]] = {}
"""The cards of each family by their schema."""


@dataclass(frozen=True)
class LossCard:
    """A learned loss and where it comes from; a subclass is the card of one family.

    name: what the loss is called. provenance: the search that found it (config, seed, generations, fitness, versions,
    date, hardware). measured: how it fared in a benchmark. licence: terms under which the numbers may be used.
    Provenance and table are plain JSON. Raises CardError for a field that is not what it should be.

    A family says its SCHEMA, the name of its losses in `create_loss` (FAMILY), their class (LOSS) and the class of one
    that is a card's (LEARNED). Its fields are the arguments of that class that make the loss.
    """

    SCHEMA: ClassVar[str]
    FAMILY: ClassVar[str]
    LOSS: ClassVar[type[LearnableLoss]]
    LEARNED: ClassVar[Callable[..., LearnableLoss]]

    name: str
    provenance: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    measured: Sequence[Any] | Mapping[str, Any] = field(default=(), kw_only=True)
    licence: str = field(default="MIT", kw_only=True)

    def __init_subclass__(cls) -> None:
        KINDS[cls.SCHEMA] = cls

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        kinds = get_type_hints(type(self))
        for f in fields(self):
            set_(self, f.name, read_field(f.name, getattr(self, f.name), kinds[f.name]))
        for text, value in (("name", self.name), ("licence", self.licence)):
            if not 0 < len(value) <= 200 or not value.isprintable():
                raise CardError(f"{text}: got {short(value)}, expected a printable text of 1 to 200 characters")
        try:
            self.LOSS(**self.arguments())
        except ConfigError as error:
            named = re.match(r"got (?:\d+ )?(\w+)", str(error))
            raise CardError(f"{named[1]}: {error}" if named else str(error)) from None
        set_(self, "provenance", plain_json("provenance", self.provenance))
        set_(self, "measured", plain_json("measured", self.measured))

    def arguments(self) -> dict[str, Any]:
        """Return the numbers of the loss."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in DESCRIBING}

    def options(self) -> dict[str, Any]:
        """Return the numbers as `create_loss` takes them with the name of the family."""
        return self.LOSS(**self.arguments()).hyperparameters()

    def numbers(self) -> dict[str, Any]:
        """Return what the file says of the loss: each number in decimal and in hex, which is exact."""
        found: dict[str, Any] = {}
        for name, value in self.arguments().items():
            found[name] = list(value) if isinstance(value, tuple) else value
            if self.__annotations__[name] != "Scale":
                found[f"{name}_hex"] = hexed(value)
        return found

    def defining(self) -> dict[str, Any]:
        """Return what of the loss is hashed, as plain JSON."""
        return {name: hexed(value) for name, value in self.arguments().items()}

    def shown(self) -> dict[str, Any]:
        """Return what a summary says of the numbers."""
        return self.arguments()

    @classmethod
    def from_loss(cls, loss: Any, *, name: str, **describing: Any) -> LossCard:
        """Return the card of a loss of a family that has cards; raises CardError for any other loss.

        describing: provenance, measured and licence, each if there is one.
        """
        for kind in KINDS.values():
            if isinstance(loss, kind.LOSS):
                numbers = {f.name: getattr(loss, f.name) for f in fields(kind) if f.name not in DESCRIBING}
                return kind(name, **numbers, **describing)
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
        try:
            card = kind(**{f.name: content[f.name] for f in fields(kind)})
            for name, wanted in card.to_dict().items():
                if not same(content[name], wanted):
                    raise CardError(
                        f"{name}: got {short(content[name])}, expected {short(wanted)} from the other fields; "
                        "the card was altered or damaged, take it from its source again"
                    )
        except KeyError as error:
            raise CardError(f"{error.args[0]}: missing; take the card from its source again") from None
        for name in content.keys() - card.to_dict():
            raise CardError(str(unknown_name("card field", name, card.to_dict())))
        return card

    @classmethod
    def from_json(cls, text: str | bytes) -> LossCard:
        """Read the text of a card file."""
        return cls.from_dict(read_json(text))

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
        return {**content, "checksum": digest(content)}

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
        return digest(self.defining())

    def loss(self, **arguments: Any) -> LearnableLoss:
        """Return the loss; arguments are weight, ignore_index, reduction, … as in `CrossEntropyLoss`."""
        taken = [name for name in ARGUMENTS if name in inspect.signature(self.LOSS).parameters]
        for name in arguments:
            if name not in taken:
                raise ConfigError(
                    f"loss {self.name!r} does not take {name!r}; it takes {', '.join(taken)}. Its numbers are "
                    f"learned; to change one, build a {self.LOSS.__name__} from the numbers of the card"
                )
        return type(self).LEARNED(self, **arguments)

    def summary(self) -> str:
        """Return the card in a few lines for a terminal."""
        lines = {
            "card": self.name,
            **{name.replace("_", " "): value for name, value in self.shown().items()},
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
    """The loss of a card: a member of its family with nothing left to choose."""

    card: LossCard

    def __init__(self, card: LossCard, **arguments: Any) -> None:
        super().__init__(**card.arguments(), **arguments)
        self.card = card

    def hyperparameters(self) -> dict[str, Any]:
        """Return no hyper-parameters: the numbers are the card's."""
        return {}

    def extra_repr(self) -> str:
        """Show the name of the card."""
        return ", ".join(filter(None, [repr(self.card.name), super().extra_repr()]))
