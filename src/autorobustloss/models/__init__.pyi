from .network import Network as Network
from .registry import build_model as build_model
from .registry import create_model as create_model
from .registry import list_models as list_models
