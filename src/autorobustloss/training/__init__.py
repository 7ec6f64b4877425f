"""Training one network: the frozen protocol and the loop."""

from autorobustloss.training.evaluation import accuracies, logits
from autorobustloss.training.history import History
from autorobustloss.training.loop import fit
from autorobustloss.training.objective import LossObjective, Objective
from autorobustloss.training.protocol import PRESETS, TrainingProtocol, create_protocol, learning_rate, momentum

__all__ = [
    "PRESETS",
    "History",
    "LossObjective",
    "Objective",
    "TrainingProtocol",
    "accuracies",
    "create_protocol",
    "fit",
    "learning_rate",
    "logits",
    "momentum",
]
