"""What float32 cannot hold: large offsets, values beyond its range, parts in different units."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from autorobustloss.data import Dataset, DataSpec, load_npz, make_splits, save_npz
from autorobustloss.errors import ARLError, DataError, DataWarning

ROWS = 200
RNG = np.random.default_rng(0)
NORMAL = RNG.normal(size=ROWS)
Y = np.arange(ROWS) % 2


def built(x: np.ndarray, x_test: np.ndarray | None = None, **more: Any) -> Dataset:
    test = x if x_test is None else x_test
    return Dataset.from_arrays(x, Y, test, np.arange(len(test)) % 2, **more, name="own")


def standardised(x: np.ndarray, x_test: np.ndarray | None = None) -> Any:
    return make_splits(built(x, x_test), DataSpec("own", valid_size=40))


OFFSETS = {
    "seconds": 1.76e9 + 600 * NORMAL,
    "negative": -1.76e9 + 600 * NORMAL,
    "minutes apart": 1.76e9 + 30 * NORMAL,
    "days apart": 1.76e9 + 2e4 * NORMAL,
    "milliseconds": 1.76e12 + 6e5 * NORMAL,
    "nanoseconds": (1.76e18 + 6e11 * NORMAL).astype(np.int64),
    "nanoseconds, close": np.int64(1_760_000_000_000_000_000) + (1000 * NORMAL).astype(np.int64),
    "floats of nanoseconds": 1.76e18 + 6e11 * NORMAL,
    "unsigned": np.uint64(2**61) + np.arange(ROWS).astype(np.uint64),
    "the largest unsigned": np.uint64(2**64 - 10**6) + 1000 * np.arange(ROWS).astype(np.uint64),
    "the least signed": np.int64(-(2**63)) + np.arange(ROWS),
    "integers": 1_760_000_000 + np.arange(ROWS),
    "beyond 2^53": 1e15 + np.round(600 * NORMAL),
    "long double": (1.76e9 + 600 * NORMAL).astype(np.longdouble),
    "sums of squares overflow": 1e25 * NORMAL,
    "squares underflow": 1e-27 * NORMAL,
    "offset and small": 1e-12 + 1e-18 * NORMAL,
}


@pytest.mark.parametrize("column", OFFSETS.values(), ids=OFFSETS)
def test_a_column_that_float32_cannot_hold_is_standardised(column: np.ndarray) -> None:
    x = np.stack([np.abs(100 * NORMAL).astype(column.dtype), column], axis=1)
    splits = standardised(x)
    got = splits.x_train[:, -1].double()
    assert got.mean() == pytest.approx(0, abs=1e-5)
    assert got.std(correction=0) == pytest.approx(1, abs=1e-5)
    # No two values fall into one that were apart, and the order stays.
    exact = np.sort(x[:, -1])
    ours = torch.cat([splits.x_train[:, -1], splits.x_valid[:, -1]]).sort().values
    assert len(ours.unique()) >= 0.9 * len(np.unique(exact))
    ranks = (exact - exact[0]).astype(np.float64)
    assert np.corrcoef(ranks, ours)[0, 1] > 1 - 1e-4


@pytest.mark.parametrize("share", [0.005, 0.02])
@pytest.mark.parametrize("missing", [0, -1, 4e9])
def test_values_far_away_make_an_offset_no_less(share: float, missing: float) -> None:
    column = 1.76e9 + 600 * NORMAL
    column[: int(share * ROWS)] = missing
    got = standardised(np.stack([NORMAL, column], axis=1)).x_train[:, 1]
    assert got.std() == pytest.approx(1, abs=1e-2)
    assert len(got.unique()) > 0.5 * len(got)


def test_few_values_at_an_offset() -> None:
    column = 1.76e9 + 600 * (np.arange(ROWS) % 10 == 0)
    got = standardised(np.stack([NORMAL, column], axis=1)).x_train[:, 1]
    assert got.std(correction=0) == pytest.approx(1, abs=1e-4)
    assert len(got.unique()) == 2


def test_float32_that_was_rounded_already_is_standardised_too() -> None:
    x = np.stack([NORMAL, 1.76e9 + 600 * NORMAL], axis=1).astype(np.float32)
    assert standardised(x).x_train[:, 1].std(correction=0) == pytest.approx(1, abs=1e-4)


def test_all_parts_are_shifted_alike(tmp_path: Path) -> None:
    x = np.stack([NORMAL, 1.76e9 + 600 * NORMAL], axis=1)
    later = x[:50] + np.array([0, 3600])
    data = built(x, later, x_valid=x[:20], y_valid=Y[:20])
    splits = make_splits(data, DataSpec("own"))
    torch.testing.assert_close(
        splits.x_test[:, 1].mean().double() * x[:, 1].std(),
        torch.tensor(later[:, 1].mean() - x[:, 1].mean()),
        rtol=1e-4,
        atol=0,
    )
    save_npz(data, tmp_path / "copy.npz")
    assert load_npz(tmp_path / "copy.npz").fingerprint == data.fingerprint


def test_images_with_a_large_offset() -> None:
    x = 1e7 + RNG.normal(size=(ROWS, 5, 5, 3)) * [1, 10, 1e6]
    splits = standardised(x)
    torch.testing.assert_close(splits.x_train.std((0, 2, 3)), torch.ones(3), rtol=1e-3, atol=0)
    assert len(splits.x_train[:, 0].unique()) > 3000


def test_a_constant_stays_one_also_where_it_was_computed() -> None:
    jitter = np.where(np.arange(ROWS) % 3, 0.3, 0.1 + 0.2)
    columns = [np.full(ROWS, 1.76e9), jitter, 1e9 * jitter, np.zeros(ROWS), np.full(ROWS, 1e30), NORMAL]
    splits = standardised(np.stack(columns, axis=1))
    assert splits.x_train[:, :5].abs().max() == 0
    assert splits.x_test.isfinite().all()
    assert standardised(np.full((ROWS, 1, 3), 946297184)).x_train.abs().max() == 0


@given(
    hnp.arrays(np.float64, (12, 3), elements=st.floats(-1e6, 1e6, width=32)),
    st.floats(1e-3, 1e3),
)
@settings(max_examples=60)
def test_numbers_that_fit_stay_what_they_are(noise: np.ndarray, size: float) -> None:
    """Fingerprints of sound data, and so the keys of stored jobs, hang on this."""
    x = size * (noise + np.linspace(-1e6, 1e6, 12)[:, None])
    data = Dataset.from_arrays(x, np.arange(12) % 2, x, np.arange(12) % 2, name="own")
    assert np.array_equal(data.x_train.numpy(), x.astype(np.float32))


@pytest.mark.parametrize("part", ["x_train", "x_test", "x_valid"])
@pytest.mark.parametrize("value", [1e39, -1e39, 1e300, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("shape", [(60, 4), (60, 4, 4), (60, 3, 4, 4)])
def test_values_beyond_float32_are_refused(part: str, value: float, shape: tuple) -> None:
    arrays = {key: RNG.normal(size=shape) for key in ("x_train", "x_test", "x_valid")}
    arrays[part][(3, 1, *(0 for _ in shape[2:]))] = value
    y = np.arange(60) % 3
    with pytest.raises(DataError, match=rf"own': {part} has NaN, .* in 1 samples, first in sample 3"):
        Dataset.from_arrays(**arrays, y_train=y, y_test=y, y_valid=y, name="own")


def test_what_standardising_makes_infinite_is_refused() -> None:
    x_test = 1e-2 * RNG.normal(size=(50, 2))
    x_test[7, 1] = 3e38
    data = built(1e-2 * RNG.normal(size=(ROWS, 2)), x_test)
    with pytest.raises(DataError, match="x_test is no longer finite"):
        make_splits(data, DataSpec("own"))


@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int64, np.uint64, np.uint8, np.bool_, ">f8"]),
        hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=4).map(lambda s: (12, *s[1:])),
    )
)
@settings(max_examples=200)
def test_any_numbers_are_standardised_or_refused(x: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            data = Dataset.from_arrays(x, np.arange(12) % 2, x[::-1], np.arange(12) % 2, name="own")
            splits = make_splits(data, DataSpec("own", valid_size=2))
        except ARLError:
            return
    assert all(bool(part.isfinite().all()) for part in (splits.x_train, splits.x_valid, splits.x_test))
    assert splits.x_train.abs().max() <= 60  # standardised, or constant


class TestUnits:
    def parts(self, kind: str) -> np.ndarray:
        return {
            "images": RNG.integers(0, 256, (ROWS, 8, 8)).astype(np.uint8),
            "dark images": (RNG.integers(0, 256, (ROWS, 8, 8, 3)) * (RNG.random((ROWS, 8, 8, 3)) < 0.1)).astype(int),
            "table": np.exp(RNG.normal(size=(ROWS, 5))),
            "heavy tails": np.exp(4 * RNG.normal(size=(ROWS, 5))),
        }[kind]

    @pytest.mark.parametrize("kind", ["images", "dark images", "table", "heavy tails"])
    @pytest.mark.parametrize("factor", [255.0, 1 / 255, 100.0, 65535.0])
    @pytest.mark.parametrize("part", ["x_test", "x_valid"])
    def test_a_hundredfold_difference_is_said(self, kind: str, factor: float, part: str) -> None:
        x = self.parts(kind)
        other = {"x_test": x, "x_valid": x, part: x * factor}
        with pytest.warns(DataWarning, match=f"own': {part} and x_train are in different ranges"):
            Dataset.from_arrays(x, Y, y_test=Y, y_valid=Y, **other, name="own")

    def test_one_column_is_named(self) -> None:
        x = self.parts("table")
        with pytest.warns(DataWarning, match=r"in 1 of 5 columns.* in number 3;"):
            built(x, x * [1, 1, 1, 1000, 1])

    @pytest.mark.parametrize("seed", range(5))
    def test_no_false_alarm(self, seed: int) -> None:
        """Rare features, heavy tails, small parts, outliers, other brightness, and drift are normal."""
        rng = np.random.default_rng(seed)
        drawn = [
            lambda n: rng.normal(size=(n, 4)),
            lambda n: np.exp(4 * rng.normal(size=(n, 4))),
            lambda n: rng.standard_cauchy(size=(n, 4)),
            lambda n: (rng.random((n, 50)) < 0.01) * rng.lognormal(0, 3, (n, 50)),
            lambda n: rng.poisson(0.05, (n, 50)),
            lambda n: np.eye(50)[rng.integers(0, 50, n)],
            lambda n: rng.integers(0, 256, (n, 6, 6)) * (rng.random((n, 1, 1)) < 0.5),
            lambda n: np.full((n, 2), 7.0),
        ]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for draw in drawn:
                for rows in (6, 40, 400):
                    built(draw(ROWS), draw(rows))
            x = self.parts("table")
            built(x, x[:40] * 20)  # a darker room, another year
            spoilt = x.copy()
            spoilt[:3] *= 1e6
            built(spoilt, x)
            built(1.76e9 + 600 * x, 1.76e9 + 3000 + 600 * x[:30])

    def test_bundled_data_are_silent(self) -> None:
        from autorobustloss.data import load_dataset

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for name in ("digits", "iris", "wine", "breast_cancer"):
                load_dataset(name)

    @pytest.mark.parametrize("part", ["test", "valid"])
    @pytest.mark.parametrize(
        ("of_train", "of_part"),
        [
            (1.76e9 + 600 * NORMAL, 1.76e9 + 2.6e6 + 600 * NORMAL),
            (np.full(ROWS, 1.76e9), 1.76e9 + 2.6e6 + 600 * NORMAL),
            (NORMAL, 50 + 10 * NORMAL),
            (NORMAL, 40 + NORMAL),
        ],
        ids=["a month later", "constant in x_train", "standardised and raw", "shifted"],
    )
    def test_far_away(self, part: str, of_train: np.ndarray, of_part: np.ndarray) -> None:
        x, other = (np.stack([NORMAL, column], axis=1) for column in (of_train, of_part))
        for rows in (ROWS, 5):
            parts: dict[str, Any] = {"x_test": x, "x_valid": x} | {f"x_{part}": other[:rows]}
            y = {key.replace("x", "y"): np.arange(len(values)) % 2 for key, values in parts.items()}
            with pytest.warns(DataWarning, match=f"x_{part} and x_train .* in 1 of 2 columns.* in number 1;"):
                Dataset.from_arrays(x, Y, **parts, **y, name="own")

    def test_a_constant_is_as_far_as_it_differs(self) -> None:
        x = np.stack([NORMAL, np.full(ROWS, 2020.0), np.full(ROWS, 0.3)], axis=1)
        x_test = np.stack([NORMAL, np.full(ROWS, 2024.0), np.full(ROWS, 0.1 + 0.2)], axis=1)
        x[0, 2] = 0.1 + 0.2
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            built(x, x_test)
