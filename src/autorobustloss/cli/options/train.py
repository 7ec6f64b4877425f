"""The options of `arl train`; the documentation of a field is its help."""

from dataclasses import dataclass

from autorobustloss.cli.options.shared import Common, Seeded


@dataclass(frozen=True)
class TrainOptions(Common, Seeded):
    """Which losses to train with, on what, and what to print.

    Attributes:
        loss: losses or methods, joined by commas: names, name(key=value, …), or loss cards
        curves: print the test accuracy of every evaluated epoch
    """

    loss: str = "ce"
    curves: bool = False


DEFAULTS = TrainOptions()
