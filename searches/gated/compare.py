"""Gated losses chosen by hand over the development tasks, one by one: what each number of the family is worth.

    python searches/gated/compare.py --data-dir DIR --out FOLDER [--seeds 0 1]

Needs rivals.json of `attempts.py` in FOLDER; goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from attempts import Score, chosen
from many import Batch, Gates
from pool import POOL

NAMES = Gates.names[:6]
HAND: dict[str, tuple[float, ...]] = {
    "cross-entropy": (0, 0, 1, 0, 0, 0),
    "agreement": (0.83, 2.1, 4.35, 0, 0, 0),
    "agreement, pace 1": (0.83, 2.1, 4.35, 1, 0, 0),
    "surprise": (0.83, 2.1, 4.35, 0, 0, 1),
    "surprise, pace 1": (0.83, 2.1, 4.35, 1, 0, 1),
    "kappa 2.5": (0.83, 2.1, 2.5, 1, 0, 1),
    "kappa 8": (0.83, 2.1, 8, 1, 0, 1),
    "kappa 16": (0.83, 2.1, 16, 1, 0, 1),
    "q .5": (0.5, 2.1, 4.35, 1, 0, 1),
    "q 1.2": (1.2, 2.1, 4.35, 1, 0, 1),
    "r 0": (0.83, 0, 4.35, 1, 0, 1),
    "r 1": (0.83, 1, 4.35, 1, 0, 1),
    "r 3.5": (0.83, 3.5, 4.35, 1, 0, 1),
    "r 1, kappa 8": (0.83, 1, 8, 1, 0, 1),
    "q 1.2, r 1": (1.2, 1, 4.35, 1, 0, 1),
    "pace .5": (0.83, 2.1, 4.35, 0.5, 0, 1),
    "power 2, kappa 8": (0.83, 2.1, 8, 0, 0, 2),
    "power 2, kappa 16": (0.83, 2.1, 16, 0, 0, 2),
    "power 3, kappa 16": (0.83, 2.1, 16, 0, 0, 3),
    "power 3, kappa 32": (0.83, 2.1, 32, 0, 0, 3),
    "q 1.2, r 1, power 2, kappa 16": (1.2, 1, 16, 0, 0, 2),
    "q 1.2, r 1, power 3, kappa 32": (1.2, 1, 32, 0, 0, 3),
    "q 1.2, r 2, power 3, kappa 16": (1.2, 2, 16, 0, 0, 3),
    "q .5, r 3, power 2, kappa 16": (0.5, 3, 16, 0, 0, 2),
}


def main() -> None:
    """Train what is missing, and print the table so far."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=[3000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    path = options.out / "compare.json"
    done = json.loads(path.read_text()) if path.exists() else {}
    rivals = json.loads((options.out / "rivals.json").read_text())
    rows = np.array([(*values, 0, 0, 0, 0, 0) for values in HAND.values()])
    order = sorted(range(len(POOL)), key=lambda i: cost(i))
    for seed in options.seeds:
        for i in order:
            task = POOL[i]
            key = f"{seed} {task.label}"
            missing = [j for j, name in enumerate(HAND) if name not in done.get(key, {})]
            if missing:
                batch = Batch(
                    task,
                    Gates(rows[missing], torch.device("cpu")),
                    len(missing),
                    1,
                    options.data_dir,
                    torch.device("cpu"),
                )
                result = chosen(batch.train((seed,))[-1])
                done.setdefault(key, {}).update(
                    {list(HAND)[j]: result[:, n].round(2).tolist() for n, j in enumerate(missing)}
                )
                path.write_text(json.dumps(done, indent=0))
                table(done, rivals, options.seeds)


def cost(number: int) -> float:
    """Return about how long a task takes."""
    task = POOL[number]
    return task.size * task.epochs * (60 if task.conv else 1 + sum(task.layers) / 50)


def table(done: dict[str, dict[str, list[float]]], rivals: dict[str, list], seeds: list[int]) -> None:
    """Print gaps to the best rival, and what clean labels cost."""
    use = [
        i for i, task in enumerate(POOL) if all(len(done.get(f"{s} {task.label}", {})) == len(HAND) for s in seeds[:1])
    ]
    results = np.array([[done[f"{seeds[0]} {POOL[i].label}"][name] for name in HAND] for i in use]).transpose(0, 2, 1)
    score = Score([POOL[i] for i in use], np.array(rivals["results"])[use], rivals["names"])
    gaps, given_up = score.gaps(results)
    clean = (score.ce[:, None] - results[:, 0])[score.clean]
    own = (results[:, 0, :1] - results[:, 0])[score.clean]
    print(f"\n{len(use)} tasks")
    for j, name in enumerate(HAND):
        cost = (
            f"{clean[:, j].mean():5.2f} ({own[:, j].mean():5.2f}, at most {own[:, j].max():4.1f})" if len(clean) else ""
        )
        print(
            f"{name:30} gap {gaps[:, j].mean():5.2f}, largest {gaps[:, j].max():5.1f}, clean costs {cost}, "
            f"given up {given_up[:, j].sum()}",
            flush=True,
        )


if __name__ == "__main__":
    main()
