"""The registry of losses: a module of this package registers its losses here by name."""

from autorobustloss.losses.base import RobustLoss
from autorobustloss.registry import Registry

LOSSES: Registry[RobustLoss] = Registry("loss")
