"""What a job trains with: a loss, or a procedure around one."""

from autorobustloss.methods.registry import METHODS, Setting
from autorobustloss.methods.run import run_method, train_networks
from autorobustloss.methods.spec import MethodSpec

__all__ = ["METHODS", "MethodSpec", "Setting", "run_method", "train_networks"]
