"""A loss written out is the loss."""

import importlib
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.losses import TaylorLoss, create_loss
from autorobustloss.losses.taylor.export import as_latex, as_text

THETA = [0.4, 0.5, -1.0, 0.5, 0.3, -0.2, -1.0, 0.3, 0.4, 0.2, -0.1, 0.6]
SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def value_and_grad(loss, logits, labels):
    logits = logits.clone().requires_grad_()
    value = loss(logits, labels)
    value.backward()
    return value.detach(), logits.grad


@pytest.mark.parametrize("scale", [None, 2.5, "init", "max", "geometric", "0.3max"])
@pytest.mark.parametrize("theta", [THETA, [0, 0, 0, 0, -1.0], [0.0, 0.0, 1.0, 0.0, 0.0]])
@pytest.mark.parametrize("power", [0.0, 0.6])
def test_exported_code_is_the_loss(theta, scale, power):
    loss = TaylorLoss(theta, 0.3, scale, log_power=power)
    names = exported(loss)
    written = {"torch", "loss", "learned_loss", "rows", "scale", "SCALES", "d0", "d1", "log_softmax", "pick"}
    assert {name for name in names if not name.startswith("__")} <= written
    for classes in (3, 10):
        logits = torch.randn(6, classes, dtype=torch.float64)
        labels = torch.randint(0, classes, (6,))
        for got, wanted in zip(value_and_grad(names["loss"], logits, labels),
                               value_and_grad(loss, logits, labels)):  # fmt: skip
            torch.testing.assert_close(got, wanted, rtol=1e-7, atol=1e-10)


def exported(loss):
    names: dict = {}
    exec(compile(loss.code(), "exported.py", "exec"), names)
    return names


@pytest.mark.parametrize("name", ["arl-taylor", "arl-mild", "arl-ar-s80"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, torch.linspace(0.5, 2, 10)], ids=["plain", "weighted"])
@pytest.mark.parametrize("ignored", [-100, 3])
def test_exported_code_takes_the_same_arguments(name, reduction, weight, ignored):
    function = exported(create_loss(name))["loss"]
    arguments = {"weight": weight, "reduction": reduction, "ignore_index": ignored}
    loss = create_loss(name, **arguments)
    for shape in ((12,), (2, 6), (2, 2, 3)):
        logits = torch.randn(shape[0], 10, *shape[1:])
        labels = torch.randint(10, shape)
        labels.view(-1)[::3] = ignored
        logits.movedim(1, -1).reshape(-1, 10)[0] = torch.inf if len(shape) == 1 else 0.0
        logits[0, 4] = -torch.inf
        for target in (labels, labels.int(), torch.full_like(labels, ignored)):
            results = []
            for call in (lambda z, y: function(z, y, **arguments), loss):
                leaf = logits.clone().requires_grad_()
                value = call(leaf, target)
                results.append((value, *torch.autograd.grad(value.sum(), leaf)))
            torch.testing.assert_close(*results, rtol=1e-5, atol=1e-6)
    half = torch.randn(4, 10, dtype=torch.bfloat16)
    assert function(half, torch.arange(4)).dtype == torch.float32


@pytest.mark.parametrize(
    "target",
    [
        torch.full((4, 5), 0.2),
        torch.eye(5, dtype=torch.long)[:4],
        torch.zeros(4),
        torch.zeros(4, dtype=torch.bool),
        torch.zeros(5, dtype=torch.long),
        torch.zeros(1, dtype=torch.long),
        torch.tensor(0),
    ],
    ids=["probabilities", "one-hot", "float", "bool", "one more", "one", "scalar"],
)
def test_exported_code_refuses_other_targets(target):
    function = exported(create_loss("arl-taylor"))["loss"]
    with pytest.raises(ValueError, match="expected logits"):
        function(torch.randn(4, 5), target)
    with pytest.raises(ValueError, match="expected logits"):
        function(torch.randn(5), torch.tensor(0))


def test_exported_code_has_no_terms_that_are_0():
    code = TaylorLoss([0, 0, 0, 0, -1], 0.5, scale="init").code()
    assert "p * p" not in code
    assert "(0.0)" not in code


def test_exported_code_works_its_scale_out_once(monkeypatch):
    names = exported(create_loss("arl-taylor"))
    logits, labels = torch.randn(4, 10), torch.arange(4)
    first = names["loss"](logits, labels)
    names["d1"] = None  # what it is made of is not called again
    assert torch.equal(names["loss"](logits, labels), first)


@pytest.mark.slow
def test_exported_code_compiles(tmp_path, monkeypatch):
    (tmp_path / "exported_loss.py").write_text(create_loss("arl-taylor").code(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("exported_loss").loss
    torch._dynamo.reset()
    logits, labels = torch.randn(4, 10), torch.arange(4)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(logits, labels), create_loss("arl-taylor")(logits, labels))


def parsed(text):
    """Turn the text formula into a function of (probabilities, label) by rewriting its signs."""
    inside = re.search(r"\[(.*)\]", text)[1].translate(SUPERSCRIPTS).replace("−", "-")
    inside = re.sub(r"(ŷ_y|ŷₖ)(\d)", r"\1**\2", inside)
    inside = re.sub(r"([\d.]) (ŷ|log)", r"\1 * \2", inside)
    inside = re.sub(r"Σₖ \((.*?)\)", r"sum(\1 for q in p)", inside).replace("log ŷ_y", "p[y].log()")
    return inside.replace("ŷₖ", "q").replace("ŷ_y", "p[y]")


@given(theta=st.lists(st.integers(-20, 20), min_size=10, max_size=10), alpha=st.integers(0, 3))
def test_text_says_what_the_loss_does(theta, alpha):
    """At θ₀ = θ₁ = 0 and round coefficients four digits are exact enough."""
    loss = TaylorLoss([0.0, 0.0, *theta], alpha / 4, reduction="none")
    logits, labels = torch.randn(4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2])
    code = compile(parsed(loss.formula()), "formula", "eval")
    shown = torch.stack([torch.as_tensor(eval(code, {"p": p, "y": y})) for p, y in zip(logits.softmax(1), labels)]) / 3
    actual = loss(logits, labels)
    # equal up to the constant that a formula leaves out
    torch.testing.assert_close(shown - shown[0], actual - actual[0], rtol=0, atol=0.02, check_dtype=False)


def test_text_by_hand():
    assert TaylorLoss([0.0] * 12, 1.0).formula() == "L = 1/C · [−log ŷ_y],  ŷ = softmax(z), y the label"
    assert TaylorLoss([0.0] * 5).formula().startswith("L = 1/C · [0],")
    gce = TaylorLoss([0.0] * 12, 1.0, "0.4max", log_power=0.5).formula().splitlines()
    assert gce[0] == "L = s/C · [−2 ŷ_y^0.5],  ŷ = softmax(z), y the label"
    assert gce[1].startswith("s = 0.4 · 1 / max")
    assert gce[1].endswith("d₁(ŷ) = −ŷ^-0.5,  d₀(ŷ) = 0")
    mae = TaylorLoss([0, 0, 0, 0, -1], scale="init").formula()
    assert mae.splitlines()[0] == "L = s/C · [−ŷ_y],  ŷ = softmax(z), y the label"
    assert mae.splitlines()[1].startswith("s = C² / (d₀(1/C) − d₁(1/C)),  d₁(ŷ) = −1,")


@pytest.mark.parametrize("scale", [None, 2.0, "init", "max", "geometric"])
def test_latex(scale):
    loss = TaylorLoss([1e-7 * t for t in THETA], 0.3, scale)
    text = as_latex(loss.canonical(), scale)
    assert text == loss.latex()
    assert text.count("{") == text.count("}")
    assert "e-" not in text
    assert r"\cdot 10^{-8}" in text
    pytest.importorskip("matplotlib")
    from matplotlib.mathtext import MathTextParser

    MathTextParser("path").parse(f"${text}$")


def test_text_of_a_form():
    loss = TaylorLoss(THETA, 0.3, "max")
    assert as_text(loss.canonical(), "max") == loss.formula()
    assert as_text(loss.canonical()).startswith("L = 1/C")
    assert len(as_text(loss.canonical()).splitlines()) == 1
