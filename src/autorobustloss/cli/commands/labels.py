r"""Find labels that look wrong.

The samples are cut into folds; each fold is judged by a network that was
trained on the others with a loss that survives wrong labels, so no network has
seen the label it judges. cleanlab (pip install 'autorobustloss[labels]') then
counts and ranks.

All parts of your data are examined, labels as they come; nothing is changed.
Into the run folder go labels.csv (a line for each sample: file or row, given
and suggested label, whether it looks wrong, the probability of the given label
as its quality, and that of the suggested one), noise-matrix.json (how often
each class gets each label, which --noise matrix:FILE and forward correction
take) and labels.html, a page of the most suspicious samples. Interrupted, the
same command goes on.

With --noise sym:0.2 or human:worse the wrong labels are known, and precision,
recall and AUC of finding them are printed: a rehearsal on data like yours.
--train-size is the number of samples to examine.

examples:
  arl labels --dataset own.npz
      your own labels
  arl labels --dataset photos/ --model cnn4 --seeds 3
      a folder of pictures, judged by three networks each
  arl labels --dataset digits --noise sym:0.2
      a rehearsal: how many of known wrong labels are found
  arl bench --dataset own.npz --noise matrix:runs/NAME/noise-matrix.json
      compare losses under the noise that was estimated
"""

from typing import Annotated

from cyclopts import App, Group, Parameter

from autorobustloss.cli.options.labels import DEFAULTS, LabelsOptions

app = App(name="labels", group_parameters=Group("labels", sort_key=0))


@app.default
def labels(*, options: Annotated[LabelsOptions, Parameter(name="*")] = DEFAULTS) -> int:
    """Find."""
    from autorobustloss.cli.labels import run

    return run(options)
