"""Names of data sets with options: `mnist`, `mnist[merge=3]`, `photos[size=64]`."""

from __future__ import annotations

from dataclasses import dataclass

from autorobustloss.errors import ConfigError, unknown_name

OPTIONS = {
    "merge": "merge classes down to this many: class c becomes c mod k",
    "split": "cut classes into clusters of like samples, up to this many classes",
    "components": "make a table of so many principal components",
    "size": "resize the images of a folder to this side, in pixels",
}


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
        base, inside = text.strip(), ""
        before, bracket, rest = base.rpartition("[")
        # A bracket without "=" belongs to a file's name.
        if bracket and rest.endswith("]") and "=" in rest and "]" not in rest[:-1] and before.strip():
            base, inside = before.rstrip(), rest[:-1]
        if not base:
            raise ConfigError(
                f"got data set name {text!r:.200}, expected name or name[option=number], as in mnist[merge=3]"
            )
        options: dict[str, int] = {}
        for part in inside.split(",") if inside else ():
            key, _, value = (piece.strip() for piece in part.partition("="))
            if key not in OPTIONS:
                raise unknown_name(f"option of data set {base!r}", key, OPTIONS)
            if not (value.isascii() and value.isdigit() and value[0] != "0" and len(value) < 10):
                raise ConfigError(
                    f"data set {text!r:.200}: got {key}={value!r:.40}, expected a positive whole number below 10⁹"
                )
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
