"""Networks for any input shape and number of classes."""

from autorobustloss.models import cnn4, mlp  # noqa: F401  (registers the networks)
from autorobustloss.models.network import Network
from autorobustloss.models.registry import MODELS, build_model, create_model, list_models

__all__ = ["MODELS", "Network", "build_model", "create_model", "list_models"]
