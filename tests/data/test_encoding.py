"""Tables of numbers and texts with gaps as numbers: against pandas by hand, in any library's frames, on any values."""

from __future__ import annotations

import datetime as dt
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.data.columns import MISSING, as_columns
from autorobustloss.data.encoding import FAR, TableEncoder, encode
from autorobustloss.errors import DataError, MissingDependencyError

pd = pytest.importorskip("pandas")

DAY = dt.datetime(2026, 1, 1)
VALUES = {
    "whole": [1, 2, None, 4],
    "real": [0.5, None, 2.0, 3.0],
    "truth": [True, False, None, True],
    "day": [DAY, None, DAY + dt.timedelta(1), DAY],
    "long": [dt.timedelta(1), None, dt.timedelta(2), dt.timedelta(3)],
    "text": ["a", None, "", "b"],
}


def frames():
    """Return the same table of values in several libraries."""
    found = {"pandas": pd.DataFrame(VALUES), "pandas, nullable": pd.DataFrame(VALUES).convert_dtypes()}
    for name, build in (("polars", lambda m: m.DataFrame(VALUES)), ("pyarrow", lambda m: m.table(VALUES))):
        try:
            found[name] = build(__import__(name))
        except ImportError:
            continue
    return found


@pytest.mark.parametrize("library", ["pandas", "pandas, nullable", "polars", "pyarrow"])
def test_one_table_from_every_library(library):
    if library not in frames():
        pytest.skip(f"needs {library}")
    columns = as_columns(frames()[library])
    assert columns.kinds == {**dict.fromkeys(("whole", "real", "truth", "day", "long"), "number"), "text": "text"}
    day = 24 * 3600 * 1000.0
    noon = (DAY - dt.datetime(1970, 1, 1)).total_seconds() * 1000
    expected = [
        [1, 0.5, 1, noon, day],
        [2, np.nan, 0, np.nan, np.nan],
        [np.nan, 2, np.nan, noon + day, 2 * day],
        [4, 3, 1, noon, 3 * day],
    ]
    np.testing.assert_array_equal(columns.numbers, expected)
    assert columns.texts[:, 0].tolist() == ["a", MISSING, MISSING, "b"]


def by_hand(train, rows):
    """Return the features that the documentation promises, by pandas alone."""
    numbers, texts = train.select_dtypes("number").columns, train.select_dtypes(exclude="number").columns

    def raw(frame):
        filled = frame[numbers].fillna(train[numbers].median())
        gaps = frame[[c for c in numbers if train[c].isna().any()]].isna().astype(float)
        one_hot = []
        for c in texts:
            share = train[c].fillna(MISSING).value_counts(normalize=True)
            common = sorted(share.index[share >= 0.01])
            values = frame[c].fillna(MISSING)
            one_hot += [(values == v).astype(float) for v in common]
            if len(common) < len(share):
                one_hot.append((~values.isin(common)).astype(float))
        return np.column_stack([filled, gaps, *one_hot]).astype(float)

    x = raw(train)
    std = x.std(0)
    return ((raw(rows) - x.mean(0)) / np.where(std > 0, std, 1)).clip(-FAR, FAR)


def test_features_are_what_pandas_gives_by_hand():
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(5, 3, 400), "age": random.integers(0, 90, 400).astype(float)})
    frame["colour"] = random.choice(["red", "green", "blue"], 400)
    frame["street"] = [f"street {i}" if i % 40 == 0 else "Main" for i in range(400)]  # ten that occur once
    frame.loc[::7, "size"] = np.nan
    frame.loc[::5, "colour"] = None
    train, rest = frame[:300].reset_index(drop=True), frame[300:].reset_index(drop=True)
    rest.loc[0, "street"] = "never seen"
    encoder = TableEncoder().fit(as_columns(train))
    for rows in (train, rest):
        np.testing.assert_allclose(encode(rows, encoder), by_hand(train, rows), atol=1e-5)
    said = " ".join(encoder.notes)
    assert f"size ({train['size'].isna().sum()})" in said
    assert f"colour ({train['colour'].isna().sum()})" in said
    assert "taken together: street" in said
    assert "learnt from 300 training rows" in said


cell = st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-9, 9), st.booleans(), st.text("abc", max_size=2))


@given(st.lists(st.tuples(cell, cell, cell), min_size=3, max_size=30), st.lists(st.tuples(cell, cell), max_size=5))
def test_features_of_any_values_are_finite_and_those_of_training_are_standardised(rows, later):
    table = np.array([*rows, (None,) * 3], dtype=object)[:-1]
    columns, encoder = as_columns(table), TableEncoder()
    if np.isnan(columns.numbers).all() and all(len(set(texts)) < 2 for texts in columns.texts.T):
        with pytest.raises(DataError, match="no column can be learnt from"):
            encoder.fit(columns)
        return
    encoder.fit(columns)
    x = encode(table, encoder)
    assert np.isfinite(x).all()
    assert np.abs(x).max() <= FAR
    spread = x.std(0, dtype=np.float64)
    within = (np.abs(x) < FAR).all(0)
    assert np.abs(x.mean(0, dtype=np.float64))[within] == pytest.approx(0, abs=1e-3)
    assert np.isclose(spread[within], 1, atol=1e-2).sum() + (spread[within] < 1e-2).sum() == within.sum()
    gaps = np.array([[None] * 3], dtype=object)
    assert np.isfinite(encode(gaps, encoder)).all()


@pytest.mark.parametrize(
    ("table", "kinds"),
    [
        (np.array([["1", "a"], ["2.5", "b"]]), ["number", "text"]),
        (np.array([[1, "x"], [None, "y"]], dtype=object), ["number", "text"]),
        (np.array([[True, 2], [False, 3]], dtype=object), ["number", "number"]),
        (np.array([[1, 2], [3, 4]]), ["number", "number"]),
    ],
)
def test_kinds_of_columns_of_arrays(table, kinds):
    assert list(as_columns(table).kinds.values()) == kinds


def test_a_number_is_the_same_text_whether_or_not_there_are_gaps():
    mixed = pd.DataFrame({"code": pd.Series([3, "a", 4], dtype=object)})
    encoder = TableEncoder().fit(as_columns(mixed))
    for later in (pd.DataFrame({"code": [3, 3, 4]}), pd.DataFrame({"code": [3.0, 3.0, 4.0]})):
        np.testing.assert_array_equal(encode(later, encoder)[[0, 2]], encode(mixed, encoder)[[0, 2]])


def test_errors_say_what_to_do():
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0], "name": ["a", "b", "a"]})
    encoder = TableEncoder().fit(as_columns(frame))
    with pytest.raises(DataError, match=r"column 'age'.*'old'.*expected numbers, as in the training rows"):
        encode(frame.assign(age=["old", "1", "2"]), encoder)
    with pytest.raises(DataError, match="expected name among them"):
        encode(frame[["age"]], encoder)
    with pytest.raises(DataError, match=r"infinite numbers \(inf\) in age; replace them"):
        TableEncoder().fit(as_columns(frame.assign(age=[1.0, np.inf, 2.0])))
    with pytest.raises(DataError, match=r"no column can be learnt from: id .*embeddings"):
        TableEncoder().fit(as_columns(pd.DataFrame({"id": [f"row {i}" for i in range(200)]})))
    with pytest.raises(DataError, match="each column one name"):
        as_columns(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_lists_and_lazy_frames_are_refused():
    polars = pytest.importorskip("polars")
    with pytest.raises(DataError, match=r"column 'v': got values of type List.*spread it"):
        as_columns(polars.DataFrame({"v": [[1, 2], [3]]}))
    with pytest.raises(DataError, match="collect"):
        as_columns(polars.LazyFrame({"v": [1]}))


def test_without_narwhals(monkeypatch):
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'autorobustloss\[frames\]'"):
        as_columns(pd.DataFrame({"a": [1]}))
    assert as_columns(np.ones((2, 1))).number_names == ("x0",)
