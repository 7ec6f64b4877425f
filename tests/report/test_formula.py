"""Every formula that we write out becomes MathML with the same signs."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from autorobustloss.errors import ARLError
from autorobustloss.losses import create_loss
from autorobustloss.losses.export import export_loss
from autorobustloss.registry import LOSSES
from autorobustloss.report.formula import to_mathml


def formulas():
    for name in sorted(LOSSES):
        try:
            yield name, export_loss(create_loss(name), "latex")
        except ARLError:  # it needs numbers, or has no formula
            continue


FORMULAS = dict(formulas())


def test_there_are_formulas():
    assert len(FORMULAS) > 30


@pytest.mark.parametrize("name", FORMULAS)
def test_no_sign_is_lost(name):
    """Numbers, letters and operators of the LaTeX stand in the MathML, and no others."""
    latex = FORMULAS[name]
    words = re.sub(r"\\(?:mathrm|text)\{([^}]*)\}", lambda m: m[1].replace("\\ ", ""), latex)
    words = words.replace(r", \quad ", "")  # a line each
    plain = re.sub(r"\\(?:frac|left|right|hat|bar|quad|sum|[,;! ])|[{}_^\s]", "", words)
    plain = re.sub(r"\\(log|exp|min|max)", r"\1", plain).replace("-", "−")
    signs = {r"\varepsilon": "ε", r"\lambda": "λ", r"\leq": "≤", r"\ldots": "…", r"\cdot": "·", r"\|": "‖", r"\to": "→"}
    for command, sign in signs.items():
        plain = plain.replace(command, sign)
    root = ElementTree.fromstring(f"<div>{to_mathml(latex)}</div>")
    shown = re.sub(r"[∑^¯\s]", "", "".join(root.itertext()))
    assert sorted(shown) == sorted(plain)


def test_a_fraction_a_sum_and_an_accent():
    found = to_mathml(r"\frac{1}{C} \sum_k \hat{y}_k^{2}, \quad a < b")
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mi>C</mi></mrow></mfrac>" in found
    assert "<munder><mo>∑</mo><mi>k</mi></munder>" in found
    assert '<mover accent="true"><mrow><mi>y</mi></mrow><mo>^</mo></mover>' in found
    assert "<mo>&lt;</mo>" in found
