from . import analysis as analysis
from .authors import published_values as published_values
from .base import RobustLoss as RobustLoss
from .create import create_loss as create_loss
from .create import list_losses as list_losses
from .gated import GatedLoss as GatedLoss
from .learnable import LearnableLoss as LearnableLoss
from .taylor import TaylorLoss as TaylorLoss
