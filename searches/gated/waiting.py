"""Whether the gate opens too early, and what it costs to wait: `base` and gates that open later.

    python searches/gated/waiting.py --data-dir DIR --out FOLDER                 # what is there is not trained again
    python searches/gated/waiting.py --show searches/gated/results/waiting.json  # the tables, without training

On the tasks of the race, on those of the pool with 80 % wrong labels, and on tasks that the pool does not have: two
classes that interleave in two features, see `pool.INTERLEAVED`; and, for the reason only, on the held-out tasks that
were missed. A gate opens later with a smaller kappa, or with `clear`: g times how far p and m are apart, on average.
A row with "or" is what one has who trains both and takes what noisy validation data find better.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attempts import KNOWN, OURS, RACE, RIVALS, Score, Trained, chosen
from hand import BASE, named
from held_out import TASKS
from many import RATES, Gates, Lanes, Named, Scores
from pool import INTERLEAVED, POOL, Task

BEHIND = ("banana, sym", "banana, pair", "attrition, sym:0.35", "diamonds, clean")
"""Where the second verdict found `base` too far behind."""
LATER: tuple[dict[str, float], ...] = (
    {"kappa": 7}, {"kappa": 5}, {"kappa": 3}, {"kappa": 2}, {"clear": 0.5}, {"clear": 1},
)  # fmt: skip
CANDIDATES = {"cross-entropy": {}, "base": BASE, **{f"base, {named(change)}": {**BASE, **change} for change in LATER}}
MISSED = tuple(task for task in TASKS["tables"] if task.label.startswith(BEHIND))
EITHER = ("base", "base, kappa 3")
PARTS: dict[str, tuple[Task, ...]] = {
    "tasks of the race": tuple(POOL[i] for i in RACE),
    "80 % wrong labels": tuple(task for task in POOL if task.noise == "sym:0.8"),
    "classes that interleave": INTERLEAVED,
    "missed, seen again": MISSED,
}


def main() -> None:
    """Train what has no result yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", type=Path, help="the waiting.json of an earlier run")
    parser.add_argument("--lanes", type=int, default=2, help="tasks side by side: cores, or more on a GPU")
    options = parser.parse_args()
    place = options.show or options.out / "waiting.json"
    if not options.show:
        train(place, options)
    found = json.loads(place.read_text())
    print("\n".join([*table(found), "", *missed(found)]))


def table(found: dict[str, Any]) -> list[str]:
    """Return the lines of a table: mean gap to the best rival of each task, and in brackets the largest."""
    names = list(CANDIDATES)
    kinds = {**{name: [i] for i, name in enumerate(names)}, " or ".join(EITHER): [names.index(n) for n in EITHER]}
    known, columns = json.loads(KNOWN.read_text())["results"] | found["rivals"], []
    for tasks in PARTS.values():
        against = np.array([known[task.label] for task in tasks])
        scores = np.array([found["scores"][task.label] for task in tasks])
        score = Score(tasks, against, RIVALS)
        gaps = score.gaps(np.stack([best(scores, kind) for kind in kinds.values()], -1))[0]
        others = score.gaps(against)[0]
        first = min((i for i, name in enumerate(RIVALS) if name not in OURS), key=lambda i: others[:, i].mean())
        columns.append([*map(in_short, gaps.T), f"{in_short(others[:, first])} `{RIVALS[first]}`"])
    head = " | ".join(f"{part}: {len(tasks)}" for part, tasks in PARTS.items())
    rows = zip([*kinds, "*the best rival*"], *columns)
    return [f"| loss | {head} |", "|---|" + "--:|" * len(PARTS), *(f"| {' | '.join(row)} |" for row in rows)]


def missed(found: dict[str, Any]) -> list[str]:
    """Return the lines of a table: test accuracy on each of the missed tasks."""
    own = [i for i, name in enumerate(RIVALS) if name not in OURS]
    head = ["missed, seen again", *CANDIDATES, "*the best rival*"]
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    for task in MISSED:
        scores, rivals = np.array([found["scores"][task.label]]), np.array(found["rivals"][task.label])[0, own]
        cells = [f"{best(scores, [i])[0, 0]:.1f}" for i in range(len(CANDIDATES))]
        first = f"{rivals.max():.1f} `{RIVALS[own[int(rivals.argmax())]]}`"
        lines.append(f"| {task.data}, {task.noise} | {' | '.join(cells)} | {first} |")
    return lines


def in_short(gaps: np.ndarray) -> str:
    """Return the mean of gaps, and the largest in brackets."""
    return f"{gaps.mean():.2f} ({gaps.max():.1f})"


def best(scores: np.ndarray, kind: Sequence[int]) -> np.ndarray:
    """Return what `chosen` does for some candidates as one with all their rates: (T, 4, M, R) -> (T, 3)."""
    return np.stack([chosen(Scores(*task[:, kind].reshape(4, 1, 1, -1)))[:, 0] for task in scores])


def train(place: Path, options: argparse.Namespace) -> None:
    """Train candidates on all tasks, rivals on those that are not of the pool."""
    options.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lanes, numbers = Lanes(device, options.lanes), [Gates.row(**values) for values in CANDIDATES.values()]
    rivals = Trained(options.out / "rivals.json", RIVALS, lanes, options.data_dir, RATES)
    rivals((*INTERLEAVED, *MISSED), lambda task: Named(RIVALS, task.data))
    ours = Trained(
        options.out / "ours.json", list(CANDIDATES), lanes, options.data_dir, RATES, pick=lambda s: np.stack(s).mean(1)
    )
    ours([task for part in PARTS.values() for task in part], lambda _: Gates(numbers, device))
    place.write_text(json.dumps({"scores": ours.results, "rivals": rivals.results}))


if __name__ == "__main__":
    main()
