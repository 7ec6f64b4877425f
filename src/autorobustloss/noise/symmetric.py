"""Symmetric noise."""

from __future__ import annotations

from autorobustloss.noise.base import NOISES, RateNoise, Rows


@NOISES.register("sym", "symmetric")
class Symmetric(RateNoise):
    """To each other class with probability rate/(C-1), so that a flip never returns the true class."""

    kind, name = "sym", "symmetric noise"

    def rows(self, num_classes: int, dataset: str) -> Rows:
        """Return 1 - rate on the diagonal, rate/(C-1) elsewhere."""
        classes = range(num_classes)
        off = self.rate / (num_classes - 1)
        return [[1 - self.rate - off + off if i == j else off for j in classes] for i in classes]
