"""From data frames and the name of their label column to the arrays of a data set, and sentences that say how."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from autorobustloss.data.columns import ROW_NUMBERS, Columns, as_columns, as_frame, is_absent
from autorobustloss.data.encoding import TableEncoder
from autorobustloss.data.sampling import test_and_train
from autorobustloss.errors import ConfigError, DataError


def table_arrays(
    parts: Mapping[str, Any], target: str | None, test_split: float, source: str, class_names: Sequence[str] = ()
) -> dict[str, Any]:
    """Return what `Dataset.from_arrays` takes, of the data frames of "train" and, where there are any, "test", "valid".

    Without a test part, `test_split` of the training rows, stratified by label, become it. Rows without a label are
    left out. Median, categories and scale are those of the training rows that are left. class_names: of labels that
    are numbers of classes, negative for none.
    Raises ConfigError for a target that is no column, DataError for labels that are no classes.

    >>> import pandas as pd
    >>> frame = pd.DataFrame({"size": [1.0, 2.0, None, 9.0] * 5, "kind": ["a", "b", "a", "b"] * 5})
    >>> arrays = table_arrays({"train": frame}, "kind", test_split=0.2, source="frame")
    >>> arrays["x_train"].shape, arrays["y_test"]
    ((16, 2), array(['a', 'b', 'a', 'b'], dtype='<U1'))
    """
    notes: list[str] = []
    columns: dict[str, Columns] = {}
    labels: dict[str, np.ndarray] = {}
    rows: dict[str, np.ndarray] = {}
    for part, table in parts.items():
        with _naming(source):
            frame = as_frame(table)
        if frame is None:
            raise DataError(f"{source}: got a {type(table).__name__}, expected a data frame (pandas, polars, Arrow)")
        names = [str(name) for name in frame.columns]
        place = names.index(_target(target, names, source))
        values = _labels(frame[:, place].to_list(), source, str(target), bool(class_names))
        kept = [i for i in range(len(names)) if i != place]
        there = np.flatnonzero([value is not None for value in values])
        if not kept or not len(there):
            raise DataError(f"{source}: got no {'column beside the target' if not kept else 'row with a label'}")
        kinds = columns["train"].kinds if "train" in columns else None
        with _naming(source):
            columns[part] = as_columns(frame[:, kept].to_native(), kinds)[there]
        labels[part], rows[part] = np.array([values[i] for i in there]), there
        if len(there) < len(values):
            notes.append(f"{len(values) - len(there)} rows of the {part} part have no label, and are left out")
        if part == "train" and set(names) & set(ROW_NUMBERS):
            notes.append("the column of row numbers that pandas wrote is left out")
    if "test" not in parts:
        test, train = test_and_train(np.unique(labels["train"], return_inverse=True)[1], test_split, 0, source)
        for each in (columns, labels, rows):
            all_rows: Any = each["train"]
            each |= {"test": all_rows[test], "train": all_rows[train]}
        notes.append(f"{len(test)} rows, stratified by {target!r}, are the test part ({test_split:g})")
    with _naming(source):
        encoder = TableEncoder().fit(columns["train"])
        x = {f"x_{part}": encoder.transform(columns[part]) for part in columns}
    classes, numbers = np.unique(labels["train"], return_inverse=True)
    notes += [f"target {target!r}: {_counted(classes, numbers, class_names)}", *encoder.notes]
    named = {"classes": [class_names[c] for c in classes]} if len(class_names) else {}
    y = {f"y_{part}": labels[part] for part in labels}
    return {**x, **y, **named, "rows": rows, "notes": tuple(notes)}


@contextmanager
def _naming(source: str) -> Iterator[None]:
    """Let what is wrong with a table begin with where the table comes from."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{source}: {error}") from None


def _target(target: str | None, names: Sequence[str], source: str) -> str:
    """Return the name of the label column, or say what there is to choose from."""
    if target in names:
        return str(target)
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    if target is None:
        raise ConfigError(
            f"{source}: got a table and no column of labels; name it with --target (target=…), such as "
            f"--target {names[-1]}. It has {listed}"
        )
    near = difflib.get_close_matches(target, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"{source}: no column {target!r}; {hint}It has {listed}")


def _labels(values: Sequence[Any], source: str, target: str, numbered: bool) -> list[Any]:
    """Return labels as whole numbers, or else as texts, None where there is none; DataError for measurements."""
    found = [None if is_absent(value) else value for value in values]
    there = [value for value in found if value is not None]
    number = all(isinstance(value, (int, float, np.integer, np.floating)) for value in there)
    whole = number and all(float(value).is_integer() for value in there)
    distinct = len(set(map(str, there)))
    if (number and not whole) or distinct > max(len(there) // 2, 2):
        kind = "numbers that are no whole ones" if number and not whole else "texts or numbers"
        raise DataError(
            f"{source}: the target {target!r} holds {distinct} different {kind} in {len(there)} rows, expected "
            "classes; name another column, or cut it into classes first (pandas.cut)"
        )
    if not whole:
        return [None if value is None else str(value) for value in found]
    numbers = [None if value is None else int(value) for value in found]
    return [None if numbered and value is not None and value < 0 else value for value in numbers]


def _counted(classes: np.ndarray, numbers: np.ndarray, names: Sequence[str]) -> str:
    counts = np.bincount(numbers)
    shown = [f"{names[c] if len(names) else c} ({n})" for c, n in zip(classes[:10], counts)]
    return ", ".join(shown) + (f" and {len(classes) - 10} more classes" if len(classes) > 10 else "")
