"""Formulas of losses for a page: as MathML, or None where a loss has none that can be written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from autorobustloss.errors import ARLError
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.cards import LossCard
from autorobustloss.losses.export import export_loss
from autorobustloss.methods.criterion import bare_loss
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import LOSSES
from autorobustloss.report.mathml import to_mathml


def formula_of_card(card: Mapping[str, Any]) -> Markup | None:
    """Return the formula of a loss card, None for one that was altered: then its numbers are shown, no more."""
    try:
        return _of_loss(LossCard.from_dict(dict(card)).loss())
    except ARLError:
        return None


def formula_of_method(label: str) -> Markup | None:
    """Return the formula of a method that is a loss known by name, with the values in its label or else the defaults.

    >>> formula_of_method("gce(q=0.5)") is not None, formula_of_method("jocor"), formula_of_method("../loss.json")
    (True, None, None)
    """
    if label.partition("(")[0] not in LOSSES:
        return None  # a name of a table may be anything, a path too
    try:
        return _of_loss(bare_loss(MethodSpec.parse(label)))
    except ARLError:
        return None


def _of_loss(loss: RobustLoss) -> Markup:
    return Markup(to_mathml(export_loss(loss, "latex")))
