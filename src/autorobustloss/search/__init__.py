"""The search for a loss: spaces, CMA-ES, fitness, Algorithm 1 of the paper."""

from autorobustloss.search.config import SearchConfig
from autorobustloss.search.search import Finalist, Generation, Reporter, SearchOutcome, rescore, run_search
from autorobustloss.search.space import Space

__all__ = ["Finalist", "Generation", "Reporter", "SearchConfig", "SearchOutcome", "Space", "rescore", "run_search"]
