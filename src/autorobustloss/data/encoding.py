"""From columns of numbers and texts to one matrix of numbers, all that is learnt for it learnt from the training rows.

Data files, data frames and the scikit-learn estimator share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autorobustloss.data.columns import MISSING, Columns, as_columns
from autorobustloss.errors import DataError

RARE = 0.01
"""Categories that fewer of the training rows have are taken together: standardised, no one-hot column exceeds 10."""
FAR = 10.0
"""Standard deviations from the training mean to which what is further off is brought."""
SHOWN = 8
"""Columns that a sentence names before it counts the others."""


class TableEncoder:
    """A table as a matrix of float32 features: gaps filled, categories one-hot, every feature standardised.

    A column of numbers: a gap becomes the median, and where the training rows have gaps, a second column says where
    they are. A column of texts: one column for each category that at least 1 % of the rows have, one for all others
    together (and for those that come later); a gap is a category of its own. Then (x − mean)/std, brought into [−10,
    10]. A column that is empty, or of which no two values are told apart by this, is left out. Median, categories, mean
    and std are those of the rows of `fit`.

    `notes` says all this in sentences. Raises DataError for infinite numbers, and where no column is left.

    >>> table = np.array([[1.0, "red"], [3.0, "blue"], [None, "red"]], dtype=object)
    >>> TableEncoder().fit(as_columns(table)).transform(as_columns(table)).round(1)
    array([[-1.2, -0.7, -0.7,  0.7],
           [ 1.2, -0.7,  1.4, -1.4],
           [ 0. ,  1.4, -0.7,  0.7]], dtype=float32)
    """

    kinds: dict[str, str]
    notes: tuple[str, ...]

    def fit(self, columns: Columns) -> TableEncoder:
        """Learn from training rows."""
        from sklearn.impute import SimpleImputer
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        self.kinds = columns.kinds
        _require_finite(columns)
        self._numbers = ~np.isnan(columns.numbers).all(0)
        self._imputer = SimpleImputer(strategy="median", add_indicator=True)
        self._one_hot = OneHotEncoder(
            min_frequency=RARE, handle_unknown="infrequent_if_exist", sparse_output=False, dtype=np.float32
        )
        numbers = columns.numbers[:, self._numbers]
        if numbers.shape[1]:
            self._imputer.fit(numbers)
        self._texts = np.zeros(len(columns.text_names), dtype=bool)
        if len(columns.text_names):
            every = OneHotEncoder(min_frequency=RARE, handle_unknown="infrequent_if_exist").fit(columns.texts)
            self._texts = np.array([n > 1 for n in _widths(every)])
        if self._texts.any():
            self._one_hot.fit(columns.texts[:, self._texts])
        self._scaler = StandardScaler().fit(self._raw(columns))
        self.notes = tuple(self._told(columns))
        return self

    def transform(self, columns: Columns) -> np.ndarray:
        """Return the features of rows, (N, width) float32."""
        _require_finite(columns)
        scaled = self._scaler.transform(self._raw(columns))
        return scaled.clip(-FAR, FAR).astype(np.float32)

    def _raw(self, columns: Columns) -> np.ndarray:
        numbers, texts = columns.numbers[:, self._numbers], columns.texts[:, self._texts]
        blocks = [self._imputer.transform(numbers)] if numbers.shape[1] else []
        blocks += [self._one_hot.transform(texts)] if texts.shape[1] else []
        if not blocks:
            raise DataError(
                f"no column can be learnt from: {_listed(self.kinds)} are empty, constant, or texts that hardly "
                "repeat; turn texts into columns of numbers first (embeddings, word counts)"
            )
        return np.hstack(blocks)

    def _told(self, columns: Columns) -> list[str]:
        """Say what becomes of each column."""
        numbers = _chosen(columns.number_names, self._numbers)
        texts = _chosen(columns.text_names, self._texts)
        left_out = _chosen(columns.number_names, ~self._numbers) + _chosen(columns.text_names, ~self._texts)
        gaps = np.isnan(columns.numbers[:, self._numbers]).sum(0)
        notes = []
        if numbers:
            notes.append(f"columns of numbers, standardised: {_listed(numbers)}")
        if gaps.any():
            counts = [f"{name} ({count})" for name, count in zip(numbers, gaps) if count]
            notes.append(
                f"gaps filled with the training median, and marked in a feature of their own: {_listed(counts)}"
            )
        if texts:
            widths = _widths(self._one_hot)
            notes.append(
                "columns of categories, each one feature for each: "
                + _listed([f"{name} ({width})" for name, width in zip(texts, widths)])
            )
            together = [name for name, rare in zip(texts, self._one_hot.infrequent_categories_) if rare is not None]
            if together:
                notes.append(f"categories of fewer than 1 % of the rows taken together: {_listed(together)}")
            counts = (columns.texts[:, self._texts] == MISSING).sum(0)
            if counts.any():
                named = [f"{name} ({count})" for name, count in zip(texts, counts) if count]
                notes.append(f"gaps that are a category of their own: {_listed(named)}")
        if left_out:
            notes.append(f"left out, for they are empty, constant or hardly repeat a text: {_listed(left_out)}")
        notes.append(f"{self._scaler.n_features_in_} features in all, learnt from {len(columns.numbers)} training rows")
        return notes


def encode(table: Any, encoder: TableEncoder) -> np.ndarray:
    """Return the features of a data frame or array, its columns read as those that the encoder was fitted on."""
    return encoder.transform(as_columns(table, encoder.kinds))


def _widths(one_hot: Any) -> list[int]:
    """Return how many columns the one-hot encoder makes of each."""
    rare = one_hot.infrequent_categories_
    return [len(every) - (0 if few is None else len(few) - 1) for every, few in zip(one_hot.categories_, rare)]


def _require_finite(columns: Columns) -> None:
    infinite = np.isinf(columns.numbers).any(0)
    if infinite.any():
        names = _listed(_chosen(columns.number_names, infinite))
        raise DataError(f"got infinite numbers (inf) in {names}; replace them, by NaN if they are not known")


def _chosen(names: Sequence[str], which: np.ndarray) -> list[str]:
    return [name for name, chosen in zip(names, which) if chosen]


def _listed(names: Sequence[str] | dict[str, str]) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
