"""What was found out about labels: as a table, as a noise matrix, in a few lines."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autorobustloss.escape import csv_cell
from autorobustloss.labels.config import LabelsConfig

FEW = 2
"""Samples of a class in a fold, below which its probabilities, and its row of the noise matrix, mean little."""
COLUMNS = ("sample", "given", "suggested", "wrong", "quality", "confidence")


@dataclass(frozen=True, eq=False)
class LabelErrors:
    """What networks that have not seen them say of N labels of C classes.

    samples: what the samples are called, files, rows or places (see `pool.sample_names`).
    given: the labels (N,), numbers of `classes`. probabilities: (N, C), out of fold.
    quality: the probability of the given label, in [0, 1]; wrong: which labels cleanlab takes for wrong.
    joint: Q[true, given] (C, C), the estimated share of samples of each pair.
    truth: the right labels (N,), where they are known, as after noise was added; else None.
    """

    config: LabelsConfig
    classes: tuple[str, ...]
    samples: tuple[str, ...]
    given: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    quality: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    joint: NDArray[np.float64]
    truth: NDArray[np.int64] | None = None

    @cached_property
    def suggested(self) -> NDArray[np.int64]:
        """The most probable class of each sample (N,)."""
        return self.probabilities.argmax(1)

    @cached_property
    def ranking(self) -> NDArray[np.int64]:
        """Numbers of the samples (N,), the most suspicious first: those taken for wrong, then the others."""
        return np.lexsort((self.quality, ~self.wrong))

    @property
    def noise_rate(self) -> float:
        """The share of labels that are taken for wrong, an estimate of that of wrong ones."""
        return float(self.wrong.mean())

    @property
    def noise_matrix(self) -> NDArray[np.float64]:
        """T[true, noisy] (C, C), as estimated: rows sum to 1; that of a class that nothing belongs to is a unit row."""
        totals = self.joint.sum(1, keepdims=True)
        return np.where(totals > 0, self.joint / np.where(totals > 0, totals, 1), np.eye(len(self.joint)))

    @property
    def scores(self) -> dict[str, float]:
        """How good this is, where the right labels are known: precision and recall of `wrong`, AUC of the ranking."""
        if self.truth is None or not 0 < (mistaken := self.given != self.truth).mean() < 1:
            return {}
        from sklearn.metrics import roc_auc_score

        found = float((self.wrong & mistaken).sum())
        return {
            "precision": found / max(int(self.wrong.sum()), 1),
            "recall": found / int(mistaken.sum()),
            "auc": float(roc_auc_score(mistaken, -self.quality)),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for every sample, the most suspicious first; `COLUMNS` names its cells."""
        return [
            {
                "sample": self.samples[i],
                "given": self.classes[self.given[i]],
                "suggested": self.classes[self.suggested[i]],
                "wrong": int(self.wrong[i]),
                "quality": float(self.quality[i]),
                "confidence": float(self.probabilities[i].max()),
            }
            for i in self.ranking
        ]

    def to_csv(self) -> str:
        """Return the rows as CSV; a text that a spreadsheet would take for a formula gets an apostrophe."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in self.rows():
            cells = [f"{row[c]:.4g}" if isinstance(row[c], float) else row[c] for c in COLUMNS]
            writer.writerow([csv_cell(cell) if isinstance(cell, str) else cell for cell in cells])
        return out.getvalue()

    def matrix_json(self) -> str:
        """Return the noise matrix as JSON, a file of which `matrix:FILE` is a noise."""
        rows = [json.dumps(row) for row in self.noise_matrix.tolist()]
        return "[" + ",\n ".join(rows) + "]\n"

    def summary(self) -> str:
        """Return what was found in a few sentences."""
        N, count, folds = len(self.given), int(self.wrong.sum()), self.config.folds
        method = self.config.name or self.config.method.label
        judges = f"{self.config.seeds} x {folds} networks ({self.config.task.model}, {method})"
        said = (
            f"{count} of {N} labels look wrong ({100 * self.noise_rate:.1f} %). Judged by {judges}, each on samples "
            "that it was not trained on, and by cleanlab."
        )
        sizes = np.bincount(self.given, minlength=len(self.classes))
        if small := [name for name, size in zip(self.classes, sizes) if size < FEW * folds]:
            said += f" Of classes with fewer than {FEW * folds} labels little can be said: {', '.join(small)}."
        if self.scores:
            said += " Against the right labels: " + ", ".join(f"{k} {v:.3f}" for k, v in self.scores.items()) + "."
        return said

    def __str__(self) -> str:
        top = self.rows()[: min(10, int(self.wrong.sum()))]
        lines = [f"  {r['sample']}: {r['given']}, more likely {r['suggested']} ({r['confidence']:.2f})" for r in top]
        return "\n".join([self.summary(), *lines])
