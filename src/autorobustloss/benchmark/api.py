"""A benchmark in one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from autorobustloss.benchmark.bench import BenchOutcome, run_bench
from autorobustloss.benchmark.chance import chance_levels
from autorobustloss.benchmark.grid import BenchConfig
from autorobustloss.benchmark.render import render
from autorobustloss.errors import unknown_name
from autorobustloss.losses.cards import card_names, load_card
from autorobustloss.methods import MethodSpec, card_method
from autorobustloss.registry import LOSSES, METHODS
from autorobustloss.runs.tasks import make_tasks, running

Method = str | Path | MethodSpec


def bench(
    methods: Mapping[str, Method] | Iterable[Method],
    tasks: Any,
    *,
    out: str | Path | None = None,
    failures: dict[str, str] | None = None,
    workers: int | None = 1,
    device: str = "cpu",
    exact: bool = False,
    **config: Any,
) -> BenchOutcome:
    """Compare methods over tasks or data; the outcome prints as its tables, `outcome.tables` has them by view.

    methods: "ce", "gce(q=0.5)", a learned loss by name or the path of its card, or a `MethodSpec`; by the names that
        tables should call them, or as they are. Those without hyper-parameters have their authors' values for the
        classes of each data set.
    tasks: what `make_tasks` gives or takes: the name or path of a data set, a `Dataset`, arrays, tasks, or a list.
    out: a run folder like that of `arl bench`, from which the same call goes on and which `arl report` shows; without
        one everything is in memory. workers, device, exact: see `running`.
    failures: where given, jobs that fail are noted here and in the tables, and the others go on.
    config: fields of `BenchConfig`, such as seeds=5 or views=("published", "matched").

    Raises UnknownNameError for a method that is none, and the errors of `run_bench`.

    >>> import autorobustloss as arl
    >>> tasks = arl.make_tasks("digits", noise="sym:0.4", models="linear", train_size=200, epochs=2)
    >>> print(arl.bench(["ce", "gce(q=0.5)"], tasks, seeds=2))  # doctest: +ELLIPSIS
    Test accuracy, each method as published (%, mean ± standard error over seeds)
    ...
    """
    known = make_tasks(tasks)
    named = methods if isinstance(methods, Mapping) else {_name(method): method for method in methods}
    specs = {name: _method(method) for name, method in named.items()}
    names = {method: name for name, method in specs.items()}
    settings = BenchConfig(tuple(specs.values()), known.tasks, classes=known.classes, **config)
    command = {"command": "bench", **settings.to_dict()}
    with running(known.datasets, command, out, workers, device, exact) as (store, executor, folder):
        chance = chance_levels(known.tasks, known.datasets)
        outcome = run_bench(settings, store, executor, names=names, failures=failures, chance=chance)
        if folder is not None:
            for view, table in outcome.tables.items():
                folder.write(f"table-{view}.json", render(table, "json"))
                folder.write(f"table-{view}.txt", render(table))
    return outcome


def _method(method: Method) -> MethodSpec:
    if isinstance(method, MethodSpec):
        return method
    if str(method).endswith(".json"):
        return card_method(load_card(Path(method)))
    spec = MethodSpec.parse(str(method))
    if spec.name in card_names():
        learned = card_method(load_card(spec.name))
        return MethodSpec.of(learned.name, **learned.options, **spec.options)
    if spec.name not in METHODS and spec.name not in LOSSES:
        raise unknown_name("method", spec.name, [*METHODS, *LOSSES])
    return spec


def _name(method: Method) -> str:
    """Return what a table calls a method: its label, or the folder of a card."""
    if isinstance(method, MethodSpec):
        return method.label
    path = Path(method)
    return path.parent.name or path.stem if path.suffix == ".json" else MethodSpec.parse(str(method)).label
