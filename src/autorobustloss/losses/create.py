"""A loss from its name, with hyper-parameters or without, or from its card."""

from __future__ import annotations

from os import PathLike
from typing import Any

from autorobustloss.errors import ConfigError
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.cards.card import load_card
from autorobustloss.registry import LOSSES, parse_call


def create_loss(name: str | PathLike[str], **hyperparameters: Any) -> RobustLoss:
    """Return the loss that a text means: the same one here, in `arl` and in a method's `loss`.

    name: a name, with hyper-parameters in brackets or without: a hand-designed loss such as "gce" or "gce(q=0.5)",
        "taylor", or a learned one that is shipped, such as "arl"; or the path of a loss card, "runs/NAME/loss.json".
    hyperparameters: those of the loss, and weight, ignore_index and reduction as in `torch.nn.CrossEntropyLoss`.
        The defaults are the authors' for some ten classes; for more see `published_values`.

    Raises UnknownNameError for a name nobody registered, ConfigError for hyper-parameters that the loss does not take
    or that are given twice, CardError for a file that is no sound card.

    >>> create_loss("bootstrap_soft(beta=0.9)", reduction="sum")
    SoftBootstrap(beta=0.9, reduction='sum')
    >>> from autorobustloss.losses import published_values
    >>> create_loss("sce", **published_values("sce", num_classes=100)).hyperparameters()
    {'alpha': 6.0, 'beta': 0.1, 'legacy': False}
    """
    if not isinstance(name, (str, PathLike)):
        raise ConfigError(f"got a loss of type {type(name).__name__}, expected a name or the path of a loss card")
    if isinstance(name, PathLike) or name.endswith(".json"):
        return load_card(name).loss(**hyperparameters)
    name, options = parse_call("loss", name)
    twice = sorted(options.keys() & hyperparameters)
    if twice:
        raise ConfigError(f"loss {name!r}: got {', '.join(twice)} in the text and as an argument, expected it once")
    return LOSSES.create(name, **options, **hyperparameters)


def list_losses() -> list[str]:
    """Return the names that `create_loss` takes."""
    return LOSSES.names()
