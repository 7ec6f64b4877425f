"""Class-map noise: which class is mistaken for which, one map per data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from autorobustloss.errors import ConfigError
from autorobustloss.noise.base import NOISES, RateNoise, Rows

ClassMap = tuple[tuple[int, int], ...]
"""Pairs (true class, class it is mistaken for)."""

_DIGITS: ClassMap = ((7, 1), (2, 7), (3, 8), (5, 6), (6, 5))

# The superclass of each class of CIFAR-100 (Krizhevsky 2009, section 3), as distributed with the images.
CIFAR100_SUPERCLASSES = """
4 1 14 8 0 6 7 7 18 3  3 14 9 18 7 11 3 9 7 11  6 11 5 10 7 6 13 15 3 15  0 11 1 10 12 14 16 9 11 5
5 19 8 8 15 13 14 17 18 10  16 4 17 4 2 0 17 4 18 17  10 3 2 12 12 16 12 1 9 19  2 10 0 1 16 12 9 13 15 13
16 19 2 4 6 19 5 5 8 19  18 1 2 15 6 0 17 8 14 13
"""


def _within(groups: list[int]) -> ClassMap:
    """Map each class to the next one of its group, the last to the first."""
    members = defaultdict(list)
    for c, group in enumerate(groups):
        members[group].append(c)
    return tuple(pair for of_one in members.values() for pair in zip(of_one, of_one[1:] + of_one[:1]))


CLASS_MAPS: Mapping[str, ClassMap] = {
    # Patrini et al. 2017 (forward correction), section 5: digits that look alike. USPS shows the same ten digits.
    "mnist": _DIGITS,
    "usps": _DIGITS,
    # No map for Fashion-MNIST is established. Ours: T-shirt <-> shirt, pullover -> coat, sandal -> sneaker, ankle
    # boot -> sneaker. Like the maps of MNIST and CIFAR-10 it touches five classes, so rate r corrupts r/2 overall.
    "fashion_mnist": ((0, 6), (6, 0), (2, 4), (5, 7), (9, 7)),
    # Patrini et al. 2017: truck -> automobile, bird -> airplane, deer -> horse, cat <-> dog.
    "cifar10": ((9, 1), (2, 0), (4, 7), (3, 5), (5, 3)),
    # Patrini et al. 2017: the next class within the true superclass, circularly.
    "cifar100": _within([int(group) for group in CIFAR100_SUPERCLASSES.split()]),
}

# What widely used code did instead, kept to reproduce tables that rest on it (spec `map:RATE:legacy`).
# CIFAR-100: blocks of five consecutive indices, which are alphabetical neighbours, taken for superclasses.
# CIFAR-10: the same pairs, but each one re-reads labels that an earlier pair has flipped already, so that a part of
# the cats labelled dog is flipped back: a cat becomes a dog with probability r(1-r), 0.24 at r = 0.4.
LEGACY_MAPS: Mapping[str, ClassMap] = {
    "cifar10": CLASS_MAPS["cifar10"],
    "cifar100": _within([c // 5 for c in range(100)]),
}


def class_map(dataset: str, legacy: bool = False) -> ClassMap:
    """Return the class map of a data set; ConfigError with the remedy where there is none.

    >>> class_map("cifar10")[0]  # truck -> automobile
    (9, 1)
    """
    maps, old = (LEGACY_MAPS, "legacy ") if legacy else (CLASS_MAPS, "")
    if dataset not in maps:
        remedy = "map:RATE" if legacy else "pair:RATE, or matrix:FILE with a transition matrix of your own"
        have = ", ".join(sorted(maps))
        raise ConfigError(f"no {old}class map for data set {dataset!r} (there is one for {have}); try {remedy}")
    return maps[dataset]


@NOISES.register("map")
@dataclass(frozen=True)
class ClassMapped(RateNoise):
    """Along the data set's class map with probability rate."""

    legacy: bool | str = False
    kind, name = "map", "class-map noise"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.legacy not in (False, True, "legacy"):
            raise ConfigError(f"noise 'map': got option {self.legacy!r}, expected map:RATE or map:RATE:legacy")
        object.__setattr__(self, "legacy", bool(self.legacy))

    def rows(self, num_classes: int, dataset: str) -> Rows:
        """Return rate at the mapped pairs, 1 - rate left of them."""
        pairs = class_map(dataset, bool(self.legacy))
        highest = max(max(pair) for pair in pairs)
        if num_classes <= highest:
            raise ConfigError(f"the class map of {dataset!r} names class {highest}, but the data set has {num_classes}")
        T = [[float(i == j) for j in range(num_classes)] for i in range(num_classes)]
        for source, target in pairs:
            for row in T if self.legacy and dataset == "cifar10" else [T[source]]:
                row[target] += row[source] * self.rate
                row[source] *= 1 - self.rate
        return T
