"""Whether the gate opens too early, and what it costs to wait: `base` and gates that open later, on the pool's tasks.

    python searches/gated/waiting.py --data-dir DIR --out FOLDER                 # what is there is not trained again
    python searches/gated/waiting.py --show searches/gated/results/waiting.json  # the tables, without training

On the tasks of the pool but the ten that take longest, and on tasks that it does not have: two classes that interleave
in two features, see `pool.INTERLEAVED`. Later opens a gate with a smaller kappa, with `clear` (g times how far p and m
are apart, on average) or with `calm` (g times the largest probability, on average); `Gates` in `many.py` has both.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from attempts import HEAD, KNOWN, OURS, RIVALS, Score, Trained, rows
from hand import BASE, named
from many import RATES, Gates, Lanes, Named
from pool import INTERLEAVED, POOL, Task

LATER: tuple[dict[str, float], ...] = (
    {"kappa": 7}, {"kappa": 5}, {"kappa": 3}, {"kappa": 2}, {"clear": 0.25}, {"clear": 0.5}, {"clear": 1}, {"calm": 1},
)  # fmt: skip
CANDIDATES = {"cross-entropy": {}, "base": BASE, **{f"base, {named(change)}": {**BASE, **change} for change in LATER}}
SLOW = (12, 17, 18, 24, 36, 37, 45, 47, 48, 52)
ON_POOL = tuple(task for i, task in enumerate(POOL) if i not in SLOW)


def main() -> None:
    """Train what has no result yet, and print a table for the pool and one for what interleaves."""
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
    known = json.loads(KNOWN.read_text())["results"] | found["rivals"]
    for title, tasks in (("the pool", ON_POOL), ("classes that interleave", INTERLEAVED)):
        print(f"\n{title}, {len(tasks)} tasks\n\n{HEAD}")
        against = np.array([known[task.label] for task in tasks])
        ours = np.array([found["results"][task.label] for task in tasks])
        score = Score(tasks, against, RIVALS)
        print("\n".join(rows(ours, score, found["names"])))
        own = [i for i, name in enumerate(RIVALS) if name not in OURS]
        print("\n".join(rows(against[..., own], score, [f"*{RIVALS[i]}*" for i in own], 3)))


def train(place: Path, options: argparse.Namespace) -> None:
    """Train candidates on all tasks, rivals on those that interleave."""
    options.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lanes, numbers = Lanes(device, options.lanes), [Gates.row(**values) for values in CANDIDATES.values()]
    rivals = Trained(options.out / "rivals.json", RIVALS, lanes, options.data_dir, RATES)
    rivals(INTERLEAVED, lambda task: Named(RIVALS, task.data))
    ours = Trained(options.out / "ours.json", list(CANDIDATES), lanes, options.data_dir, RATES)
    tasks: Sequence[Task] = (*INTERLEAVED, *ON_POOL)
    ours(tasks, lambda _: Gates(numbers, device))
    place.write_text(json.dumps({"names": ours.names, "results": ours.results, "rivals": rivals.results}))


if __name__ == "__main__":
    main()
