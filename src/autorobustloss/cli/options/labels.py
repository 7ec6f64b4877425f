"""The options of `arl labels`; the documentation of a field is its help."""

from dataclasses import dataclass

from autorobustloss.cli.options.shared import InFolder, Seeded


@dataclass(frozen=True)
class LabelsOptions(InFolder, Seeded):
    """Whose labels to examine, with what networks, and how much to show.

    Attributes:
        loss: what the networks are trained with: a loss or method, by name, name(key=value, …), or loss card
        folds: parts that the samples are cut into; each is judged by a network trained on the others
        seeds: how often that is done, with other folds and initial weights; the probabilities are averaged
        most: how many samples the page shows
    """

    loss: str = "arl"
    folds: int = 5
    seeds: int = 1
    most: int = 100


DEFAULTS = LabelsOptions()
