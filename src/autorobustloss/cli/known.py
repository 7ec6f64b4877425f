"""`arl list`: what can be named, read from the files that register it; nothing slow is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autorobustloss.cli.json_output import Named, print_json
from autorobustloss.cli.terminal import out_width
from autorobustloss.columns import listing
from autorobustloss.noise.base import NOISES
from autorobustloss.registry import DATASETS, LOSSES, METHODS, MODELS, Registry

REGISTRIES: Mapping[str, Registry[Any]] = {
    "losses": LOSSES, "methods": METHODS, "models": MODELS, "noises": NOISES, "datasets": DATASETS,
}  # fmt: skip
NOT_GIVEN = {
    "losses": {"weight", "ignore_index", "reduction", "label_smoothing"},
    "models": {"input_shape", "num_classes"},
    "datasets": {"name", "data_dir", "download"},
}
"""Arguments that are no hyper-parameters: every one of the kind has them."""


def known(kind: str) -> list[Named]:
    """Return everything of a kind that has a name, sorted."""
    if kind == "protocols":
        return protocols()
    registry, left_out = REGISTRIES[kind], NOT_GIVEN.get(kind, set())
    return [
        Named(name, {k: v for k, v in values.items() if k not in left_out}, registry.about(name))
        for name, values in registry.written().items()
    ]


def protocols() -> list[Named]:
    """Return the presets of training, with what each is made of."""
    from dataclasses import asdict

    from autorobustloss.training.protocol import PRESETS

    found = []
    for name, preset in sorted(PRESETS.items()):
        about = f"{preset.optimizer}, learning rate {preset.lr:g}, {preset.epochs} epochs, "
        found.append(Named(name, asdict(preset), f"{about}batches of {preset.batch_size}"))
    return found


def print_known(kind: str, as_json: bool) -> None:
    """Print a list: each thing as it is written, and what it is."""
    found = known(kind)
    if as_json:
        print_json(found)
    else:
        shown = [(each.name if kind == "protocols" else call(each), each.about) for each in found]
        print(listing(shown, out_width()))


def call(each: Named) -> str:
    """Return how something is written with its hyper-parameters at their defaults.

    >>> call(Named("gce", {"q": 0.7}, ""))
    'gce(q=0.7)'
    """
    values = ", ".join(key if value is None else f"{key}={value!r}" for key, value in each.hyperparameters.items())
    return f"{each.name}({values})" if values else each.name
