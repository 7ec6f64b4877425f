"""The splits of a job: disjoint, stratified, seeded separately, normalised by the training split, fast."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autorobustloss.data import (
    UNKNOWN,
    Dataset,
    DataSpec,
    Splits,
    known_labels,
    load_dataset,
    make_splits,
    truth_known,
)
from autorobustloss.data.sampling import apportion, stratified_draw
from autorobustloss.errors import ConfigError, DataError
from autorobustloss.seeding import numpy_generator


def tagged(counts: tuple[int, ...] = (300, 200, 100, 60), test: int = 40, **extra: object) -> Dataset:
    """A table whose first feature is the sample's number, so that samples can be told apart in the splits."""
    y = np.repeat(np.arange(len(counts)), counts)
    y = y[np.random.default_rng(0).permutation(len(y))]
    total = len(y) + test
    x = np.stack([np.arange(total), np.full(total, 7.0), np.random.default_rng(1).normal(size=total)], axis=1)
    y_test = np.arange(test) % len(counts)
    return Dataset.from_arrays(x[: len(y)], y, x[len(y) :], y_test, **extra, name="tagged")  # type: ignore[arg-type]


@cache
def digits() -> Dataset:
    return load_dataset("digits")


def numbers(data: Dataset, splits: Splits, part: str) -> list[int]:
    """The sample numbers in train or valid, from the first feature; for splits that use all training samples."""
    pool = torch.cat([splits.x_train[:, 0], splits.x_valid[:, 0]]).double()
    assert len(pool) == len(data.x_train)
    # Undo the normalisation: it is affine and increasing, and the sorted pool is 0, 1, 2, …
    step = (pool.max() - pool.min()) / (len(pool) - 1)
    return ((getattr(splits, f"x_{part}")[:, 0].double() - pool.min()) / step).round().int().tolist()


def test_train_and_valid_are_disjoint_and_complete() -> None:
    data = tagged()
    splits = make_splits(data, DataSpec("tagged"), "sym:0.3")
    train, valid = numbers(data, splits, "train"), numbers(data, splits, "valid")
    assert len(train) == 594
    assert len(valid) == 66
    assert sorted(train + valid) == list(range(660))
    assert torch.equal(splits.y_train_clean, data.y_train[train])
    assert torch.equal(splits.y_valid_clean, data.y_train[valid])
    assert len(splits.y_test) == 40
    assert torch.equal(splits.y_test, data.y_test)


@given(
    st.lists(st.integers(1, 60), min_size=2, max_size=8),
    st.integers(0, 2**31),
    st.floats(0, 1),
    st.floats(0, 1),
)
@settings(max_examples=60, deadline=None)
def test_draws_are_disjoint_and_stratified(counts: list[int], seed: int, a: float, b: float) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    total = len(labels)
    first = int(a * total)
    second = int(b * (total - first))
    parts = stratified_draw(labels, (first, second), numpy_generator("test", seed))
    assert [len(part) for part in parts] == [first, second]
    assert len(set(np.concatenate(parts).tolist())) == first + second
    got = np.bincount(labels[parts[0]], minlength=len(counts))
    assert (np.abs(got - np.array(counts) * first / total) < 1).all()
    rest = np.array(counts) - got
    got = np.bincount(labels[parts[1]], minlength=len(counts))
    assert (np.abs(got - rest * second / max(rest.sum(), 1)) < 1).all()


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.floats(0, 1))
@settings(deadline=None)
def test_apportionment_is_exact_and_never_asks_for_more_than_there_is(counts: list[int], share: float) -> None:
    have = np.array(counts)
    size = int(share * have.sum())
    quota = apportion(have, size)
    assert quota.sum() == size
    assert (quota >= 0).all()
    assert (quota <= have).all()


def test_draws_are_random_in_order_and_in_choice() -> None:
    labels = np.repeat(np.arange(4), 100)
    (a,) = stratified_draw(labels, (100,), numpy_generator("test", 0))
    (b,) = stratified_draw(labels, (100,), numpy_generator("test", 1))
    assert not np.array_equal(np.sort(a), np.sort(b))
    assert len(set(labels[a[:20]])) == 4  # not grouped by class


def test_the_noise_seed_leaves_the_split_alone_and_the_split_seed_the_noise() -> None:
    data = tagged()
    base = make_splits(data, DataSpec("tagged"), "sym:0.4", split_seed=0, noise_seed=0)
    other_noise = make_splits(data, DataSpec("tagged"), "sym:0.4", split_seed=0, noise_seed=1)
    for part in ("x_train", "x_valid", "x_test", "y_train_clean", "y_valid_clean", "y_test"):
        assert torch.equal(getattr(base, part), getattr(other_noise, part)), part
    assert not torch.equal(base.y_train, other_noise.y_train)
    assert not torch.equal(base.y_valid_noisy, other_noise.y_valid_noisy)
    other_split = make_splits(data, DataSpec("tagged"), "sym:0.4", split_seed=1, noise_seed=0)
    noisy = [
        dict(
            zip(
                numbers(data, splits, "train") + numbers(data, splits, "valid"),
                torch.cat([splits.y_train, splits.y_valid_noisy]).tolist(),
            )
        )
        for splits in (base, other_split)
    ]
    assert noisy[0] == noisy[1]  # each sample keeps its noisy label, wherever the split puts it
    assert numbers(data, base, "train") != numbers(data, other_split, "train")


def test_the_same_seeds_give_the_same_splits() -> None:
    spec = DataSpec("digits", 800, 100, 200)
    one, two = (make_splits(digits(), spec, "sym:0.4", 3, 3) for _ in range(2))
    for name, value in vars(one).items():
        same = (
            torch.equal(value, getattr(two, name)) if isinstance(value, torch.Tensor) else value == getattr(two, name)
        )
        assert same, name


def test_normalised_by_the_training_split_per_channel() -> None:
    x = np.random.default_rng(0).integers(0, 256, size=(500, 6, 6, 3)).astype(np.uint8)
    x[..., 1] //= 4
    x[..., 2] = 9
    data = Dataset.from_arrays(x, np.arange(500) % 5, x[:50], np.arange(50) % 5, name="colours")
    splits = make_splits(data, DataSpec("colours", 300, 100), "clean")
    mean, std = splits.x_train.double().mean((0, 2, 3)), splits.x_train.double().std((0, 2, 3), correction=0)
    torch.testing.assert_close(mean, torch.zeros(3, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(std, torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64), atol=1e-6, rtol=0)
    assert splits.x_train.dtype == torch.float32
    # The test split goes through the same affine map, found here from two of its pixels.
    raw, got = data.x_test[:, 0].double().flatten(), splits.x_test[:, 0].double().flatten()
    slope, intercept = np.polyfit(raw, got, 1)
    torch.testing.assert_close(raw * slope + intercept, got, atol=1e-5, rtol=0)
    assert splits.x_test[:, 0].mean() != 0


def test_constant_and_huge_features_are_safe() -> None:
    generator = np.random.default_rng(0)
    x = np.stack([np.full(200, 0.1), np.full(200, -1e6), 1e6 + generator.normal(size=200) * 1e3, np.zeros(200)], axis=1)
    data = Dataset.from_arrays(x[:160], np.arange(160) % 2, x[160:] * 2, np.arange(40) % 2, name="odd")
    splits = make_splits(data, DataSpec("odd"), "clean")
    assert splits.x_train[:, [0, 1, 3]].abs().max() == 0
    assert splits.x_train[:, 2].double().std(correction=0) == pytest.approx(1, abs=1e-4)
    assert torch.isfinite(splits.x_test).all()


def test_the_data_set_is_not_changed() -> None:
    data = tagged()
    before = data.x_train.clone(), data.y_train.clone(), data.x_test.clone()
    make_splits(data, DataSpec("tagged"), "sym:0.4")
    make_splits(data, DataSpec("tagged"), "idn:0.4")
    assert torch.equal(before[0], data.x_train)
    assert torch.equal(before[1], data.y_train)
    assert torch.equal(before[2], data.x_test)


@pytest.mark.parametrize(
    ("sizes", "says"),
    [
        ((1400, 100, 0), r"100 \+ 1400.*1438 samples of its train part"),
        ((0, 1438, 0), r"1438.*1438 samples"),
        ((2000, 0, 0), "1438 samples"),
        ((0, 0, 400), "test_size = 400.*359 samples of its test part"),
    ],
)
def test_sizes_that_are_not_there(sizes: tuple[int, int, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make_splits(digits(), DataSpec("digits", *sizes))


def test_sizes_that_are() -> None:
    for sizes, expected in [
        ((0, 0, 0), (1294, 144, 359)),
        ((100, 0, 50), (100, 144, 50)),
        ((0, 38, 0), (1400, 38, 359)),
    ]:
        splits = make_splits(digits(), DataSpec("digits", *sizes))
        assert (len(splits.x_train), len(splits.x_valid), len(splits.x_test)) == expected
        assert (len(splits.y_train), len(splits.y_valid_noisy), len(splits.y_test)) == expected


def test_hopeless_noise_needs_a_word() -> None:
    wine = load_dataset("wine")
    with pytest.raises(ConfigError, match="allow_hopeless"):
        make_splits(wine, DataSpec("wine"), "sym:0.8")
    splits = make_splits(wine, DataSpec("wine"), "sym:0.8", allow_hopeless=True)
    assert splits.noise_rate == pytest.approx(0.8, abs=0.12)


def test_a_changed_file_is_refused() -> None:
    good = DataSpec("digits", fingerprint=digits().fingerprint)
    make_splits(digits(), good)
    with pytest.raises(DataError, match="has changed"):
        make_splits(digits(), replace(good, fingerprint="0" * 64))


def test_the_realised_rate_is_reported() -> None:
    for text, rate in [("clean", 0), ("sym:0.4", 0.4), ("pair:0.2", 0.2), ("idn:0.3", 0.3)]:
        splits = make_splits(digits(), DataSpec("digits"), text)
        assert splits.noise_rate == pytest.approx(rate, abs=0.05)
        assert splits.noise_rate == float((splits.y_train != splits.y_train_clean).double().mean())


def test_valid_has_one_set_of_images_and_two_label_vectors() -> None:
    splits = make_splits(digits(), DataSpec("digits", 0, 400), "pair:0.4")
    flipped = splits.y_valid_noisy != splits.y_valid_clean
    assert flipped.double().mean() == pytest.approx(0.4, abs=0.1)
    assert torch.equal(splits.y_valid_noisy[flipped], (splits.y_valid_clean[flipped] + 1) % 10)


def test_to_moves_every_tensor() -> None:
    moved = make_splits(digits(), DataSpec("digits", 50, 50, 50), "sym:0.4").to("meta")
    assert all(value.device.type == "meta" for value in vars(moved).values() if isinstance(value, torch.Tensor))
    assert moved.num_classes == 10
    assert moved.input_shape == (1, 8, 8)


class TestLabelsThatComeWithTheData:
    def own_valid(self, **extra: object) -> Dataset:
        x = np.random.default_rng(2).normal(size=(40, 3))
        return tagged(x_valid=x, y_valid=np.arange(40) % 4, **extra)

    def test_own_validation_part(self) -> None:
        data = self.own_valid()
        splits = make_splits(data, DataSpec("tagged", 0, 20), "sym:0.4")
        assert len(splits.x_train) == 660
        assert len(splits.x_valid) == 20
        assert torch.bincount(splits.y_valid_clean).tolist() == [5, 5, 5, 5]
        assert (splits.y_valid_noisy != splits.y_valid_clean).any()
        assert len(make_splits(data, DataSpec("tagged"), "idn:0.4").y_valid_noisy) == 40
        with pytest.raises(ConfigError, match="valid_size = 41"):
            make_splits(data, DataSpec("tagged", 0, 41))

    def test_noisy_labels_with_unknown_truth(self) -> None:
        noisy = np.arange(40) % 4
        noisy[:10] = UNKNOWN
        data = self.own_valid(clean_labels=False, y_valid_noisy=noisy)
        splits = make_splits(data, DataSpec("tagged"), "given")
        assert splits.noise_rate is None
        assert (splits.y_train_clean == UNKNOWN).all()
        assert torch.equal(splits.y_train.bincount(), data.y_train.bincount())
        assert int((splits.y_valid_clean == UNKNOWN).sum()) == 0
        assert int((splits.y_valid_noisy == UNKNOWN).sum()) == 10
        for text in ("clean", "sym:0.4"):
            with pytest.raises(ConfigError, match="use noise 'given'"):
                make_splits(data, DataSpec("tagged"), text)

    def test_unknown_truth_without_a_validation_part(self) -> None:
        splits = make_splits(tagged(clean_labels=False), DataSpec("tagged"), "given")
        assert (splits.y_valid_clean == UNKNOWN).all()
        assert int(splits.y_valid_noisy.min()) == 0

    def test_given_labels_with_known_truth(self) -> None:
        truth = tagged().y_train.numpy()
        noisy = np.where(np.arange(660) % 5 == 0, (truth + 1) % 4, truth)
        splits = make_splits(tagged(y_train_noisy=noisy), DataSpec("tagged"), "given")
        assert splits.noise_rate == pytest.approx(0.2, abs=0.03)
        assert torch.equal((splits.y_train - splits.y_train_clean).remainder(4).unique(), torch.tensor([0, 1]))

    def test_labels_that_are_not_told_apart_are_taken_as_they_come(self) -> None:
        """Nobody has said that they are right, so neither the noise rate nor clean validation labels are known."""
        given_, clean = (make_splits(tagged(), DataSpec("tagged"), noise) for noise in ("given", "clean"))
        assert torch.equal(given_.y_train, clean.y_train)
        assert torch.equal(given_.y_valid_noisy, clean.y_valid_clean)
        assert (given_.y_train_clean == UNKNOWN).all()
        assert (given_.y_valid_clean == UNKNOWN).all()
        assert given_.noise_rate is None
        assert clean.noise_rate == 0

    def test_a_validation_part_of_its_own_is_clean_and_serves_as_it_comes(self) -> None:
        splits = make_splits(self.own_valid(), DataSpec("tagged"), "given")
        assert (splits.y_train_clean == UNKNOWN).all()
        assert int(splits.y_valid_clean.min()) == 0
        assert torch.equal(splits.y_valid_noisy, splits.y_valid_clean)


UNLABELLED = np.full(40, UNKNOWN)


@pytest.mark.parametrize("noise", ["clean", "sym:0.4", "given", "human:worse"])
@pytest.mark.parametrize("valid", [{}, {"y_valid_noisy": None}, {"y_valid_noisy": UNLABELLED}], ids=str)
@pytest.mark.parametrize("clean_labels", [True, False])
@pytest.mark.parametrize("beside", [True, False])
def test_which_labels_are_known_is_told_without_drawing(
    noise: str, valid: dict[str, object], clean_labels: bool, beside: bool
) -> None:
    own = {"x_valid": np.random.default_rng(2).normal(size=(40, 3)), "y_valid": np.arange(40) % 4} if valid else {}
    noisy = {"y_train_noisy": np.arange(660) % 4} if beside else {}
    data = tagged(clean_labels=clean_labels, **own, **valid, **noisy)
    data = replace(data, label_sets={**data.label_sets, "worse": data.y_train})
    try:
        splits = make_splits(data, DataSpec("tagged"), noise)
    except ConfigError:
        assert not clean_labels
        return
    seen = {name for name in ("valid_clean", "valid_noisy") if (getattr(splits, f"y_{name}") != UNKNOWN).any()}
    assert known_labels(data, noise) == seen
    assert truth_known(data, noise) == (splits.noise_rate is not None)
    assert ("clean" in "".join(seen)) == (truth_known(data, noise) or bool(valid))


def test_a_subset_of_a_large_set_takes_well_under_a_second() -> None:
    x = np.random.default_rng(0).integers(0, 256, size=(60_000, 28, 28)).astype(np.uint8)
    data = Dataset.from_arrays(x, np.arange(60_000) % 10, x[:10_000], np.arange(10_000) % 10, name="large")
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        make_splits(data, DataSpec("large", 10_000, 2_000), "sym:0.8")
        best = min(best, time.perf_counter() - start)
    assert best < 1.0
