"""Training one network: the frozen protocol and the loop."""

from autorobustloss.training.history import History
from autorobustloss.training.loop import fit
from autorobustloss.training.objective import LossObjective, Objective
from autorobustloss.training.optimisers import learning_rate
from autorobustloss.training.protocol import PRESETS, Protocol, create_protocol

__all__ = ["PRESETS", "History", "LossObjective", "Objective", "Protocol", "create_protocol", "fit", "learning_rate"]
