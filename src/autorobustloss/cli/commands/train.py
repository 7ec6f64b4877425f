r"""Train one network with each loss.

On a data set with label noise; printed is its test accuracy: at the last epoch,
at its best epoch (which nobody without clean test labels could pick), and at
the epoch where accuracy on the noisy validation labels is highest (which
anybody could). "fits noise" is the accuracy on the noisy training labels: near
100 % the network has memorised them.

Losses have their authors' values for the number of classes, unless
hyper-parameters are given. On data of your own the labels are taken as they
come; noise is added only where --noise asks for it.

examples:
  arl train --loss ce,gce,mae --noise sym:0.4
  arl train --dataset mnist --data-dir DIR --train-size 10000 --model mlp3 \
      --noise sym:0.8 --loss 'gce(q=0.5)'
  arl train --loss runs/NAME/loss.json,ce --curves
"""

from typing import Annotated

from cyclopts import App, Group, Parameter

from autorobustloss.cli.options.train import DEFAULTS, TrainOptions

app = App(name="train", group_parameters=Group("losses", sort_key=0))


@app.default
def train(*, options: Annotated[TrainOptions, Parameter(name="*")] = DEFAULTS) -> int:
    """Train."""
    from autorobustloss.cli.train import run

    return run(options)
