"""Follow the committed stores to the losses on the shelf: without data or training, on any processor.

    python searches/replay.py            # all that have a store
    python searches/replay.py arl-taylor # or some
    python searches/replay.py --seeds    # how those with several seeds ended

Each search runs again on its results, from the configuration in the loss's card, and must end at the card's SHA-256.
"""

from __future__ import annotations

import argparse
import lzma
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from autorobustloss.data.names import DataName
from autorobustloss.errors import WorkerError
from autorobustloss.losses.cards import Card, LossCard, load_card
from autorobustloss.methods import MethodSpec
from autorobustloss.runs import Executor, Job, Store
from autorobustloss.runs.executors import Failures, Results
from autorobustloss.search import SearchConfig, SearchOutcome, run_search
from autorobustloss.search.card import make_card
from autorobustloss.search.config import create_space

STORES, ATTEMPTS = (Path(__file__).parent / folder for folder in ("stores", "attempts"))
NAMES = tuple(sorted(path.name.split(".")[0] for path in STORES.glob("*.sqlite.xz")))
SEVERAL, SEEDS = ("arl-ar-s80", "second-ar-a40", "second-dr-s80", "second-dr-a40"), range(3)
"""The searches whose stores have the results of several seeds; only the first shipped."""
CLASSES = 10
"""Of MNIST and CIFAR-10, whose classes a view may merge or split."""


class Nobody(Executor):
    """Runs nothing."""

    def map(self, jobs: Sequence[Job], failures: Failures | None = None, ahead: Sequence[Job] = ()) -> Results:
        """Refuse to train anything."""
        if jobs:
            raise WorkerError(f"the store lacks {len(jobs)} results, the first is {jobs[0].label}")
        yield from ()


def config_of(card: LossCard) -> SearchConfig:
    """Return the configuration of the search that found a card."""
    found = dict(card.provenance["search"])
    tasks = [Job.from_dict({"task": task, "method": {"name": "ce"}}).task for task in found.pop("tasks")]
    rivals = [MethodSpec.parse(rival) for rival in found.pop("rivals")]
    return SearchConfig(tasks=tuple(tasks), space=create_space(**found.pop("space")), rivals=tuple(rivals), **found)


def replay(name: str, seed: int | None = None) -> tuple[SearchOutcome, LossCard]:
    """Run the search of a shipped loss, or of another seed, on the committed store; return outcome and card."""
    shipped = name in NAMES
    card = load_card(name if shipped else ATTEMPTS / name / "loss.json")
    packed = STORES / f"{name}.sqlite.xz" if shipped else ATTEMPTS / name / "store.sqlite.xz"
    config = config_of(card)
    config = config if seed is None else replace(config, seed=seed)
    names = {task.dataset.name: DataName.parse(task.dataset.name) for task in config.tasks}
    counts = {name: data.option("split") or data.option("merge") or CLASSES for name, data in names.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "store.sqlite"
        file.write_bytes(lzma.decompress(packed.read_bytes()))
        with Store(file) as store:
            outcome = run_search(config, counts, store, Nobody())
    return outcome, make_card(config, outcome, name)


def seeds() -> str:
    """Return a table: the fitness of the first and the last generation, and the loss found on each task, per cent."""
    rows = [
        "| search | seed | first generation, mean | last, mean | found | on each task |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for name, seed in product(SEVERAL, SEEDS):
        outcome, card = replay(name, seed)
        first, last = (f"{100 * outcome.generations[i].mean:.1f}" for i in (0, -1))
        tasks = config_of(card).tasks
        parts = (f"{t.dataset.name}/{t.model} {100 * a:.1f}" for t, a in zip(tasks, outcome.winner.per_task))
        assert outcome.winner.accuracy is not None
        found = f"{100 * outcome.winner.accuracy:.1f}"
        rows.append(f"| `{name}` | {seed} | {first} | {last} | {found} | {', '.join(parts)} |")
    return "\n".join(rows)


def main() -> None:
    """Replay searches and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES, help=f"some of {', '.join(NAMES)} (default: all)")
    parser.add_argument("--seeds", action="store_true", help="print how those with several ended")
    options = parser.parse_args()
    if options.seeds:
        print(seeds())
        return
    for name in options.names:
        shelf = load_card(name)
        _, found = replay(name)
        assert isinstance(shelf, Card), f"{name} is no Taylor loss"
        assert isinstance(found, Card), f"the search of {name} was for no Taylor loss"
        same = replace(found, scale=shelf.scale).sha256 == shelf.sha256  # the scale may have been chosen afterwards
        print(f"{name}: {shelf.sha256 if same else 'another loss'}")
        if not same:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
