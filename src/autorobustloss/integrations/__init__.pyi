from .huggingface import hf_loss as hf_loss
from .keras import keras_loss as keras_loss
from .skorch import skorch_loss as skorch_loss
