"""Label noise: what it is (a spec), its transition matrix, and the corruption of labels."""

from autorobustloss.noise import classmap, instance, matrix, pair, symmetric, taken  # noqa: F401
from autorobustloss.noise.base import NOISES, NoiseSpec, create_noise, list_noises
from autorobustloss.noise.classmap import CLASS_MAPS, class_map
from autorobustloss.noise.transition import corrupt, empirical_matrix, realised_rate, require_hope, transition_matrix

__all__ = [
    "CLASS_MAPS",
    "NOISES",
    "NoiseSpec",
    "class_map",
    "corrupt",
    "create_noise",
    "empirical_matrix",
    "list_noises",
    "realised_rate",
    "require_hope",
    "transition_matrix",
]
