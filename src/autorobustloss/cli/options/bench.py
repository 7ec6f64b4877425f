"""The options of `arl bench`; the documentation of a field is its help."""

from dataclasses import dataclass
from typing import Annotated, Literal

from autorobustloss.cli.options.shared import TRAINING, InFolder


@dataclass(frozen=True)
class BenchOptions(InFolder):
    """What to compare, on what, and in which tables.

    Attributes:
        methods: methods, joined by commas: losses, procedures (fw, jocor, tuned-ce, …), learned losses by name or card
            (default: ce,label_smoothing,mae,gce,sce,nce+mae,nfl+mae,bootstrap,bi_tempered,fw, learned losses that
            ship, and gated(progress=3), which is arl with a gate that opens later)
        seeds: seeds of each cell
        match_scale: also with cross-entropy's gradient at the start
        scale: effort of the paper's tables: tiny, small, full, or some of train=N,test=N,epochs=N,seeds=N,width=N,
            trials=N,generations=N,population=N
        format: of the tables printed
        lr: learning rate; several, joined by commas, are several tasks; factors such as 0.1x,0.3x,1x,3x are a sweep:
            also a table in which each method has the factor that is best on noisy validation data
    """

    methods: str | None = None
    seeds: int = 3
    match_scale: bool = False
    scale: str = "small"
    format: Literal["csv", "json", "latex", "markdown", "text"] = "text"
    lr: Annotated[str | None, TRAINING] = None


DEFAULTS = BenchOptions()
