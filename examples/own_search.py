"""Search for a loss from Python: your own tasks, a frozen configuration, one call.

    python examples/own_search.py

A search that is far too short to find much, to show the pieces: tasks, configuration, store, executor, outcome.
`arl search` is the same with progress, a comparison and pictures.
"""

import autorobustloss as arl
from autorobustloss.runs import executor_for

if __name__ == "__main__":  # workers are separate processes
    digits = arl.load_dataset("digits")
    data = arl.DataSpec("digits", train_size=300, valid_size=200, fingerprint=digits.fingerprint)
    protocol = arl.create_protocol("digits", epochs=10)
    tasks = tuple(arl.Task(data, noise, "mlp2", protocol) for noise in ("clean", "sym:0.4"))
    config = arl.SearchConfig(tasks, population=6, generations=3, finalists_seeds=1)
    with arl.Store(":memory:") as store, executor_for({"digits": digits}) as executor:
        outcome = arl.run_search(config, {"digits": digits.num_classes}, store, executor)
    loss = arl.create_loss(outcome.winner.method.name, **outcome.winner.method.options)
    print(loss.formula())
    print(f"clean validation accuracy on fresh noise: {outcome.winner.accuracy:.3f}")
