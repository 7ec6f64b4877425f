"""The search for a loss: spaces, CMA-ES, fitness, Algorithm 1 of the paper."""

from autorobustloss.search.config import SearchConfig
from autorobustloss.search.gated_space import GatedSpace
from autorobustloss.search.search import Finalist, Generation, Reporter, SearchOutcome, rescore, run_search
from autorobustloss.search.space import SearchSpace, Space

__all__ = [
    "Finalist",
    "GatedSpace",
    "Generation",
    "Reporter",
    "SearchConfig",
    "SearchOutcome",
    "SearchSpace",
    "Space",
    "rescore",
    "run_search",
]
