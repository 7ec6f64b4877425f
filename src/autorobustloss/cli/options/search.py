"""The options of `arl search`; the documentation of a field is its help."""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from autorobustloss.cli.options.shared import InFolder, Seeded
from autorobustloss.search.settings import SearchSettings

COMPARISON = Parameter(group=Group("comparison at the end, on the test split", sort_key=5))


@dataclass(frozen=True, kw_only=True)
class SearchOptions(SearchSettings, InFolder, Seeded):
    """What to search, how, and what to compare it with; an option of a space that is not given has its default.

    Attributes:
        space: paper (12 numbers at order 4), canonical (6), canonical+log (7), or canonical+power (8): Taylor losses;
            gated (11 at order 2): weighed cross-entropy
        log_unit: unit of the log coordinate of canonical+log: a small one searches finely where the weight of the log
            term is small (default: 0.1)
        order: order of the polynomial: the paper compares 2 to 5; gated has 0 to 2 (default: 4, gated 2)
        scale: rule of every Taylor loss: max (never steeper than cross-entropy's steepest), init (start as steep as
            cross-entropy), geometric (between the two), a multiple such as 0.3max, none (default: max)
        start: mean of the first generation: mae, taylor_ce (cross-entropy's Taylor series), sce, gce, zero; gated, ce
            for gated; or coordinates joined by commas (default: mae, gated gated)
        rivals: methods trained beside every generation, on its tasks and noise, for the fitness rank to rank
            candidates among, joined by commas (default: none)
        rival_values: hyper-parameters of rivals named without any: their authors' for each data set's number of
            classes, or the losses' defaults everywhere
        cohort: train all candidates of a task at once: faster on a GPU, slower on a CPU; the numbers are then the same
            to rounding, not to the last bit (auto: on a GPU)
        compare: losses to compare with, joined by commas
        compare_seeds: seeds of the comparison, 0 to leave it out
    """

    space: str = "canonical+log"
    log_unit: float | None = None
    order: int | None = None
    scale: str | None = None
    start: str | None = None
    rivals: str = ""
    rival_values: Literal["defaults", "authors"] = "authors"
    cohort: Literal["auto", "on", "off"] = "auto"
    compare: Annotated[str, COMPARISON] = "ce,label_smoothing,mae,gce,sce,nce+mae"
    compare_seeds: Annotated[int, COMPARISON] = 3


DEFAULTS = SearchOptions()
