from . import analysis as analysis
from .base import LearnableLoss as LearnableLoss
from .base import RobustLoss as RobustLoss
from .create import create_loss as create_loss
from .create import list_losses as list_losses
from .gated.module import GatedLoss as GatedLoss
from .literature.values import published_values as published_values
from .taylor.module import TaylorLoss as TaylorLoss
