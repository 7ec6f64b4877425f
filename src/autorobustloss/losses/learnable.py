"""What the families of losses share that a search finds: each member is a few numbers, which can be written out."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from autorobustloss.errors import CardError
from autorobustloss.losses.base import RobustLoss

if TYPE_CHECKING:
    from typing_extensions import Self


class LearnableLoss(RobustLoss):
    """A member of a family of losses, made of the numbers in `hyperparameters()`."""

    @classmethod
    def from_card(cls, path: str | PathLike[str], **arguments: Any) -> Self:
        """Return the loss of a card (a JSON file); arguments are those of `CrossEntropyLoss`.

        Raises CardError for a card that is broken, altered, of an unknown version or of another family. Reading it runs
        no code.
        """
        from autorobustloss.losses.cards import load_card

        card = load_card(path)
        loss = card.loss(**arguments)
        if not isinstance(loss, cls):
            raise CardError(f"loss card {path}: got the card of a {card.LOSS.__name__}, expected a {cls.__name__}")
        return loss

    def formula(self) -> str:
        """Return the loss as a short formula in plain text."""
        raise NotImplementedError

    def latex(self) -> str:
        """Return the loss as a formula in LaTeX."""
        raise NotImplementedError

    def code(self) -> str:
        """Return the loss as a Python module that needs only PyTorch."""
        raise NotImplementedError
