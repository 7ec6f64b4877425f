"""What a job trains with: a loss, or a procedure around one."""

from autorobustloss.methods import (  # noqa: F401  (each registers its procedure)
    ce_prior,
    elr,
    forward,
    jocor,
    logitclip,
    mixup,
    sam,
    sr,
    tuned_ce,
    warmup,
)
from autorobustloss.methods.criterion import card_method, create_criterion, matched
from autorobustloss.methods.published import values_used, with_published_values
from autorobustloss.methods.registry import METHODS, Procedure, Setting
from autorobustloss.methods.run import create_procedure, list_methods, run_method, train_networks
from autorobustloss.methods.spec import MethodSpec

__all__ = [
    "METHODS",
    "MethodSpec",
    "Procedure",
    "Setting",
    "card_method",
    "create_criterion",
    "create_procedure",
    "list_methods",
    "matched",
    "run_method",
    "train_networks",
    "values_used",
    "with_published_values",
]
