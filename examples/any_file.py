"""Which loss for a table in a file? The labels are taken as they are; what is done with the columns is printed.

    python examples/any_file.py

The same from a shell: arl bench --dataset wines.csv --target cultivar --methods ce,gce,arl
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine

import autorobustloss as arl


def write_wines(path: Path) -> None:
    """Write wines with a column of words, gaps, cultivars by name, and every fourth label of the table wrong."""
    bunch = load_wine(as_frame=True)
    frame = bunch.data.assign(colour=pd.cut(bunch.data["color_intensity"], 3, labels=["light", "medium", "deep"]))
    frame = frame.drop(columns="color_intensity")
    frame.loc[::9, "hue"] = np.nan
    wrong = np.arange(len(frame)) % 4 == 0
    names = np.array(["barolo", "grignolino", "barbera"])
    frame["cultivar"] = names[np.where(wrong, (bunch.target + 1) % 3, bunch.target)]
    frame.to_csv(path, index=False)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wines.csv"
        write_wines(file)
        data = arl.load_dataset(file, target="cultivar", test_split=0.3)
    print(*data.notes, sep="\n")
    print(arl.bench(["ce", "gce", "arl"], data, seeds=3))
