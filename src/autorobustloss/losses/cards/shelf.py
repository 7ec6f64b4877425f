"""Which learned losses ship with the library: the cards in the folder beside this file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from autorobustloss.registry import LOSSES, Registry

CARDS = Path(__file__).parent / "shipped"


def card_paths(folder: Path | None = None) -> dict[str, Path]:
    """Return the file of each card by the name of its loss, which is the stem of the file."""
    return {path.stem: path for path in sorted((folder or CARDS).glob("*.json"))}


def card_names(folder: Path | None = None) -> list[str]:
    """Return the names of the learned losses, sorted; `create_loss` and `load_card` take them."""
    return sorted(card_paths(folder))


def register_cards(registry: Registry[Any], folder: Path | None = None) -> None:
    """Register each card's loss under its name; a card is read when its loss is created."""
    for name, path in card_paths(folder).items():
        registry.register(name)(_factory(path))


def _factory(path: Path) -> Callable[..., Any]:
    def learned(*, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
        """Learned loss: its formula and how it was found are in its card."""
        from autorobustloss.losses.cards.card import load_card  # reads losses, which reads the names above

        return load_card(path).loss(weight=weight, ignore_index=ignore_index, reduction=reduction)

    return learned


register_cards(LOSSES)
