from .base import Learned as Learned
from .card import Card as Card
from .card import GatedCard as GatedCard
from .card import LearnedLoss as LearnedLoss
from .card import LossCard as LossCard
from .card import load_card as load_card
from .card import register_cards as register_cards
from .shelf import card_names as card_names
