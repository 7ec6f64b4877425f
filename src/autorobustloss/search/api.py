"""A search in one call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autorobustloss.runs.tasks import check_labels, make_tasks, running
from autorobustloss.search.card import card_name, make_card
from autorobustloss.search.config import SearchConfig, create_space
from autorobustloss.search.search import Reporter, SearchOutcome, run_search
from autorobustloss.search.space import SearchSpace, Space


def search(
    tasks: Any,
    *,
    out: str | Path | None = None,
    space: str | SearchSpace = Space.name,
    seed: int = 0,
    reporter: Reporter | None = None,
    workers: int | None = 1,
    device: str = "cpu",
    exact: bool = False,
    executor: str = "local",
    **config: Any,
) -> SearchOutcome:
    """Search for a loss on tasks or data, and return what was found; `outcome.loss` is ready to train with.

    tasks: what `make_tasks` gives or takes: the name or path of a data set, a `Dataset`, arrays, tasks, or a list.
    out: a run folder like that of `arl search`, from which the same call goes on and which `arl report` shows; without
        one everything is in memory. workers, device, exact, executor: see `running`.
    config: fields of `SearchConfig`, such as generations=20 or fitness_on="noisy".

    Raises ConfigError where nobody knows the labels that should score a candidate, and the errors of `run_search`.

    >>> import autorobustloss as arl
    >>> tasks = arl.make_tasks("digits", noise="sym:0.4", models="linear", train_size=200, epochs=2)
    >>> outcome = arl.search(tasks, generations=2, population=4, finalists_seeds=1)
    >>> outcome.winner.accuracy > 0.2, type(outcome.loss).__name__
    (True, 'TaylorLoss')
    """
    known = make_tasks(tasks)
    space = create_space(space) if isinstance(space, str) else space
    settings = SearchConfig(known.tasks, space, seed=seed, **{"start": space.default_start, **config})
    remedy = "try another fitness_on, or noise='clean' if all labels are right"
    check_labels(known.tasks, known.datasets, settings.scored_split, "to score candidates on", remedy)
    command = {"command": "search", **settings.to_dict(), "compare": [], "compare_seeds": 0}
    with running(known.datasets, command, out, workers, device, exact, executor) as (store, chosen, folder):
        outcome = run_search(settings, known.classes, store, chosen, reporter)
        if folder is not None:
            folder.write("loss.json", make_card(settings, outcome, card_name(folder.path)).to_json())
    return outcome
