"""What a training run leaves behind: its curves."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from autorobustloss.errors import ConfigError

SPLITS = ("valid_clean", "valid_noisy", "test")


@dataclass(frozen=True)
class History:
    """The curves of one training run; plain JSON types, so `History(**json.loads(...))` gives it back.

    epochs: the evaluated epochs, counted from 1. valid_clean, valid_noisy, test: accuracy in [0, 1] at those epochs,
        empty for a split that was not asked for or has no known labels; the mean over the networks of several.
    train_loss, train_accuracy: one number for every epoch trained, the mean over its batches as they were trained on
        (so against the noisy labels, and with weights that change during the epoch).
    stopped: "" for a run of full length, "diverged", or "chance". A diverged epoch leaves no entries.
    steps: updates of the weights.
    """

    epochs: list[int] = field(default_factory=list)
    valid_clean: list[float] = field(default_factory=list)
    valid_noisy: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    stopped: str = ""
    steps: int = 0

    def curve(self, split: str) -> list[float]:
        """Return the accuracies of a split; ConfigError for one that was not evaluated."""
        if split not in SPLITS:
            raise ConfigError(f"got split {split!r}, expected one of {', '.join(SPLITS)}")
        values: list[float] = getattr(self, split)
        if not values and self.epochs:
            raise ConfigError(f"split {split!r} was not evaluated: it was not asked for, or has no known labels")
        return values

    def last(self, split: str) -> float:
        """Return the accuracy at the end of training; NaN if the run diverged, for then there is no network."""
        values = self.curve(split)
        return math.nan if self.stopped == "diverged" or not values else values[-1]

    def best(self, split: str, by: str | None = None) -> float:
        """Return the accuracy of `split` at the (first) epoch where `by`, by default `split` itself, is highest.

        `best("test", by="valid_noisy")` is early stopping without clean labels; `best("test")` is an upper bound that
        looks at the answer. NaN if no epoch was evaluated.

        >>> history = History(epochs=[1, 2], test=[0.9, 0.8], valid_noisy=[0.3, 0.4])
        >>> history.last("test"), history.best("test"), history.best("test", by="valid_noisy")
        (0.8, 0.9, 0.8)
        """
        values, epoch = self.curve(split), self.best_epoch(by or split)
        return values[self.epochs.index(epoch)] if values else math.nan

    def best_epoch(self, split: str) -> int:
        """Return the (first) evaluated epoch at which a split's accuracy is highest, 0 if none was evaluated."""
        values = self.curve(split)
        return self.epochs[max(range(len(values)), key=values.__getitem__)] if values else 0
