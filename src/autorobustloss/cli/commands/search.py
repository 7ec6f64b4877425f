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

from typing import Annotated

from cyclopts import App, Group, Parameter

from autorobustloss.cli.options.search import DEFAULTS, SearchOptions

app = App(name="search", group_parameters=Group("search", sort_key=4))


@app.default
def search(*, options: Annotated[SearchOptions, Parameter(name="*")] = DEFAULTS) -> int:
    """Search."""
    from autorobustloss.cli.search import run

    return run(options)
