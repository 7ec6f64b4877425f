"""Learned losses as JSON cards, and those that ship with the library."""

from autorobustloss.zoo.base import Learned, LossCard
from autorobustloss.zoo.card import Card, GatedCard, LearnedLoss, load_card, save_card
from autorobustloss.zoo.shelf import card_names, register_cards

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
