"""What a run that is not finished has so far, from its store: how many trainings, and their curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autorobustloss.benchmark.curves import curves, scored
from autorobustloss.benchmark.grid import Entry
from autorobustloss.report import charts
from autorobustloss.report.conclusion import Conclusion
from autorobustloss.report.page import Section
from autorobustloss.runs.job import Job
from autorobustloss.runs.result import Result
from autorobustloss.runs.store import Store


def running(config: Mapping[str, Any], store: Path) -> tuple[Conclusion, list[Section]]:
    """Return how far a run is, and sections of what there is; store: its file, which another process may write to."""
    done: list[tuple[Job, Result]] = []
    if store.is_file():
        with Store(store) as found:
            done = list(found.items())
    total = planned(config)
    of = f" of {total}" if total >= len(done) > 0 else ""
    said = f"Not finished: {len(done)}{of} trainings are done."
    best, sections = "", []
    if config.get("command") == "search":
        history = generations_so_far(done, config.get("generations"))
        if figure := charts.progress_figure(history):
            sections.append(("The search so far", "curves", ([figure], 0)))
            best = f"The best candidate so far has {100 * max(each[0] for each in history):.1f} % validation accuracy."
    elif config.get("command") == "bench":
        panels = curves(scored([Entry(j.method, j.task, j.seed, j) for j, _ in done], {j.key: r for j, r in done}, {}))
        names = list(dict.fromkeys(curve.method for panel in panels for curve in panel.curves))
        if figures := charts.figures(panels, names):
            more = max(len(names) - charts.MOST_LINES, 0)
            sections.append(("Training so far", "curves", (figures, more)))
    return Conclusion(said, best or "What follows may still change."), sections


def planned(config: Mapping[str, Any]) -> int:
    """Return how many trainings a configuration asks for at most; 0 where that cannot be told.

    >>> planned({"command": "labels", "folds": 5, "seeds": 2}), planned({"command": "search"})
    (10, 0)
    """
    many = {name: len(v) if isinstance(v, list) else v if type(v) is int else 0 for name, v in config.items()}

    def times(*names: str) -> int:
        return int(np.prod([min(max(many.get(name, 0), 0), 10**6) for name in names], dtype=float))

    if config.get("command") == "labels":
        return times("folds", "seeds")
    if config.get("command") == "search":
        end = (many.get("compare", 0) + 1) * times("compare_seeds", "tasks") if many.get("compare") else 0
        tasks = "tasks_per_generation" if many.get("tasks_per_generation") else "tasks"
        rounds = times("generations", "population", tasks) + times("generations", "rivals", tasks)
        return rounds + 2 * times("finalists_seeds", "tasks") + end if rounds else 0
    views = config.get("views")
    views = views if isinstance(views, list) else []
    return times("methods", "tasks", "seeds") * sum(times("learning_rates") if v == "tuned" else 1 for v in views)


def generations_so_far(done: Sequence[tuple[Job, Result]], most: Any) -> list[tuple[float, float, float]]:
    """Return best, mean and worst candidate of each generation; its jobs share a noise seed, and score no test data."""
    rounds: dict[int, dict[Any, list[float]]] = {}
    for job, result in done:
        if "test" not in job.evaluate and len(job.evaluate) == 1:
            value = result.history.last(job.evaluate[0])
            rounds.setdefault(job.noise_seed, {}).setdefault(job.method, []).append(value)
    found = []
    for candidates in list(rounds.values())[: most if type(most) is int else None]:
        means = [m for values in candidates.values() if np.isfinite(m := float(np.mean(values)))]
        found += [(max(means), float(np.mean(means)), min(means))] if means else []
    return found
