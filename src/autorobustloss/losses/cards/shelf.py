"""Which learned losses ship with the library: the cards in the folder beside this file."""

from __future__ import annotations

from pathlib import Path

CARDS = Path(__file__).parent / "shipped"


def card_paths() -> dict[str, Path]:
    """Return the file of each card by the name of its loss, which is the stem of the file."""
    return {path.stem: path for path in sorted(CARDS.glob("*.json"))}


def card_names() -> list[str]:
    """Return the names of the learned losses, sorted; `create_loss` and `load_card` take them."""
    return sorted(card_paths())
