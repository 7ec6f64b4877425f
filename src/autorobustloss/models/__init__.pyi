from .network import Network as Network
from .network import build_model as build_model
from .network import create_model as create_model
from .network import list_models as list_models
