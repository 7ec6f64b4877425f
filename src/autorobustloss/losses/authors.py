"""The hyper-parameters that authors use, by number of classes: a rival at its ten-class values on a hundred is none.

The defaults of the losses are those for few classes. A value that hangs on the true noise rate, which nobody knows in
practice, is kept at one of the authors' settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

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


AUTHORS: Mapping[str, Published] = {
    # Ma et al. 2020, experiment files of the authors' code.
    "nce": Published({"scale": 1}, {"scale": 1}, {"scale": 10}),
    "nce+mae": Published({"alpha": 1, "beta": 1}, {"alpha": 10, "beta": 1}, {"alpha": 1, "beta": 10}),
    "nfl+mae": Published({"alpha": 1, "beta": 1}, {"alpha": 10, "beta": 1}, {"alpha": 1, "beta": 10}),
    "nce+rce": Published({"alpha": 1, "beta": 1}, {"alpha": 10, "beta": 0.1}, {"alpha": 1, "beta": 10}),
    # Wang et al. 2019.
    "sce": Published({"alpha": 0.1, "beta": 1}, {"alpha": 6, "beta": 0.1}, {"alpha": 0.01, "beta": 1}),
    # Zhou et al. 2021.
    "nce+agce": Published(
        {"alpha": 1, "beta": 4, "a": 6, "q": 1.5},
        {"alpha": 10, "beta": 0.1, "a": 1.8, "q": 3},
        {"alpha": 0, "beta": 1, "a": 4, "q": 0.2},
    ),
    "nce+aul": Published(
        {"alpha": 1, "beta": 4, "a": 6.3, "q": 1.5},
        {"alpha": 10, "beta": 0.015, "a": 6, "q": 3},
        {"alpha": 0, "beta": 1, "a": 3, "q": 0.1},
    ),
    "nce+ael": Published(
        {"alpha": 1, "beta": 4, "a": 5}, {"alpha": 10, "beta": 0.1, "a": 1.5}, {"alpha": 0, "beta": 1, "a": 3.5}
    ),
    # Ye et al. 2023, whose code trains without weight decay.
    "anl_ce": Published(
        {"alpha": 5, "beta": 5, PENALTY: 5e-5},
        {"alpha": 10, "beta": 1, PENALTY: 5e-7},
        {"alpha": 1, "beta": 1, PENALTY: 1e-6},
    ),
    # Wang et al. 2025.
    "jal_ce": Published(
        {"alpha": 1, "beta": 1, "a": 30, PENALTY: 5e-5}, {"alpha": 5, "beta": 1, "a": 20, PENALTY: 5e-6}
    ),
    # The same two with focal losses; JAL's code has no MNIST.
    "anl_fl": Published(
        {"alpha": 5, "beta": 5, PENALTY: 5e-5},
        {"alpha": 10, "beta": 1, PENALTY: 5e-7},
        {"alpha": 1, "beta": 1, PENALTY: 1e-6},
    ),
    "jal_fl": Published(
        {"alpha": 1, "beta": 1, "a": 30, PENALTY: 5e-5}, {"alpha": 5, "beta": 1, "a": 20, PENALTY: 5e-6}
    ),
    # Englesson and Azizpour 2021 choose π by the true rate; these are those of 40 % symmetric noise.
    "js": Published({"pi": 0.7}, {"pi": 0.3}),
    # Wang et al. 2024; for many classes they choose α by the true rate, this is the one of 40 % symmetric noise.
    "ce_eps+mae": Published({"alpha": 0.01, "beta": 5, "m": 1e5}, {"alpha": 0.03, "beta": 1, "m": 1e4}),
    "fl_eps+mae": Published({"alpha": 0.01, "beta": 5, "m": 1e5}, {"alpha": 0.03, "beta": 1, "m": 1e4}),
    # Zhu et al. 2023 tune λ; these are Wang et al.'s of 2024.
    "ldr_kl": Published({"lam": 10, "margin": 0.1}, {"lam": 1, "margin": 0.1}),
    # Zhou et al. 2021, code, symmetric noise.
    "sr": Published(
        {"tau": 0.5, "p": 0.1, "lam": 1.2, "growth": 1.03, "every": 1, "normalise": True},
        {"tau": 0.5, "p": 0.01, "lam": 4, "growth": 1.02, "every": 1, "normalise": True},
        {"tau": 0.1, "p": 0.1, "lam": 4, "growth": 2, "every": 5, "normalise": False},
    ),
    # Liu et al. 2020, code, symmetric noise.
    "elr": Published({"beta": 0.7, "lam": 3}, {"beta": 0.9, "lam": 7}),
    # Patrini et al. 2017, code.
    "fw": Published({"outlier_filter": True}, {"outlier_filter": False}),
    # Wei et al. 2020.
    "jocor": Published({"co_lambda": 0.9}, {"co_lambda": 0.85}, {"co_lambda": 0.95}),
}
"""By method, as registered. Who is not here has one set of values for everything: the defaults."""


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
