"""Label noise: what it is (a spec), its transition matrix, and the corruption of labels."""

from autorobustloss.noise.classmaps import CLASS_MAPS, class_map
from autorobustloss.noise.corruption import corrupt, corrupt_by_instance, realised_rate
from autorobustloss.noise.spec import NOISES, NoiseSpec, create_noise, list_noises
from autorobustloss.noise.transition import empirical_matrix, require_hope, transition_matrix

__all__ = [
    "CLASS_MAPS",
    "NOISES",
    "NoiseSpec",
    "class_map",
    "corrupt",
    "corrupt_by_instance",
    "create_noise",
    "empirical_matrix",
    "list_noises",
    "realised_rate",
    "require_hope",
    "transition_matrix",
]
