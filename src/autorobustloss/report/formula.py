"""Formulas of losses for a page: as MathML, or None where a loss has none that can be written out."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import tostring

from latex2mathml.converter import convert_to_element
from markupsafe import Markup

from autorobustloss.errors import ARLError
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.cards import LossCard
from autorobustloss.losses.export import export_loss
from autorobustloss.methods.criterion import bare_loss
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import LOSSES

BELOW = ("∑", "min", "max")
"""What its lower limit stands below."""


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


def to_mathml(latex: str) -> str:
    r"""Return LaTeX for math mode as MathML, a `<math>` element for each part that `, \quad` sets apart.

    >>> to_mathml(r"p_y, \quad p = z").count("</math>")
    2
    """
    parts = []
    for part in latex.strip().split(r", \quad "):
        math = convert_to_element(part, display="block")
        del math.attrib["xmlns"]  # which HTML knows by itself, and looks like an address
        for element in math.iter():
            element.text = html.unescape(element.text or "")  # the converter writes signs as entities
            if element.tag in ("msub", "msubsup") and html.unescape(element[0].text or "") in BELOW:
                element.tag = {"msub": "munder", "msubsup": "munderover"}[element.tag]
        parts.append(tostring(math, encoding="unicode"))
    return "".join(parts)
