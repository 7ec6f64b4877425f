"""Methods at their authors' values for the data they train on, so that a job says what it trains."""

from __future__ import annotations

import inspect
from typing import Any

from autorobustloss.losses.literature.values import PENALTY, published_penalty, published_values
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import LOSSES, METHODS


def with_published_values(method: MethodSpec, num_classes: int, dataset: str = "") -> MethodSpec:
    """Return a method with its authors' values for so many classes, written out where they are not the defaults.

    A method with a value of its own among those is taken as it is; what authors do not choose by the number of classes,
    such as `match_scale`, may be given beside theirs, and so may the penalty: `anl_ce(l1=0)` is their loss without it.
    dataset: a name, see `losses.published_values`.

    >>> with_published_values(MethodSpec.of("sce"), num_classes=100).label
    'sce(alpha=6, beta=0.1)'
    >>> with_published_values(MethodSpec.of("sce"), num_classes=10).label
    'sce'
    >>> with_published_values(MethodSpec.of("sce", alpha=2.0), num_classes=100).label
    'sce(alpha=2.0)'
    >>> with_published_values(MethodSpec.of("anl_ce"), num_classes=10).label
    'anl_ce(l1=5e-05)'
    """
    options = method.options
    values = published_values(method.name, num_classes, dataset)
    if not values or values.keys() & options.keys():
        return method
    if penalty := published_penalty(method.name, num_classes, dataset):
        values[PENALTY] = penalty
    defaults = default_values(method.name)
    chosen = {key: value for key, value in values.items() if value != defaults[key]}
    return MethodSpec.of(method.name, **{**chosen, **options})


def values_used(method: MethodSpec) -> dict[str, Any]:
    """Return the hyper-parameters that a method trains with: its own, and the defaults of the rest but what is off.

    >>> values_used(MethodSpec.of("nfl+mae", alpha=10))
    {'alpha': 10, 'beta': 1.0, 'gamma': 0.5}
    """
    defaults = default_values(method.name)
    off = {key for key, value in defaults.items() if value is None or value is False or key == PENALTY}
    return {k: v for k, v in {**defaults, **method.options}.items() if k not in off or v != defaults[k]}


def default_values(name: str) -> dict[str, Any]:
    """Return the hyper-parameters of a method that have defaults, and these; every method takes the penalty."""
    registry: Any = METHODS if name in METHODS else LOSSES
    own = getattr(registry.get(name), "_fields", {})  # bi_tempered has a label_smoothing that is part of it
    shared = {"weight", "ignore_index", "reduction", "label_smoothing"} - own.keys()
    found = {k: v for k, v in registry.parameters(name).items() if v is not inspect.Parameter.empty and k not in shared}
    return found if name in METHODS else {**found, PENALTY: 0.0}
