r"""Search for a loss.

A classification loss that survives noisy labels is searched for (Algorithm 1 of
Gao, Gouk & Hospedales, ICCV 2021).

CMA-ES proposes losses; each is scored by the clean-validation accuracy of
networks trained with it on noisy labels (or by noisy validation, --fitness-on
noisy, where nobody knows the right labels), averaged over tasks: every
combination of the data sets, models, noises and learning rates given. On data
of your own the labels are taken as they come; noise is added only where --noise
asks for it. The better of the distribution's mean and the best candidate,
scored again on fresh noise, is the learned loss. It is then compared with known
losses on the test split, which the search never touches.

Everything goes to the run folder: loss.json (the loss, ready for create_loss
and arl), store.sqlite (every training run), picture.png and .svg, table.txt and
.json. Interrupted or killed? The same command goes on.

examples:
  arl search
      the default: digits, three networks, 80 % symmetric noise
  arl search --dataset mnist --data-dir DIR --train-size 5000 --epochs 30 \
      --generations 20 --population 12
      a search on MNIST from DIR/mnist.npz
  arl search --dataset mnist,cifar10 --data-dir DIR --models cnn4 --noise sym:0.8
      data-set randomisation
  arl search --noise clean,sym:0.4,sym:0.8,pair:0.4 --tasks-per-generation 4
      noise randomisation, four tasks drawn for each generation
  arl search --space paper --order 4 --start zero
      the paper's own twelve parameters
  arl search --space gated
      the other family: cross-entropy, its samples weighed by how much the
      network believes them
  arl search --config search.toml --seed 1
      flags from a file: dataset = "mnist", models = ["mlp2", "cnn4"],
      epochs = 30, …
  arl search --dataset ./own.npz --fitness-on noisy
      your own data, whose labels are taken as they come
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import App, Group, Parameter

from autorobustloss.cli.options.shared import InFolder, Seeded
from autorobustloss.search.settings import SearchSettings

COMPARISON = Parameter(group=Group("comparison at the end, on the test split", sort_key=5))


@dataclass(frozen=True, kw_only=True)
class SearchOptions(SearchSettings, InFolder, Seeded):
    """What to search, how, and what to compare it with; an option of a space that is not given has its default.

    Attributes:
        space: paper (12 numbers at order 4), canonical (6), canonical+log (7), or canonical+power (8): Taylor losses;
            gated (8 at order 2): weighed cross-entropy
        log_unit: unit of the log coordinate of canonical+log: a small one searches finely where the weight of the log
            term is small (default: 0.1)
        order: order of the polynomial: the paper compares 2 to 5; gated has 0 to 2 (default: 4, gated 2)
        scale: rule of every Taylor loss: max (never steeper than cross-entropy's steepest), init (start as steep as
            cross-entropy), geometric (between the two), a multiple such as 0.3max, none (default: max)
        start: mean of the first generation: mae, sce, gce, zero; gated, ce for gated; or coordinates joined by commas
            (default: mae, gated gated)
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

app = App(name="search", group_parameters=Group("search", sort_key=4))


@app.default
def search(*, options: Annotated[SearchOptions, Parameter(name="*")] = DEFAULTS) -> int:
    """Search."""
    from autorobustloss.cli.search import run

    return run(options)
