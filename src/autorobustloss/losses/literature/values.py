"""The hyper-parameters that authors use, by number of classes: a rival at its ten-class values on a hundred is none.

The defaults of the losses are those for few classes. A value that hangs on the true noise rate, which nobody knows in
practice, is kept at one of the authors' settings.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FEW_CLASSES = 20
"""Up to so many classes authors' values for few classes (CIFAR-10) count, above them those for many (CIFAR-100)."""

PENALTY = "l1"
"""The key of δ, an L1 penalty on the weights in place of weight decay: a matter of training, which no loss sees."""

Values = Mapping[str, float | bool]


class Published(NamedTuple):
    """One method's values: for few classes, for many, and for MNIST where its authors name them (else as for few)."""

    few: Values
    many: Values
    mnist: Values | None = None


def _read() -> dict[str, Published]:
    table = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {name: Published(**values) for name, values in table.items()}


AUTHORS: Mapping[str, Published] = _read()
"""By method, as registered, from values.toml. Who is not there has one set of values for everything: the defaults."""


def published_values(name: str, num_classes: int, dataset: str = "") -> dict[str, Any]:
    """Return the hyper-parameters that a loss's authors use for so many classes, as `create_loss` takes them.

    dataset: "mnist" has values of its own where authors name them; its views, such as mnist[merge=3], have them too,
        as long as their classes are few. Other data of 28x28 pixels are not MNIST.
    Empty for a loss whose values hang on neither. The L1 penalty that some methods train with is no part of the loss,
    see `published_penalty`.

    >>> published_values("sce", num_classes=100), published_values("sce", num_classes=10, dataset="mnist")
    ({'alpha': 6, 'beta': 0.1}, {'alpha': 0.01, 'beta': 1})
    """
    return {key: value for key, value in _published(name, num_classes, dataset).items() if key != PENALTY}


def published_penalty(name: str, num_classes: int, dataset: str = "") -> float:
    """Return δ of the L1 penalty δ·Σ|w| with which a method's authors train in place of weight decay; 0 for none.

    >>> published_penalty("anl_ce", num_classes=10), published_penalty("sce", num_classes=10)
    (5e-05, 0.0)
    """
    return float(_published(name, num_classes, dataset).get(PENALTY, 0.0))


def _published(name: str, num_classes: int, dataset: str) -> Values:
    if name not in AUTHORS:
        return {}
    few, many, mnist = AUTHORS[name]
    if num_classes > FEW_CLASSES:
        return many
    is_mnist = dataset.partition("[")[0].strip() == "mnist"
    return mnist if is_mnist and mnist is not None else few
