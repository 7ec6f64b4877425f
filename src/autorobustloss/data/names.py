"""Data sets by name: which one (`mnist[merge=3]`), how much of it, and what the name tells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from autorobustloss.errors import ConfigError, unknown_name

OPTIONS = ("merge", "split", "components", "size")
"""What `load_dataset` says of them."""
HANDED = frozenset({"digits", "mnist", "emnist", "kmnist", "qmnist", "usps", "svhn"})
"""Data sets, by name, whose mirror images are no samples: a mirrored digit or letter is another one, or none."""


@dataclass(frozen=True)
class DataSpec:
    """A data set by name and how much of it is used. Part of a job's key.

    name: a registered data set, the stem of an `.npz` in the data directory, or a path.
    train_size, valid_size, test_size: images of each split, drawn stratified and seeded; 0 means all
        (for valid_size: a tenth of the training images, taken out of them).
    fingerprint: SHA-256 of the arrays, filled in when the data are loaded, so that a changed file is another job.
    folds, fold: of the training part, cut into so many folds, this one (from 0) is what is tested on and the others are
        trained on, less valid_size of them (0: none), so that every sample is once judged by a network that has not
        seen it. 0 folds: no such thing.
    """

    name: str
    train_size: int = 0
    valid_size: int = 0
    test_size: int = 0
    fingerprint: str = ""
    folds: int = field(default=0, metadata={"added": True})
    fold: int = field(default=0, metadata={"added": True})

    def __post_init__(self) -> None:
        for size in ("train_size", "valid_size", "test_size", "folds", "fold"):
            value = getattr(self, size)
            if not isinstance(value, int) or value < 0:
                raise ConfigError(f"data set {self.name!r}: got {size}={value!r}, expected a whole number, 0 for all")
        if self.folds == 1 or self.fold >= max(self.folds, 1) or (self.folds and self.test_size):
            got = f"fold={self.fold} of folds={self.folds}, test_size={self.test_size}"
            raise ConfigError(f"data set {self.name!r}: got {got}, expected a fold of two or more, without a test_size")


@dataclass(frozen=True)
class DataName:
    """A data set's name and its options, whole numbers by name.

    >>> DataName.parse("mnist[merge=3]")
    DataName(base='mnist', options=(('merge', 3),))
    >>> str(DataName.parse("photos[size=64, merge=2]"))
    'photos[merge=2,size=64]'
    """

    base: str
    options: tuple[tuple[str, int], ...] = ()

    @classmethod
    def parse(cls, text: str) -> DataName:
        """Read `name` or `name[option=number,…]`; ConfigError for anything else."""
        # A bracket without "=" belongs to a file's name.
        found = re.fullmatch(r"(.*\S)\s*\[([^][]*=[^][]*)\]", text.strip(), re.DOTALL)
        base, inside = found.groups() if found else (text.strip(), "")
        if not base:
            raise ConfigError(f"got data set {text!r:.200}, expected name or name[option=number,…]: mnist[merge=3]")
        options: dict[str, int] = {}
        for part in inside.split(",") if inside else ():
            key, _, value = (piece.strip() for piece in part.partition("="))
            if key not in OPTIONS:
                raise unknown_name(f"option of data set {base!r}", key, OPTIONS)
            if not (value.isascii() and value.isdigit() and value[0] != "0" and len(value) < 10):
                raise ConfigError(f"data set {text!r:.200}: got {key}={value!r:.40}, expected a positive whole number")
            if key in options:
                raise ConfigError(f"data set {text!r:.200}: got {key} twice, expected it once")
            options[key] = int(value)
        return cls(base, tuple(sorted(options.items())))

    def __str__(self) -> str:
        inside = ",".join(f"{key}={value}" for key, value in self.options)
        return f"{self.base}[{inside}]" if inside else self.base

    def option(self, key: str) -> int:
        """Return an option's number, 0 where it is not given."""
        return dict(self.options).get(key, 0)


def handed(dataset: str) -> bool:
    """Return whether mirror images are no samples of a data set, as far as its name or path tells.

    >>> handed("mnist[split=26]"), handed("data/usps.npz"), handed("fashion_mnist"), handed("own")
    (True, True, False, False)
    """
    base = DataName.parse(dataset).base.replace("\\", "/").rstrip("/")
    return base.rpartition("/")[2].removesuffix(".npz").lower() in HANDED


def check_augment(augment: str, dataset: str, image: bool = True) -> None:
    """Raise ConfigError where an augmentation makes no sense: on tables, and mirror images of digits."""
    if augment != "none" and not image:
        raise ConfigError(f"data set {dataset!r}: got augment={augment!r} for a table; use augment='none'")
    if "flip" in augment and handed(dataset):
        raise ConfigError(f"{dataset!r}: got {augment!r}: a mirrored digit is another one; use augment='crop'")
