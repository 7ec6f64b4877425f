"""All methods on the held-out tasks of `docs/evidence/PROTOCOL.md`: five seeds, three learning rates each.

    python searches/gated/held_out.py --data-dir DIR --out FOLDER [--kinds images]

Every task is one file in FOLDER, so the same command goes on where it stopped: noisy validation and test accuracies at
eight equally spaced moments of the training. `verdict.py` reads them. On a CPU, start it as often as there are cores:
each takes what no other is at. It is 1.4 times faster where large memory is kept and not asked for anew:

    export GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296
    export GLIBC_TUNABLES=$GLIBC_TUNABLES:glibc.malloc.trim_threshold=8589934592:glibc.malloc.arena_max=1
"""

from __future__ import annotations

import argparse
import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from attempts import RIVALS, can_run
from many import Batch, Gates, Lanes, Named, Together
from pool import Task, both

CHOSEN = Path(__file__).parent / "results" / "chosen.json"
"""The numbers of the loss under trial, by name."""

SEEDS, LOOKS = (1, 2, 3, 4, 5), 8
METHODS = (
    "ce", "label_smoothing", "huber", "ce_prior", "logitclip", "nls", "bootstrap_soft", "bootstrap_hard", "bi_tempered",
    "gce", "taylor_ce", "sce", "rce", "mae", "nce", "nfl", "nce+mae", "nfl+mae", "nce+rce", "nce+agce", "nce+aul",
    "nce+ael", "anl_ce", "anl_fl", "jal_ce", "jal_fl", "ce_eps+mae", "fl_eps+mae", "ldr_kl", "js", "antidote",
    "logit_bias", "elr",
)  # fmt: skip
OURS = ("arl-taylor", "arl-mild")

IMAGES = Task("fashion_mnist", "clean", 2000, (200, 100), lr=0.03, epochs=30)
USPS = Task("usps", "clean", 1500, (100,), lr=0.1, epochs=30)
DIGITS = Task("digits", "clean", 800, (64,), epochs=80)
OBJECTS = Task(
    "cifar10", "clean", 3000, (24, 48), conv=True, lr=0.05, cosine=True, weight_decay=1e-4, epochs=10, batch=64
)
SIZES = {
    "thyroid": 120, "ionosphere": 200, "ecoli": 200, "wine": 100, "breast_cancer": 300, "mlc_churn": 1500,
    "wa_churn": 1500, "leaf_id_flavia": 1000, "two_class_dat": 400, "attrition": 800, "diamonds": 2000,
    "penguins": 180, "banana": 1200, "segment": 1200, "phishing": 700,
}  # fmt: skip
TABLE = Task("", "clean", 0, (96, 48), optimizer="adamw", lr=3e-3, weight_decay=1e-2, epochs=40, batch=64)
SOYBEAN = replace(TABLE, data="soybean", size=450)
FEATURES = Task("banking77", "clean", 4000, (256,), epochs=12, optimizer="adamw", lr=2e-3, weight_decay=1e-2)
WIDE = replace(FEATURES, size=2500, layers=(512,), optimizer="sgd", lr=0.2, weight_decay=0.0, epochs=20)
TASKS: dict[str, tuple[Task, ...]] = {
    "images": (
        *both(IMAGES, "clean", "sym:0.2", "sym:0.5", "sym:0.8", "pair:0.4", "idn:0.35"),
        *both(USPS, "clean", "sym:0.4", "sym:0.7", "pair:0.35"),
        *both(USPS, "clean", "sym:0.3", epochs=5, size=3000),
        *both(DIGITS, "clean", "sym:0.4", "sym:0.6", "pair:0.4"),
        *both(OBJECTS, "clean", "sym:0.4", "human:aggre", "human:random1", "human:worse"),
    ),
    "tables": (
        *both(SOYBEAN, "clean", "sym:0.2", "pair:0.25"),
        *(
            task
            for name, size in SIZES.items()
            for task in both(replace(TABLE, data=name, size=size), "clean", "sym:0.2", "sym:0.35", "pair:0.25")
        ),
    ),
    "features": (
        *both(FEATURES, "clean", "sym:0.2", imbalance=20),
        *both(WIDE, "clean", "sym:0.45", "pair:0.3", "idn:0.3"),
    ),
}


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Yield whether no other process is at this file; a process that dies leaves it to others."""
    with path.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def main() -> None:
    """Train what has no file yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--only", default="", help="tasks whose label contains this")
    parser.add_argument("--skip", default=None, help="not those whose label contains this")
    parser.add_argument("--methods", nargs="*", default=[*METHODS, *OURS])
    parser.add_argument("--lanes", type=int, default=1, help="tasks side by side on a GPU")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = True
    lanes = Lanes(torch.device("cuda" if torch.cuda.is_available() else "cpu"), options.lanes)
    numbers = Gates.row(**json.loads(CHOSEN.read_text()))
    begin = time.time()
    unable = [
        name for name in options.methods if name not in RIVALS and not can_run(name, options.data_dir, lanes.device)
    ]
    assert not unable, unable

    def one(item: tuple[str, int, Task]) -> None:
        kind, place, task = item
        path = options.out / f"{kind}-{place:02}.json"
        if options.only not in task.label or (options.skip and options.skip in task.label):
            return
        with alone(path) as free:
            if free and not path.exists():
                train(kind, task, path)

    def train(kind: str, task: Task, path: Path) -> None:
        start = time.time()
        loss = Together(Gates([numbers], lanes.device), Named(options.methods, task.data))
        batch = Batch(task, loss, 1 + len(options.methods), len(SEEDS), options.data_dir, lanes.device)
        looks = batch.train(SEEDS, LOOKS)
        about = {"kind": kind, "task": task.label, "data": task.data, "noise": task.noise, "rare": task.imbalance}
        scores = {name: np.stack([getattr(look, name) for look in looks]).round(2) for name in looks[0]._fields}
        lists = {name: values.tolist() for name, values in scores.items()}
        path.write_text(json.dumps({**about, "methods": ["new", *options.methods], **lists}))
        print(f"[{time.time() - begin:6.1f}] {kind} {task.label}: {time.time() - start:.1f} s", flush=True)

    items = [(kind, place, task) for kind in options.kinds for place, task in enumerate(TASKS[kind])]
    lanes.map(one, items, [task for _, _, task in items])


if __name__ == "__main__":
    main()
