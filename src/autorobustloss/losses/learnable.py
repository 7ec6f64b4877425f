"""What the families of losses share that a search finds: each member is a few numbers, which can be written out."""

from __future__ import annotations

from autorobustloss.losses.base import RobustLoss


class LearnableLoss(RobustLoss):
    """A member of a family of losses, made of the numbers in `hyperparameters()`."""

    def formula(self) -> str:
        """Return the loss as a short formula in plain text."""
        raise NotImplementedError

    def latex(self) -> str:
        """Return the loss as a formula in LaTeX."""
        raise NotImplementedError

    def code(self) -> str:
        """Return the loss as a Python module that needs only PyTorch."""
        raise NotImplementedError
