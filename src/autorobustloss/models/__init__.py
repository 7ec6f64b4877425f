"""Networks for any input shape and number of classes."""

from autorobustloss.models import cnn4, jocor_net, mlp, resnet, vgg  # noqa: F401  (each registers its networks)
from autorobustloss.models.network import Network
from autorobustloss.models.registry import MODELS, build_model, create_model, list_models

__all__ = ["MODELS", "Network", "build_model", "create_model", "list_models"]
