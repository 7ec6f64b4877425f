"""What each attempt of a search gave, from its stored results: no training.

python searches/gated/shown.py searches/gated/results/first-search.tar.xz
"""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

LAST = 5
"""Generations at the end whose means are averaged: each is scored on data of its own."""


def read(place: Path, name: str) -> Any:
    """Return a JSON file of an archive."""
    with tarfile.open(place) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith(f"/{name}.json"))
        file = archive.extractfile(member)
        assert file is not None
        return json.load(file)


def main() -> None:
    """Print a table, a row for each attempt and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", type=Path)
    history = read(parser.parse_args().place, "attempts")
    print("| attempt | seed | score | mean gap | largest gap | classes given up |\n|---|--:|--:|--:|--:|--:|")
    for attempt, seed in dict.fromkeys((h["attempt"], h["seed"]) for h in history):
        last = [h for h in history if (h["attempt"], h["seed"]) == (attempt, seed)][-LAST:]
        means = [np.mean([h[key] for h in last]) for key in ("score", "mean_gap", "largest_gap", "given_up")]
        print(f"| {attempt} | {seed} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
