"""Transition matrices against the definitions, written out again, and against labels that published code drew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from autorobustloss.errors import ConfigError
from autorobustloss.noise import CLASS_MAPS, class_map, empirical_matrix, require_hope, transition_matrix
from autorobustloss.noise.classmap import CIFAR100_SUPERCLASSES, LEGACY_MAPS

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "label_noise.json").read_text())

# The twenty superclasses of CIFAR-100 (Krizhevsky 2009, section 3), five classes each. Classes are numbered in the
# alphabetical order of all hundred names, superclasses in the order of this table.
SUPERCLASSES = {
    "aquatic mammals": ("beaver", "dolphin", "otter", "seal", "whale"),
    "fish": ("aquarium_fish", "flatfish", "ray", "shark", "trout"),
    "flowers": ("orchid", "poppy", "rose", "sunflower", "tulip"),
    "food containers": ("bottle", "bowl", "can", "cup", "plate"),
    "fruit and vegetables": ("apple", "mushroom", "orange", "pear", "sweet_pepper"),
    "household electrical devices": ("clock", "keyboard", "lamp", "telephone", "television"),
    "household furniture": ("bed", "chair", "couch", "table", "wardrobe"),
    "insects": ("bee", "beetle", "butterfly", "caterpillar", "cockroach"),
    "large carnivores": ("bear", "leopard", "lion", "tiger", "wolf"),
    "large man-made outdoor things": ("bridge", "castle", "house", "road", "skyscraper"),
    "large natural outdoor scenes": ("cloud", "forest", "mountain", "plain", "sea"),
    "large omnivores and herbivores": ("camel", "cattle", "chimpanzee", "elephant", "kangaroo"),
    "medium-sized mammals": ("fox", "porcupine", "possum", "raccoon", "skunk"),
    "non-insect invertebrates": ("crab", "lobster", "snail", "spider", "worm"),
    "people": ("baby", "boy", "girl", "man", "woman"),
    "reptiles": ("crocodile", "dinosaur", "lizard", "snake", "turtle"),
    "small mammals": ("hamster", "mouse", "rabbit", "shrew", "squirrel"),
    "trees": ("maple_tree", "oak_tree", "palm_tree", "pine_tree", "willow_tree"),
    "vehicles 1": ("bicycle", "bus", "motorcycle", "pickup_truck", "train"),
    "vehicles 2": ("lawn_mower", "rocket", "streetcar", "tank", "tractor"),
}


@settings(deadline=None)
@given(st.sampled_from(["sym", "pair"]), st.floats(0, 1), st.integers(2, 30))
def test_rows_are_distributions_with_the_rate_off_the_diagonal(kind: str, rate: float, classes: int) -> None:
    T = transition_matrix(f"{kind}:{rate!r}", classes)
    assert T.dtype == torch.float64
    assert (T >= 0).all()
    torch.testing.assert_close(T.sum(1), torch.ones(classes, dtype=torch.float64))
    torch.testing.assert_close(T.diagonal(), torch.full((classes,), 1 - rate, dtype=torch.float64))


@settings(deadline=None)
@given(st.sampled_from(sorted(CLASS_MAPS)), st.floats(0, 1), st.booleans())
def test_class_maps_are_row_stochastic(dataset: str, rate: float, legacy: bool) -> None:
    if legacy and dataset not in LEGACY_MAPS:
        return
    classes = 100 if dataset == "cifar100" else 10
    T = transition_matrix(f"map:{rate!r}" + (":legacy" if legacy else ""), classes, dataset)
    assert (T >= 0).all()
    torch.testing.assert_close(T.sum(1), torch.ones(classes, dtype=torch.float64))


def test_small_matrices_by_hand() -> None:
    sym = [[0.4, 0.2, 0.2, 0.2], [0.2, 0.4, 0.2, 0.2], [0.2, 0.2, 0.4, 0.2], [0.2, 0.2, 0.2, 0.4]]
    pair = [[0.7, 0.3, 0], [0, 0.7, 0.3], [0.3, 0, 0.7]]
    np.testing.assert_allclose(transition_matrix("sym:0.6", 4), sym)
    np.testing.assert_allclose(transition_matrix("pair:0.3", 3), pair)
    np.testing.assert_array_equal(transition_matrix("clean", 3), np.eye(3))
    np.testing.assert_allclose(transition_matrix("matrix:[[0.9,0.1],[0.2,0.8]]", 2), [[0.9, 0.1], [0.2, 0.8]])


@pytest.mark.parametrize(
    ("dataset", "pairs"),
    [
        ("mnist", {7: 1, 2: 7, 3: 8, 5: 6, 6: 5}),
        ("usps", {7: 1, 2: 7, 3: 8, 5: 6, 6: 5}),
        ("cifar10", {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}),
        ("fashion_mnist", {0: 6, 6: 0, 2: 4, 5: 7, 9: 7}),
    ],
)
def test_class_maps_flip_the_documented_pairs_only(dataset: str, pairs: dict[int, int]) -> None:
    expected = np.eye(10)
    for source, target in pairs.items():
        expected[source, source], expected[source, target] = 0.6, 0.4
    np.testing.assert_allclose(transition_matrix("map:0.4", 10, dataset), expected)


def test_cifar100_table_is_the_published_one() -> None:
    of_name = {name: i for i, five in enumerate(SUPERCLASSES.values()) for name in five}
    assert len(of_name) == 100
    assert [of_name[name] for name in sorted(of_name)] == [int(v) for v in CIFAR100_SUPERCLASSES.split()]


def test_cifar100_map_stays_in_the_superclass_and_the_legacy_one_mostly_does_not() -> None:
    coarse = [int(v) for v in CIFAR100_SUPERCLASSES.split()]
    pairs, legacy = class_map("cifar100"), class_map("cifar100", legacy=True)
    assert sorted(source for source, _ in pairs) == list(range(100)) == sorted(target for _, target in pairs)
    assert all(coarse[source] == coarse[target] for source, target in pairs)
    assert all(source // 5 == target // 5 for source, target in legacy)
    assert sum(coarse[source] == coarse[target] for source, target in legacy) == 6


def test_legacy_cifar10_flips_back_labels_it_has_flipped() -> None:
    T = transition_matrix("map:0.4:legacy", 10, "cifar10")
    torch.testing.assert_close(T[3, [3, 5]], torch.tensor([0.76, 0.24], dtype=torch.float64))
    torch.testing.assert_close(T[5, [3, 5]], torch.tensor([0.4, 0.6], dtype=torch.float64))
    assert float(1 - T.diagonal().mean()) == pytest.approx(0.184)
    right = transition_matrix("map:0.4", 10, "cifar10")
    rows = [c for c in range(10) if c != 3]
    torch.testing.assert_close(T[rows], right[rows])


def _spec(case: dict) -> str:
    kind = {"pairflip": "pair", "symmetric": "sym", "asymmetric": "map"}[case["noise_type"]]
    legacy = ":legacy" if (kind, case["dataset"]) == ("map", "cifar100") else ""
    return f"{kind}:{case['noise_rate']}{legacy}"


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['dataset']}-{c['noise_type']}-{c['noise_rate']}")
def test_labels_of_published_code_follow_the_matrix(case: dict) -> None:
    clean = np.array(GOLDEN[f"labels{case['nb_classes']}"])
    noisy = np.array(case["noisy"])
    T = transition_matrix(_spec(case), case["nb_classes"], case["dataset"]).numpy()
    assert (T[clean, noisy] > 0).all()  # nothing happened there that cannot happen here
    kept = clean == noisy
    stay = T[clean, clean]
    z = (kept.sum() - stay.sum()) / np.sqrt((stay * (1 - stay)).sum())
    assert abs(z) < 4
    if case["noise_type"] == "symmetric":
        hops = np.bincount(((noisy - clean) % case["nb_classes"])[~kept], minlength=case["nb_classes"])[1:]
        assert stats.chisquare(hops).pvalue > 1e-4


def test_no_map_no_matrix_wrong_size_are_errors_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match=r"no class map for data set 'kmnist'.*pair:RATE"):
        transition_matrix("map:0.4", 10, "kmnist")
    with pytest.raises(ConfigError, match=r"no legacy class map.*cifar10, cifar100"):
        transition_matrix("map:0.4:legacy", 10, "mnist")
    with pytest.raises(ConfigError, match="names class 9, but the data set has 5"):
        transition_matrix("map:0.4", 5, "cifar10")
    with pytest.raises(ConfigError, match="3 classes"):
        transition_matrix("matrix:[[0.9,0.1],[0.2,0.8]]", 3)
    with pytest.raises(ConfigError, match="at least 2"):
        transition_matrix("sym:0.4", 1)
    for text in ("idn:0.4", "human:worse", "given"):
        with pytest.raises(ConfigError, match="empirical_matrix"):
            transition_matrix(text, 10, "cifar10")


@pytest.mark.parametrize(
    ("text", "classes"),
    [("sym:0.8", 3), ("sym:0.5", 2), ("sym:0.9", 10), ("pair:0.5", 10), ("map:0.5", 10), ("idn:0.9", 10), ("sym:1", 5)],
)
def test_hopeless_noise_is_refused(text: str, classes: int) -> None:
    with pytest.raises(ConfigError, match=r"hopeless.*allow_hopeless=True"):
        require_hope(text, classes, "mnist")


@pytest.mark.parametrize(
    ("text", "classes"),
    [("sym:0.8", 10), ("sym:0.66", 3), ("pair:0.49", 2), ("map:0.45", 10), ("idn:0.5", 10), ("clean", 2), ("given", 2)],
)
def test_hard_noise_is_allowed(text: str, classes: int) -> None:
    require_hope(text, classes, "mnist")


@settings(deadline=None)
@given(st.integers(2, 12), st.floats(0, 1))
def test_symmetric_hope_ends_at_the_uniform_distribution(classes: int, rate: float) -> None:
    limit = (classes - 1) / classes
    if abs(rate - limit) < 1e-9:
        return
    if rate < limit:
        require_hope(f"sym:{rate!r}", classes)
    else:
        with pytest.raises(ConfigError, match="hopeless"):
            require_hope(f"sym:{rate!r}", classes)


def test_empirical_matrix_counts() -> None:
    rng = np.random.default_rng(0)
    clean, noisy = torch.from_numpy(rng.integers(0, 4, 500)), torch.from_numpy(rng.integers(0, 5, 500))
    expected = np.array([[((clean == i) & (noisy == j)).sum() for j in range(5)] for i in range(5)], dtype=float)
    expected[:4] /= expected[:4].sum(1, keepdims=True)
    expected[4] = np.eye(5)[4]
    np.testing.assert_allclose(empirical_matrix(clean, noisy, 5), expected)
