"""Which class is mistaken for which: the class maps behind structured noise, one per data set."""

from __future__ import annotations

from collections.abc import Mapping

from autorobustloss.errors import ConfigError

ClassMap = tuple[tuple[int, int], ...]
"""Pairs (true class, class it is mistaken for)."""

_DIGITS: ClassMap = ((7, 1), (2, 7), (3, 8), (5, 6), (6, 5))

# The twenty superclasses of CIFAR-100 (Krizhevsky 2009, section 3), five classes each. The class indices of
# CIFAR-100 are the alphabetical order of all hundred names.
CIFAR100_SUPERCLASSES: Mapping[str, tuple[str, ...]] = {
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
CIFAR100_CLASSES: tuple[str, ...] = tuple(sorted(name for five in CIFAR100_SUPERCLASSES.values() for name in five))


def _within(groups: list[tuple[int, ...]]) -> ClassMap:
    """Map each class to the next one of its group, the last to the first."""
    return tuple((group[i], group[(i + 1) % len(group)]) for group in groups for i in range(len(group)))


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
    "cifar100": _within([tuple(map(CIFAR100_CLASSES.index, five)) for five in CIFAR100_SUPERCLASSES.values()]),
}

# What widely used code did instead, kept to reproduce tables that rest on it (spec `map:RATE:legacy`).
# CIFAR-100: blocks of five consecutive indices, which are alphabetical neighbours, taken for superclasses.
# CIFAR-10: the same pairs, but each one re-reads labels that an earlier pair has flipped already, so that a part of
# the cats labelled dog is flipped back (see `autorobustloss.noise.transition.map_matrix`).
LEGACY_MAPS: Mapping[str, ClassMap] = {
    "cifar10": CLASS_MAPS["cifar10"],
    "cifar100": _within([tuple(range(start, start + 5)) for start in range(0, 100, 5)]),
}


def class_map(dataset: str, legacy: bool = False) -> ClassMap:
    """Return the class map of a data set; ConfigError with the remedy where there is none.

    >>> class_map("cifar10")[0]  # truck -> automobile
    (9, 1)
    """
    maps = LEGACY_MAPS if legacy else CLASS_MAPS
    if dataset in maps:
        return maps[dataset]
    have = ", ".join(sorted(maps))
    if legacy:
        raise ConfigError(f"no legacy class map for data set {dataset!r} (there is one for {have}); try map:RATE")
    raise ConfigError(
        f"no class map for data set {dataset!r} (there is one for {have}); "
        "try pair:RATE, or matrix:FILE with a transition matrix of your own"
    )
