"""A table of anybody's making as columns of numbers and columns of texts, gaps in both: what `TableEncoder` takes."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from autorobustloss.errors import DataError, MissingDependencyError
from autorobustloss.reading import reading

MISSING = "(missing)"
"""The category of a text that is not there."""
ROW_NUMBERS = ("", "Unnamed: 0", "__index_level_0__")
"""Columns that pandas writes beside the data: the number of the row, which may tell the label."""
ONE_NAME = "give each column one name of its own"
NUMBER, TEXT = "number", "text"


@dataclass(frozen=True, eq=False)
class Columns:
    """Numbers (N, A) float64 with NaN for a gap, texts (N, B) with `MISSING` for one, and the names of both."""

    numbers: np.ndarray
    texts: np.ndarray
    number_names: tuple[str, ...]
    text_names: tuple[str, ...]

    @property
    def kinds(self) -> dict[str, str]:
        """What each column is, by name: "number" or "text"."""
        return {**dict.fromkeys(self.number_names, NUMBER), **dict.fromkeys(self.text_names, TEXT)}

    def __getitem__(self, rows: np.ndarray) -> Columns:
        """Return some of the rows."""
        return replace(self, numbers=self.numbers[rows], texts=self.texts[rows])


def as_frame(table: Any) -> Any:
    """Return a narwhals data frame of a pandas, polars, Arrow or other data frame, None for what is no data frame."""
    if not hasattr(type(table), "columns"):
        return None
    try:
        import narwhals as nw
    except ImportError:
        raise MissingDependencyError("data frames need narwhals; pip install 'autorobustloss[frames]'") from None
    with reading("data frame", "cannot be read", ONE_NAME):
        frame = nw.from_native(table, pass_through=True)
    if isinstance(frame, nw.LazyFrame):
        raise DataError(f"got a lazy {type(table).__name__}, expected a data frame in memory; call its collect() first")
    if not isinstance(frame, nw.DataFrame):
        return None
    if twice := {name for name in frame.columns if list(frame.columns).count(name) > 1}:
        raise DataError(f"data frame: got columns {', '.join(map(str, twice))} twice; {ONE_NAME}")
    return frame


def as_columns(table: Any, kinds: Mapping[str, str] | None = None) -> Columns:
    """Return the columns of a data frame (pandas, polars, Arrow) or of an array (N, F), whose columns are x0, x1, ….

    Numbers, truth values, dates and times are numbers; strings, categories and mixed values are texts. In an array of
    objects the values decide, column by column; in one of strings, whether all of them are numbers. Row numbers that
    pandas wrote as a column are left out.
    kinds: those of the columns that the encoder was fitted on, which these then are read as.
    Raises DataError for columns of lists, and for texts where numbers are expected.

    >>> columns = as_columns(np.array([[1, "a"], [2.5, None]], dtype=object))
    >>> columns.kinds, columns.texts.ravel().tolist()
    ({'x0': 'number', 'x1': 'text'}, ['a', '(missing)'])
    """
    frame = as_frame(table)
    if frame is not None:
        names = [str(name) for name in frame.columns]
        if kinds is not None and (absent := [name for name in kinds if name not in names]):
            raise DataError(f"got columns {', '.join(names):.300}, expected {', '.join(absent):.300} among them, too")
        wanted = [i for i, name in enumerate(names) if (name not in ROW_NUMBERS if kinds is None else name in kinds)]
        return _gathered({names[i]: _of_series(frame[:, i], names[i]) for i in wanted}, kinds, len(frame))
    x = np.asarray(table)
    if x.ndim != 2:
        raise DataError(f"got an array of shape {x.shape}, expected a table (N, F)")
    names = [f"x{i}" for i in range(x.shape[1])]
    if x.dtype.kind in "buif" and TEXT not in (kinds or {}).values():
        return Columns(x.astype(np.float64), np.empty((len(x), 0), dtype=object), tuple(names), ())
    return _gathered({name: _of_array(x[:, i]) for i, name in enumerate(names)}, kinds, len(x))


def _gathered(columns: Mapping[str, np.ndarray], kinds: Mapping[str, str] | None, rows: int) -> Columns:
    """Put columns, of floats or of objects, side by side; as they were in training, where that is known."""
    if kinds is None:
        kinds = {name: TEXT if values.dtype == object else NUMBER for name, values in columns.items()}
    found = {name: _read_as(kinds[name], values, name) for name, values in columns.items()}
    names = {kind: tuple(name for name in kinds if kinds[name] == kind) for kind in (NUMBER, TEXT)}
    stacked = {
        kind: np.column_stack([found[name] for name in names[kind]]) if names[kind] else np.empty((rows, 0), dtype)
        for kind, dtype in ((NUMBER, np.float64), (TEXT, object))
    }
    return Columns(stacked[NUMBER], stacked[TEXT], names[NUMBER], names[TEXT])


def _read_as(kind: str, values: np.ndarray, name: str) -> np.ndarray:
    if kind == TEXT and values.dtype != object:
        return _texts(values)
    if kind == NUMBER and values.dtype == object:
        try:
            return np.where(values == MISSING, np.nan, values).astype(np.float64)
        except ValueError as error:
            raise DataError(f"column {name!r}: {error}; expected numbers, as in the training rows") from None
    return values


def _of_series(series: Any, name: str) -> np.ndarray:
    """Return a column of a data frame as floats, or as texts (an array of objects)."""
    import narwhals as nw

    kind = series.dtype
    if kind.is_numeric() or kind == nw.Boolean:
        return _floats(series)
    if kind in (nw.Date, nw.Datetime):
        return _floats(series.dt.timestamp("ms"))
    if kind == nw.Duration:
        return _floats(series.dt.total_milliseconds())
    if kind in (nw.String, nw.Categorical, nw.Enum):
        return _texts((series if kind == nw.String else series.cast(nw.String)).to_list())
    if isinstance(kind, (nw.List, nw.Array, nw.Struct)):
        raise DataError(
            f"column {name!r}: got values of type {kind}, expected one number or text in each row; "
            "spread it over several columns, or drop it"
        )
    return _of_array(np.array([*series.to_list(), None], dtype=object)[:-1])  # None keeps it an array of objects


def _floats(series: Any) -> np.ndarray:
    import narwhals as nw

    return np.array(series.cast(nw.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)


def _of_array(values: np.ndarray) -> np.ndarray:
    """Return a column of an array as floats where all that is there is numbers, else as texts."""
    if values.dtype.kind in "buif":
        return values.astype(np.float64)
    if values.dtype.kind in "US":  # an array of one type for all columns: which of them were numbers, only they tell
        try:
            return np.where(np.isin(values, ("", "nan", "None")), "nan", values).astype(np.float64)
        except ValueError:
            return _texts(values.astype(str).astype(object))
    there = [value for value in values if not is_absent(value)]
    if all(isinstance(value, (numbers.Real, np.bool_)) for value in there):
        return np.array([np.nan if is_absent(value) else value for value in values], dtype=np.float64)
    return _texts(values)


def _texts(values: Iterable[Any]) -> np.ndarray:
    found = [MISSING if is_absent(value) else _text(value) for value in values]
    return np.array([*found, None], dtype=object)[:-1]


def _text(value: Any) -> str:
    """Return a value as a text, the same for 3 and 3.0, which a gap in a column of whole numbers makes of them."""
    return str(int(value)) if isinstance(value, (float, np.floating)) and float(value).is_integer() else str(value)


def is_absent(value: Any) -> bool:
    """Whether a value stands for none: None, an empty text, NaN, or the NA and NaT of pandas."""
    if isinstance(value, str):
        return value in ("", MISSING)
    return value is None or str(value) in ("nan", "<NA>", "NaT")
