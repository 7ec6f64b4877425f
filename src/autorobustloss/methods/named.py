"""From what a user writes for a method to the method, and what a table calls it."""

from __future__ import annotations

from pathlib import Path

from autorobustloss.errors import unknown_name
from autorobustloss.losses.cards import card_names, load_card
from autorobustloss.methods.criterion import bare_loss, card_method, create_criterion
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import LOSSES, METHODS


def named_method(method: str | Path | MethodSpec) -> tuple[str, MethodSpec]:
    """Return what a table calls a method, its label or the folder of a card, and the method.

    method: `name`, `name(key=value, …)`, the path of a loss card (a `.json` file), or a spec, which is taken as it is.
    A learned loss, by name or by path, becomes its numbers (see `card_method`).

    Raises UnknownNameError for a method that is none, ConfigError for hyper-parameters that it does not take.

    >>> named_method("gce( q=0.5 )")
    ('gce(q=0.5)', MethodSpec(name='gce', hyperparameters=(('q', 0.5),)))
    """
    if isinstance(method, MethodSpec):
        return method.label, method
    path = Path(method)
    if path.suffix == ".json":
        return path.parent.name or path.stem, card_method(load_card(path))
    spec = MethodSpec.parse(str(method))
    if spec.name not in METHODS and spec.name not in LOSSES:
        raise unknown_name("method", spec.name, [*METHODS, *LOSSES])
    # Complain about hyper-parameters now; two classes do for what does not depend on their number.
    METHODS.create(spec.name, **spec.options) if spec.name in METHODS else create_criterion(spec, num_classes=2)
    if spec.name in card_names():
        learned = card_method(load_card(spec.name))
        return spec.label, MethodSpec.of(learned.name, **learned.options, **spec.options)
    if isinstance(spec.options.get("T"), str):  # a file of forward correction: the numbers are the method
        return spec.label, MethodSpec.of(spec.name, **{**spec.options, **bare_loss(spec).hyperparameters()})
    return spec.label, spec
