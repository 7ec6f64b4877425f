"""Every formula that we write out becomes MathML with the same signs; what is unknown is refused."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.errors import ARLError, ConfigError
from autorobustloss.losses import create_loss
from autorobustloss.losses.export import export_loss
from autorobustloss.registry import LOSSES
from autorobustloss.report.mathml import to_mathml


def formulas():
    for name in sorted(LOSSES):
        try:
            yield name, export_loss(create_loss(name), "latex")
        except ARLError:  # it needs numbers, or has no formula
            continue


FORMULAS = dict(formulas())


def shown(mathml):
    """Return the text that a reader sees, without spaces."""
    root = ElementTree.fromstring(mathml)
    return "".join(root.find("semantics")[0].itertext()).replace(" ", "")


def test_there_are_formulas():
    assert len(FORMULAS) > 30


@pytest.mark.parametrize("name", FORMULAS)
def test_no_sign_is_lost(name):
    """Numbers, letters and operators stand in the MathML in the order of the LaTeX."""
    latex = FORMULAS[name]
    words = re.sub(r"\\(?:mathrm|text)\{([^}]*)\}", lambda m: m[1].replace("\\ ", ""), latex)
    plain = re.sub(r"\\(?:frac|left|right|hat|bar|quad|sum|[,;! ])|[{}_^\s]", "", words)
    plain = re.sub(r"\\(log|exp|min|max)", r"\1", plain).replace("-", "−")
    signs = {r"\varepsilon": "ε", r"\lambda": "λ", r"\leq": "≤", r"\ldots": "…", r"\cdot": "·", r"\|": "∥", r"\to": "→"}
    for command, sign in signs.items():
        plain = plain.replace(command, sign)
    text = re.sub("[∑^¯]", "", shown(to_mathml(latex)))
    assert sorted(text) == sorted(plain)


@pytest.mark.parametrize("name", FORMULAS)
def test_it_has_the_structure_that_an_independent_converter_finds(name):
    other = pytest.importorskip("latex2mathml.converter").convert(FORMULAS[name])
    for tag in ("mfrac", "mn"):
        assert to_mathml(FORMULAS[name]).count(f"<{tag}>") == other.count(f"<{tag}>"), tag


def test_a_fraction_a_sum_and_an_accent():
    found = to_mathml(r"\frac{1}{C} \sum_k \hat{y}_k^{2}")
    assert "<mfrac><mrow><mn>1</mn></mrow><mrow><mi>C</mi></mrow></mfrac>" in found
    assert "<munder><mo>∑</mo><mi>k</mi></munder>" in found
    assert '<msubsup><mover accent="true"><mrow><mi>y</mi></mrow><mo stretchy="false">^</mo></mover>' in found


@pytest.mark.parametrize("latex", [r"\href{x}{y}", "{", "}", r"\frac{1}", r"\left( 1", "x^", "a^b^c", r"\text x", "&"])
def test_what_is_unknown_is_refused(latex):
    with pytest.raises(ConfigError, match="in the formula"):
        to_mathml(latex)


@given(st.text(st.sampled_from("<>&\"'{}\\^_ab1 ") | st.characters(exclude_categories=["Cs", "Cc"]), max_size=20))
def test_any_text_is_escaped_or_refused(text):
    try:
        found = to_mathml(text)
    except ConfigError:
        return
    assert ElementTree.fromstring(found).findtext(".//annotation") == text
