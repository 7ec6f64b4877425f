"""The verdict that `docs/evidence/PROTOCOL.md` asks for, from the results of `held_out.py`: no training.

python searches/gated/verdict.py FOLDER_OR_ARCHIVE            # the points of the protocol
python searches/gated/verdict.py FOLDER_OR_ARCHIVE --table    # average ranks by kind of task, as Markdown
"""

from __future__ import annotations

import argparse
import json
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

DRAWS, OURS = 10_000, ("new", "arl-taylor", "arl-mild")
RENAMED = {"arl": "arl-taylor"}
"""What the loss that is now `arl-taylor` was called when the verdicts were made."""
MUST_BEAT = ("gce", "sce", "nce+mae", "anl_ce", "jal_ce", "ce", "elr")


class Found(NamedTuple):
    """A task: test accuracy of each method at its own rate, plain, balanced and of the worst class."""

    kind: str
    task: str
    data: str
    clean: bool
    rare: bool
    plain: dict[str, float]
    balanced: dict[str, float]
    least: dict[str, float]


PARTS: dict[str, Callable[[Found], bool]] = {
    "all": lambda task: True,
    "images": lambda task: task.kind == "images",
    "features": lambda task: task.kind == "features",
    "tables": lambda task: task.kind == "tables",
    "clean labels": lambda task: task.clean,
    "wrong labels": lambda task: not task.clean,
    "classes 20:1": lambda task: task.rare,
    "CIFAR-10": lambda task: task.data == "cifar10",
}
SHOWN = ("new", "elr", "sce", "gce", "nce+mae", "js", "ce")
"""Methods of the summary."""


def stored_in(place: Path) -> list[dict[str, Any]]:
    """Return what `held_out.py` wrote, one task each, from its folder or an archive of it."""
    if place.is_dir():
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(place.glob("*.json"))]
    with tarfile.open(place) as archive:
        members = sorted((m for m in archive.getmembers() if m.isfile()), key=lambda member: member.name)
        return [json.load(file) for member in members if (file := archive.extractfile(member))]


def read(stored: dict[str, Any], early: bool) -> Found:
    """Return a task's scores; early: at the moment that noisy validation finds best, else at the end."""
    valid, *scores = (np.array(stored[name]).mean(1) for name in ("valid", "plain", "balanced", "least"))
    moments = valid if early else valid[-1:]
    values: list[dict[str, float]] = [{} for _ in scores]
    for number, method in enumerate(RENAMED.get(name, name) for name in stored["methods"]):
        moment, rate = np.unravel_index(moments[:, number].argmax(), moments[:, number].shape)
        for into, score in zip(values, scores):
            into[method] = float((score if early else score[-1:])[moment, number, rate])
    about = stored["kind"], stored["task"], stored["data"], stored["noise"] == "clean", stored["rare"] > 1
    return Found(*about, *values)


def ranks(tasks: Sequence[Found]) -> dict[str, float]:
    """Return average ranks, 1 the best, over the methods but our earlier losses."""
    names = [name for name in tasks[0].plain if name not in OURS[1:]]
    table = np.array([rankdata([-task.plain[name] for name in names]) for task in tasks])
    return dict(zip(names, table.mean(0)))


def place(ranks: dict[str, float], method: str) -> int:
    """Return the place of a method: 1 and the number of those of a smaller average rank."""
    return 1 + sum(rank < ranks[method] - 1e-9 for rank in ranks.values())


def differences(tasks: Sequence[Found], rival: str) -> tuple[float, np.ndarray]:
    """Return the mean difference to a rival, and that of each draw of data sets first and their tasks second."""
    groups: dict[str, list[float]] = {}
    for task in tasks:
        groups.setdefault(task.data, []).append(task.plain["new"] - task.plain[rival])
    generator, means, own = np.random.default_rng(0), np.zeros(DRAWS), [np.array(g) for g in groups.values()]
    for draw in range(DRAWS):
        picked = [own[i] for i in generator.integers(len(own), size=len(own))]
        means[draw] = np.concatenate([generator.choice(group, len(group)) for group in picked]).mean()
    return float(np.concatenate(own).mean()), means


def verdict(tasks: Sequence[Found], say: Any = print) -> None:
    """Print the five points of the protocol for one view."""
    for kind in dict.fromkeys(task.kind for task in tasks):
        order = sorted(ranks([t for t in tasks if t.kind == kind]).items(), key=lambda item: item[1])
        place = [name for name, _ in order].index("new") + 1
        say(f"1. {kind}: place {place} of {len(order)};", ", ".join(f"{name} {rank:.1f}" for name, rank in order[:6]))
    # Holm: the rival whose interval is the closest to 0 may use the whole 5 %, the next half of it, and so on.
    apart = {rival: differences(tasks, rival) for rival in MUST_BEAT if rival in tasks[0].plain}
    for tests, rival in enumerate(sorted(apart, key=lambda name: np.quantile(apart[name][1], 0.025)), 1):
        mean, draws = apart[rival]
        low, high = np.quantile(draws, [0.025 / tests, 1 - 0.025 / tests])
        say(f"2. {rival}: {mean:+.2f} [{low:+.2f}, {high:+.2f}]", "better" if low > 0 else "not shown")
    for rare, what in ((False, "as they come"), (True, "imbalanced")):
        cost = {t.task: t.plain["ce"] - t.plain["new"] for t in tasks if t.clean and t.rare is rare}
        if cost:
            worst, average = max(cost, key=lambda name: cost[name]), np.mean(list(cost.values()))
            say(f"3. clean, {what}: costs {average:.2f} on average, {cost[worst]:.2f} at most ({worst})")
    best = {t.task: max((v, n) for n, v in t.plain.items() if n not in OURS) for t in tasks}
    gaps = {t.task: best[t.task][0] - t.plain["new"] for t in tasks}
    wide = sorted((t for t in tasks if gaps[t.task] > 5), key=lambda t: -gaps[t.task])
    say(f"4. gap to the best of all others on a task: mean {np.mean(list(gaps.values())):.2f}; {len(wide)} above 5:")
    for t in wide:
        first = best[t.task][1]
        worst_class = f"worst class {t.least['new']:.1f}, its {t.least[first]:.1f}"
        say(f"   {gaps[t.task]:.1f} behind {first} ({t.task}); {worst_class}")
    given_up = [t.task for t in tasks if t.least["ce"] > 20 and t.least["new"] < t.least["ce"] / 4]
    say(f"5. classes given up on {len(given_up)} tasks", "; ".join(given_up))
    for name in OURS[1:]:
        say(f"   beside: {np.mean([t.plain['new'] - t.plain[name] for t in tasks]):+.2f} points against {name}")


def summary(tasks: Sequence[Found]) -> str:
    """Return average ranks as a table: the parts of the tasks, and the methods of `SHOWN` with their places."""
    shown = ("arl" if name == "new" else name for name in SHOWN)
    lines = [f"| last epoch | tasks | {' | '.join(shown)} | the best |", "|---" + "|--:" * (1 + len(SHOWN)) + "|---|"]
    for part, belongs in PARTS.items():
        own = [task for task in tasks if belongs(task)]
        if not own:
            continue
        found = ranks(own)
        best = min(found, key=lambda name: found[name])
        cells = [f"{found[name]:.1f} ({place(found, name)})" for name in SHOWN]
        lines.append(f"| {part} | {len(own)} | {' | '.join(cells)} | {'arl' if best == 'new' else best} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print both views, or the table of the last epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path)
    parser.add_argument("--table", action="store_true", help="average ranks by kind of task")
    options = parser.parse_args()
    stored = stored_in(options.place)
    if options.table:
        print(summary([read(task, early=False) for task in stored]), end="")
        return
    print(len(stored), "tasks")
    for early in (False, True):
        print("\nthe moment noisy validation finds best" if early else "last epoch")
        verdict([read(task, early) for task in stored])


if __name__ == "__main__":
    main()
