"""`RobustClassifier` beside scikit-learn's own on a table with wrong labels: accuracy, how sure they are, time.

    python -m benchmarks.estimators adult.csv --target income
    python -m benchmarks.estimators                                  # scikit-learn's breast_cancer

Of each of `--repetitions` stratified splits, a fifth is the test part, whose labels are as they come; of the others a
share `--noise` is flipped to another class. Every method gets the same features, those of `TableEncoder`. Gradient
boosting stands there as it comes, and stopped early on held-out noisy labels, as `RobustClassifier` is. The log loss
is that of test labels with the same noise: whether a probability means what it says where labels are like those
learnt from.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pyarrow import csv
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from autorobustloss import Dataset, RobustClassifier, corrupt, transition_matrix

Factory = Callable[[int], Any]
METHODS: dict[str, Factory] = {
    "LogisticRegression": lambda seed: LogisticRegression(max_iter=5000),
    "HistGradientBoosting": lambda seed: HistGradientBoostingClassifier(random_state=seed),
    "HistGradientBoosting, early": lambda seed: HistGradientBoostingClassifier(random_state=seed, early_stopping=True),
    **{f'RobustClassifier("{loss}")': lambda seed, loss=loss: RobustClassifier(loss, random_state=seed)
       for loss in ("ce", "gce", "nce+mae", "arl-taylor", "arl")},
}  # fmt: skip


def compare(dataset: str, target: str | None, noise: str, repetitions: int) -> dict[str, np.ndarray]:
    """Return, by method, accuracy, log loss and seconds of each repetition, (repetitions, 3)."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in METHODS}
    for seed in range(repetitions):
        x, y, x_test, y_test, classes = halves(dataset, target, seed)
        generator = torch.Generator().manual_seed(seed)
        matrix = transition_matrix(noise, classes)
        noisy, noisy_test = (corrupt(torch.from_numpy(labels), matrix, generator).numpy() for labels in (y, y_test))
        for name, make in METHODS.items():
            start = time.perf_counter()
            model = make(seed).fit(x, noisy)
            seconds = time.perf_counter() - start
            surprise = log_loss(noisy_test, model.predict_proba(x_test), labels=range(classes))
            found[name].append((100 * model.score(x_test, y_test), surprise, seconds))
    return {name: np.array(rows) for name, rows in found.items()}


FIRST_SPLIT = 1000
"""Seeds of splits from here on: those below it served to choose defaults of `RobustClassifier` on Adult."""


def halves(dataset: str, target: str | None, seed: int) -> tuple[Any, ...]:
    """Return another split of a data set's rows each time, its features learnt from the training rows alone."""
    if target is None:
        frame, target = load_breast_cancer(as_frame=True).frame, "target"
    else:
        frame = csv.read_csv(dataset).to_pandas()
    train, test = train_test_split(frame, test_size=0.2, random_state=FIRST_SPLIT + seed, stratify=frame[target])
    data = Dataset.from_frame(train, target, test=test)
    arrays = (data.x_train, data.y_train, data.x_test, data.y_test)
    return (*(array.numpy() for array in arrays), data.num_classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", default="breast_cancer", help="a CSV file")
    parser.add_argument("--target", help="its column of labels")
    parser.add_argument("--noise", default="clean,sym:0.3", help="noises, joined by commas")
    parser.add_argument("--repetitions", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for noise in options.noise.split(","):
        print(f"\n{noise}: mean ± standard error over {options.repetitions} splits\n")
        print("| method | accuracy, % | log loss of noisy labels | fit, s |\n|---|--:|--:|--:|")
        for name, rows in compare(options.dataset, options.target, noise, options.repetitions).items():
            error = rows.std(0, ddof=1) / len(rows) ** 0.5
            (accuracy, surprise, seconds), (off, _, _) = rows.mean(0), error
            print(f"| {name} | {accuracy:.1f} ± {off:.1f} | {surprise:.3f} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
