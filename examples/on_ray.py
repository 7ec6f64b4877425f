"""A search on a Ray cluster: on the one that $RAY_ADDRESS names or this machine runs, else on one that is started here.

    pip install 'autorobustloss[ray]'

The same from the command line: arl search --executor ray
"""

import autorobustloss as arl
from autorobustloss.runs import RayExecutor
from autorobustloss.search import Reporter, run_search


class Lines(Reporter):
    def __init__(self, executor):
        self.executor = executor

    def on_generation(self, generation):
        print(f"generation {generation.number}: best {generation.best:.3f}; {self.executor.load}", flush=True)


def main():
    tasks = arl.make_tasks("digits", noise="sym:0.6", models=["linear", "mlp2"], epochs=5)
    config = arl.SearchConfig(tasks.tasks, generations=3, population=6, ahead=3, finalists_seeds=1)
    with arl.Store("runs/on-ray.sqlite") as store, RayExecutor(tasks.datasets) as executor:
        outcome = run_search(config, tasks.classes, store, executor, Lines(executor))
    print(outcome.loss.formula())


if __name__ == "__main__":
    main()
