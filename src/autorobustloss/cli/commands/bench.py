r"""Compare methods.

Over data sets, networks, noises and seeds: mean accuracy with its standard
error, average ranks, Friedman, Nemenyi and Wilcoxon-Holm tests, a
critical-difference diagram, what each method costs. Or repeat a table or figure
of the paper at a scale that the machine bears: arl bench table1 --scale small.
Those that need losses learned for them (table5, fig3) search them first, as arl
search would. arl bench cifar10-field is what robust losses are compared by since
2020: CIFAR-10, network cnn8, 120 epochs, beside the numbers that others print.

Gradients at the start of training differ by orders of magnitude between losses,
and a small gradient is early stopping in disguise. --match-scale adds a table
in which every loss starts with cross-entropy's gradient; --lr 0.1x,0.3x,1x,3x
adds one in which each method has the learning rate it likes best, chosen on
noisy validation data. Trust a loss that wins in all three.

Methods named without hyper-parameters have their authors' values for the number
of classes of each data set, which are printed below the table; ANL and JAL
train with their L1 penalty in place of weight decay. On data of your own the
labels are taken as they come; noise is added only where --noise asks for it.

On labels as they come the output ends with an answer in a paragraph: the loss,
network, learning rate and epoch that are best on noisy validation labels, how
sure that is, what the runner-up costs, how many labels look wrong, and the line
of code to paste.

Killed or interrupted, the same command goes on; one more seed or method trains
only what is new (give --store the store.sqlite of the earlier run). A training
that fails leaves its cell empty, with the reason below the table; the others
are finished, the exit code is 1, and the same command tries it again.

examples:
  arl bench --methods ce,gce,sce,nce+mae --noise clean,sym:0.4,sym:0.8
  arl bench --dataset own --data-dir DIR --models mlp2
      your own DIR/own.npz, images or table
  arl bench --methods ce,mae,runs/NAME/loss.json \
      --match-scale --lr 0.1x,0.3x,1x,3x
      as published, at equal scale, and at each method's own learning rate:
      three tables
  arl bench table1 --data-dir DIR \
      --scale train=2000,epochs=10,seeds=1,width=0.25
  arl bench cifar10-field --data-dir DIR --scale train=5000,epochs=120,seeds=1
      on a tenth of the images; all of them are for a GPU
  arl bench fig4 --data-dir DIR --scale small --format markdown
"""

from typing import Annotated

from cyclopts import App, Group, Parameter

from autorobustloss.cli.options.bench import DEFAULTS, BenchOptions

app = App(name="bench", group_parameters=Group("benchmark", sort_key=0))


@app.default
def bench(table: str | None = None, /, *, options: Annotated[BenchOptions, Parameter(name="*")] = DEFAULTS) -> int:
    """Compare.

    Args:
        table: a table or figure of the paper: table1 to table5, fig3, fig4, fig5;
            or cifar10-field, the field's own comparison
    """
    from autorobustloss.cli import bench, paper

    return bench.run(options) if table is None else paper.run(table, options)
