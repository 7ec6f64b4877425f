"""Put the losses that our searches found on the shelf: cards with their provenance and how they were tested.

    python searches/ship.py --runs runs                            # before the benchmark, which takes the cards
    python searches/ship.py --evidence runs/held-out               # after it
    python searches/ship.py                                        # the texts of searches/cards.toml anew
    python searches/ship.py arl-ar-s80 --runs runs                 # or of some

For each loss of searches/cards.toml, or each one named, runs/NAME/loss.json is taken as the search left it, but for its
scale where that was chosen afterwards; without --runs, the card on the shelf. What the loss is for and the accuracies
of a benchmark of docs/evidence (table-published.json of its run folder) are added to it.

A loss with a verdict of its own has its numbers from the search behind that, and its accuracies from the verdict's.
"""

from __future__ import annotations

import argparse
import json
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from autorobustloss.losses import GatedLoss
from autorobustloss.losses.cards import Card, LossCard, load_card
from autorobustloss.losses.cards.shelf import CARDS

HERE = Path(__file__).parent
EVIDENCE = "tasks of docs/evidence, which says how far to trust them and to which rivals they are unfair"


def measured(table: dict[str, Any], name: str) -> dict[str, Any]:
    """Return what the benchmark says of a loss: average ranks, and accuracies beside cross-entropy's and the best."""
    row, ce = table["methods"].index(name), table["methods"].index("ce")
    last = next(block for block in table["blocks"] if block["selection"] == "last")

    def percent(method: int, task: int) -> float | None:
        mean = last["cells"][method][task]["mean"]
        return None if mean is None else round(100 * mean, 2)

    accuracy = {}
    for column, task in enumerate(table["tasks"]):
        values = {m: v for i, m in enumerate(table["methods"]) if (v := percent(i, column)) is not None}
        best = max(values, key=lambda m: values[m])
        accuracy[task] = {name: percent(row, column), "ce": percent(ce, column), "best": [best, values[best]]}
    ranks = last["average_ranks"]
    return {
        "tested_on": f"{len(table['tasks'])} {EVIDENCE}; {len(table['methods'])} methods",
        "average_rank": round(ranks[row], 2),
        "place": 1 + sum(rank is not None and rank < ranks[row] for rank in ranks),
        "accuracy": accuracy,
    }


def judged(name: str, stored: Path) -> dict[str, Any]:
    """Return what a verdict says of the loss on trial: its average rank at the last epoch, and accuracies beside it."""
    script = runpy.run_path(str(HERE / "gated" / "verdict.py"))
    tasks = [script["read"](task, early=False) for task in script["stored_in"](stored)]
    ranks = script["ranks"](tasks)
    accuracy = {}
    for task in tasks:
        values = {name: task.plain["new"], **{other: task.plain[other] for other in ranks if other != "new"}}
        best = max(values, key=lambda m: values[m])
        of = {name: values[name], "ce": values["ce"], "best": [best, values[best]]}
        accuracy[task.task] = {m: [v[0], round(v[1], 2)] if m == "best" else round(v, 2) for m, v in of.items()}
    return {
        "tested_on": f"{len(tasks)} {EVIDENCE}; {len(ranks)} methods, each at its best of three learning rates",
        "average_rank": round(ranks["new"], 2),
        "place": int(script["place"](ranks, "new")),
        "accuracy": accuracy,
    }


def trained(options: argparse.Namespace, name: str, texts: dict[str, Any], table: dict[str, Any] | None) -> LossCard:
    """Return the card of a search's loss, at the scale it ships with."""
    found = load_card(options.runs / name / "loss.json" if options.runs else name)
    assert isinstance(found, Card), f"{name} is no Taylor loss"
    searched_at = found.provenance["search"]["space"]["scale"]
    scale = texts.pop("scale", searched_at)
    if scale != searched_at:
        texts["fitness_is_of"] = f"the scale {searched_at} of the search; {scale} was chosen afterwards"
    provenance = {**texts, **found.provenance, **texts}
    tested = measured(table, name) if table else found.measured
    return replace(found, name=name, scale=scale, provenance=provenance, measured=tested)


def main() -> None:
    """Write the cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="some of searches/cards.toml (default: all)")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="where the searches' folders are (default: the shelf)")
    parser.add_argument("--evidence", type=Path, metavar="DIR", help="run folder of the benchmark")
    options = parser.parse_args()
    table = options.evidence and json.loads((options.evidence / "table-published.json").read_text(encoding="utf-8"))
    known = msgspec.toml.decode((HERE / "cards.toml").read_bytes())
    for name in options.names or known:
        texts = known[name]
        if "verdict" in texts:
            tested = judged(name, HERE / texts.pop("verdict"))
            loss = GatedLoss(**texts.pop("numbers"))
            card = LossCard.from_loss(loss, name=name, provenance=texts, measured=tested)
        else:
            card = trained(options, name, texts, table)
        CARDS.mkdir(exist_ok=True)
        card.save(CARDS / f"{name}.json")
        print(CARDS / f"{name}.json")


if __name__ == "__main__":
    main()
