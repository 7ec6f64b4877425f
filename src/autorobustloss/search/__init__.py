"""The search for a loss: spaces, CMA-ES, fitness, Algorithm 1 of the paper."""
