"""Learned losses as JSON cards, and those that ship with the library."""

from autorobustloss.losses.cards.base import Learned, LossCard
from autorobustloss.losses.cards.card import Card, GatedCard, LearnedLoss, load_card, save_card
from autorobustloss.losses.cards.shelf import card_names, register_cards

__all__ = [
    "Card",
    "GatedCard",
    "Learned",
    "LearnedLoss",
    "LossCard",
    "card_names",
    "load_card",
    "register_cards",
    "save_card",
]
