"""Pair flips."""

from __future__ import annotations

from autorobustloss.noise.base import NOISES, RateNoise, Rows


@NOISES.register("pair", "pairflip")
class PairFlip(RateNoise):
    """Class y to class (y+1) mod C with probability rate."""

    kind, name = "pair", "pair flip"

    def rows(self, num_classes: int, dataset: str) -> Rows:
        """Return 1 - rate on the diagonal, rate right of it."""
        classes = range(num_classes)
        flip = {0: 1 - self.rate, 1: self.rate}
        return [[flip.get((j - i) % num_classes, 0.0) for j in classes] for i in classes]
