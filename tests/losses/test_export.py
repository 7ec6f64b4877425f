"""A loss written out in another library is the loss: values and gradients."""

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from autorobustloss.errors import ConfigError, UnsupportedArgumentError
from autorobustloss.losses import GatedLoss, RobustLoss, TaylorLoss, create_loss, list_losses
from autorobustloss.losses.export import export_loss

THETA = [0.4, 0.5, -1.0, 0.5, 0.3, -0.2, -1.0, 0.3, 0.4, 0.2, -0.1, 0.6]
NOISE = [[0.8 if i == j else 0.05 for j in range(5)] for i in range(5)]
NEEDED = {"taylor": {"theta": THETA, "log_weight": 0.2}, "forward": {"T": NOISE}}
OTHERS = [
    ("gce", {"q": 0.3, "legacy": True}), ("gce_truncated", {"prune": True, "k": 0.3}), ("huber", {"delta": 0.3}),
    ("rce", {"legacy": True}), ("sce", {"alpha": 6.0, "beta": 0.1, "legacy": True}), ("nfl", {"legacy": True}),
    ("nfl+mae", {"legacy": True}), ("nce+rce", {"legacy": True}), ("anl_fl", {"legacy": True, "p_min": 1e-3}),
    ("jal_fl", {"legacy": True}), ("ce_eps+mae", {"m": 5.0, "legacy": True}), ("taylor_ce", {"order": 6}),
    ("fl_eps+mae", {"m": 5.0, "legacy": True}), ("bi_tempered", {"t1": 1.0, "t2": 1.0}),
    ("bi_tempered", {"t1": 0.5, "t2": 4.0}),
    ("bi_tempered", {"t1": 0.3, "t2": 0.8, "num_iters": 40, "label_smoothing": 0.1}), ("logit_bias", {"bias": 1.5}),
    ("logit_bias", {"loss": "nce+mae"}), ("logit_bias", {"loss": "bi_tempered"}), ("antidote", {"delta": 0.02}),
    ("antidote", {"kappa": 2.0}), ("taylor", {"theta": THETA, "log_weight": 0.3, "log_power": 0.6, "scale": "0.3max"}),
]  # fmt: skip
GATED = {n for n in list_losses() if n == "gated" or isinstance(create_loss(n, **NEEDED.get(n, {})), GatedLoss)}
CASES = [(n, NEEDED.get(n, {})) for n in list_losses() if n not in GATED] + OTHERS
QUICK = {"gce", "taylor", "nfl+mae"}
"""Losses that JAX, which compiles each operation, is tried with every time; with the others in the slow tests."""
each_case_of_jax = pytest.mark.parametrize(
    ("name", "options"),
    [pytest.param(n, o, marks=[] if n in QUICK else pytest.mark.slow) for n, o in CASES],
    ids=[f"{n}-{list(o)}" for n, o in CASES],
)
each_case = pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{n}-{list(o)}" for n, o in CASES])
GATES = [
    {},
    {"q": 0.0, "r": 0.0, "progress": None},
    {"q": 0.4, "r": 1.5, "terms": (0.3, -0.2, 0.1, 0.4, -0.5), "prior": 0.5},
    {"q": 2.0, "r": 0.5, "progress": 3.0, "pace": 0.7, "prior": 1.0},
    *([{"q": 0.3, "odds": 1.5, "own": 1.0, "smoothing": 0.1}] if "odds" in GatedLoss().hyperparameters() else []),
]
WEIGHT = np.linspace(0.5, 2, 5)
LABELS = np.array([0, 3, 1, 4, -100, 2, 2])


def logits(seed=0, rows=7):
    return 2 * np.random.default_rng(seed).normal(size=(rows, 5))


@pytest.fixture
def written(tmp_path):
    """Return what is in a file with a loss that was written out."""

    def load(loss, format):
        path = tmp_path / f"exported_{format}.py"
        path.write_text(export_loss(loss, format), encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def ours(name, options, z, labels, **arguments):
    """Return value and gradient of a loss here."""
    leaf = torch.tensor(z, requires_grad=True)
    weight = arguments.pop("weight", None)
    weight = weight if weight is None else torch.tensor(weight)
    loss = create_loss(name, **options, weight=weight, **arguments)
    value = loss(leaf, torch.tensor(labels))
    return value.detach().numpy(), torch.autograd.grad(value.sum(), leaf)[0].numpy()


def calls():
    """Return the arguments that a loss is tried with."""
    return [
        {}, {"reduction": "sum", "weight": WEIGHT}, {"reduction": "none"}, {"weight": WEIGHT, "ignore_index": 2}
    ]  # fmt: skip


@each_case
def test_torch(name, options, written):
    function = written(create_loss(name, **options), "torch").loss
    for call in calls():
        labels = np.where(LABELS == -100, call.get("ignore_index", -100), LABELS)
        given = {k: torch.tensor(v) if k == "weight" else v for k, v in call.items()}
        leaf = torch.tensor(logits(), requires_grad=True)
        value = function(leaf, torch.tensor(labels), **given)
        found = value.detach().numpy(), torch.autograd.grad(value.sum(), leaf)[0].numpy()
        for one, other in zip(found, ours(name, options, logits(), labels, **call)):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)
    dense = (
        torch.tensor(logits(rows=8)).reshape(2, 4, 5).movedim(2, 1),
        torch.tensor([0, 3, 1, 4, -100, 2, 2, 1]).reshape(2, 4),
    )
    torch.testing.assert_close(function(*dense), create_loss(name, **options)(*dense), rtol=1e-6, atol=1e-8)


def test_torch_under_vmap(written):
    function, z = written(create_loss("gce"), "torch").loss, torch.tensor(logits(rows=8)).reshape(2, 4, 5)
    labels = torch.tensor([[0, 3, 1, 4], [0, 2, 2, 1]])
    found = torch.vmap(lambda a, b: function(a, b, ignore_index=None))(z, labels)
    torch.testing.assert_close(found, torch.stack([function(a, b) for a, b in zip(z, labels)]))


@each_case
def test_numpy(name, options, written):
    function = written(create_loss(name, **options), "numpy").loss
    for call in calls():
        labels = np.where(LABELS == -100, call.get("ignore_index", -100), LABELS)
        value, slope = ours(name, options, logits(), labels, **call)
        np.testing.assert_allclose(function(logits(), labels, **call), value, rtol=1e-6, atol=1e-8)
    assert function(logits().astype(np.float32), LABELS).dtype == np.float32
    assert function(logits().reshape(1, 7, 5), LABELS.reshape(1, 7), reduction="none").shape == (1, 7)
    if create_loss(name, **options).detached or options.get("legacy") or name == "bi_tempered":
        return  # the gradient is not the slope of the value, or the value is not exact
    step = 1e-5 * np.eye(35).reshape(35, 7, 5)
    slopes = [(function(logits() + e, labels, **call) - function(logits() - e, labels, **call)) / 2e-5 for e in step]
    np.testing.assert_allclose(np.reshape(slopes, (7, 5)), slope, rtol=1e-5, atol=1e-8)


@each_case_of_jax
def test_jax(name, options, written):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    function = written(create_loss(name, **options), "jax").loss
    for call in calls():
        labels = np.where(LABELS == -100, call.get("ignore_index", -100), LABELS)
        value, slope = ours(name, options, logits(), labels, **call)
        both = jax.value_and_grad(lambda z: function(z, labels, **call).sum())(logits())  # noqa: B023
        np.testing.assert_allclose(both[0], value.sum(), rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(both[1], slope, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(jax.jit(function)(logits(), LABELS), ours(name, options, logits(), LABELS)[0], rtol=1e-6)


@pytest.fixture
def keras():
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    found = pytest.importorskip("keras")
    if found.backend.backend() != "torch":
        pytest.skip("Keras runs on another backend")
    return found


@each_case
def test_keras(name, options, written, keras):
    made = written(create_loss(name, **options), "keras").Loss
    z = logits().astype(np.float32)
    for arguments, call in (
        ({}, {}),
        ({"weight": WEIGHT.tolist(), "ignore_index": 2}, {"weight": WEIGHT.astype(np.float32), "ignore_index": 2}),
        ({"reduction": "sum"}, {"reduction": "sum"}),
        ({"reduction": None}, {"reduction": "none"}),
    ):
        labels = np.where(LABELS == -100, call.get("ignore_index", -100), LABELS)
        leaf = torch.tensor(z, requires_grad=True)
        value = made(**arguments)(labels[:, None] if "weight" in call else labels, leaf)
        found = value.detach().numpy(), torch.autograd.grad(value.sum(), leaf)[0].numpy()
        for one, other in zip(found, ours(name, options, z, labels, **call)):
            np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)
    again = made.from_config(made(ignore_index=3).get_config())
    assert again.ignore_index == 3


def steps(count=6):
    """Return logits and labels of a training, some of them ignored."""
    draw = np.random.default_rng(1)
    for number in range(count):
        labels = draw.integers(0, 5, 12)
        labels[:number] = -100
        yield (0.5 + number) * draw.normal(size=(12, 5)), labels


@pytest.mark.parametrize("gate", [*GATES, *sorted(GATED - {"gated"})], ids=str)
class TestGated:
    """Six batches, one after the other: what is remembered of each weighs the next."""

    def loss(self, gate, **arguments):
        return create_loss(gate, **arguments) if isinstance(gate, str) else GatedLoss(**gate, **arguments)

    def wanted(self, gate, dtype=np.float64, **arguments):
        loss = self.loss(gate, **arguments)
        for z, labels in steps():
            leaf = torch.tensor(z.astype(dtype), requires_grad=True)
            value = loss(leaf, torch.tensor(labels))
            yield value.detach().numpy(), torch.autograd.grad(value.sum(), leaf)[0].numpy()
        loss.eval()
        z, labels = next(steps(1))
        yield loss(torch.tensor(z.astype(dtype)), torch.tensor(labels)).numpy(), None

    CALLS = ({}, {"reduction": "none"}, {"reduction": "sum", "weight": WEIGHT})

    @pytest.mark.parametrize("call", CALLS, ids=["mean", "none", "sum"])
    def test_numpy(self, gate, call, written):
        given = {k: torch.tensor(v) if k == "weight" else v for k, v in call.items()}
        wanted = list(self.wanted(gate, **given))
        module = written(self.loss(gate), "numpy")
        state = module.initial_state(5)
        for (z, labels), (value, _) in zip(steps(), wanted):
            found, state = module.loss(z, labels, state, **call)
            np.testing.assert_allclose(found, value, rtol=1e-6, atol=1e-9)
        z, labels = next(steps(1))
        found, same = module.loss(z, labels, state, training=False, **call)
        np.testing.assert_allclose(found, wanted[-1][0], rtol=1e-6)
        assert all(np.array_equal(a, b) for a, b in zip(state, same))

    @pytest.mark.parametrize(
        "call", [pytest.param(c, marks=pytest.mark.slow if c else []) for c in CALLS], ids=["mean", "none", "sum"]
    )
    def test_jax(self, gate, call, written):
        jax = pytest.importorskip("jax")
        jax.config.update("jax_enable_x64", True)
        wanted = list(self.wanted(gate, **{k: torch.tensor(v) if k == "weight" else v for k, v in call.items()}))
        module = written(self.loss(gate), "jax")
        state = module.initial_state(5)

        @jax.jit
        def step(z, labels, state):
            def total(z):
                value, after = module.loss(z, labels, state, **call)
                return value.sum(), after

            return jax.value_and_grad(total, has_aux=True)(z)

        for (z, labels), (value, slope) in zip(steps(), wanted):
            (found, state), gradient = step(z, labels, state)
            np.testing.assert_allclose(found, value.sum(), rtol=1e-6, atol=1e-9)
            np.testing.assert_allclose(gradient, slope, rtol=1e-6, atol=1e-9)
        z, labels = next(steps(1))
        found, _ = module.loss(z, labels, state, training=False, **call)
        np.testing.assert_allclose(found, wanted[-1][0], rtol=1e-6)

    def test_keras(self, gate, written, keras):
        loss, wanted = written(self.loss(gate), "keras").Loss(5), list(self.wanted(gate, np.float32))
        for (z, labels), (value, slope) in zip(steps(), wanted):
            leaf = torch.tensor(z.astype(np.float32), requires_grad=True)
            found = loss(labels, leaf)
            np.testing.assert_allclose(found.item(), value, rtol=2e-4, atol=1e-5)
            np.testing.assert_allclose(torch.autograd.grad(found, leaf)[0].numpy(), slope, rtol=2e-3, atol=1e-5)
        loss.callback().on_test_begin()
        z, labels = next(steps(1))
        before = [variable.numpy().copy() for variable in loss.state]
        np.testing.assert_allclose(loss(labels, z.astype(np.float32)).item(), wanted[-1][0], rtol=2e-4)
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, loss.state))


def test_a_keras_model_trains_with_a_gated_loss(written, keras):
    loss = written(GatedLoss(), "keras").Loss(3)
    x = np.random.default_rng(0).normal(size=(90, 4)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 1)
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.05), loss)
    model.fit(x, y, epochs=2, verbose=0, validation_data=(x, y), callbacks=[loss.callback()])
    assert loss.state[2].numpy().sum() == 2 * 90


KERAS_ON_JAX = """
import numpy as np, jax, keras, exported
assert keras.backend.backend() == "jax"
z, labels = np.random.default_rng(0).normal(size=(6, 5)).astype("float32"), np.array([0, 1, 2, 3, 4, -100])
value, slope = jax.value_and_grad(lambda z: exported.Loss()(labels, z))(z)
print(float(value), float(abs(slope).sum()))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gce", "arl-mild", "bi_tempered", "antidote", "ldr_kl", "fl_eps+mae"])
def test_keras_on_jax(name, tmp_path):
    if not all(importlib.util.find_spec(module) for module in ("jax", "keras")):
        pytest.skip("needs Keras and JAX")
    (tmp_path / "exported.py").write_text(export_loss(create_loss(name), "keras"))
    done = subprocess.run(
        [sys.executable, "-c", KERAS_ON_JAX], env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    z = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    value, slope = ours(name, {}, z, np.array([0, 1, 2, 3, 4, -100]))
    wanted = [float(value), float(abs(slope).sum())]
    assert [float(word) for word in done.stdout.split()] == pytest.approx(wanted, rel=1e-3)


@each_case
def test_latex_is_drawn(name, options):
    """matplotlib knows a part of LaTeX, which finds brackets that do not match and commands that do not exist."""
    from matplotlib.mathtext import MathTextParser

    text = export_loss(create_loss(name, **options), "latex")
    assert not re.search(r"= \\[;,]", text)  # a factor of 1 is left out, a value of 1 is not
    MathTextParser("path").parse(f"${text}$")
    assert not re.search(r"\{\{|\}\} |None|True|False", text)


@pytest.mark.parametrize("format", ["torch", "numpy", "jax", "keras"])
def test_a_file_needs_one_library(format):
    for name in ("gce", "arl", "gated", "antidote"):
        imports = re.findall(r"^(?:import|from) (\w+)", export_loss(create_loss(name), format), re.M)
        assert set(imports) <= {"math", format}


@pytest.mark.parametrize("format", ["torch", "numpy", "jax"])
def test_what_is_written_out_refuses_other_targets(format, written):
    if format == "jax":
        pytest.importorskip("jax")
    function = written(create_loss("gce"), format).loss
    one = torch.tensor if format == "torch" else np.asarray
    for bad in (np.zeros(7), np.zeros((7, 5), dtype=int), np.zeros(6, dtype=int)):
        with pytest.raises(ValueError, match="expected"):
            function(one(logits()), one(bad))
    with pytest.raises(ValueError, match="expected mean, sum or none"):
        function(one(logits()), one(LABELS), reduction="average")


def test_what_cannot_be_written_out_says_so():
    class Own(RobustLoss):
        def hard(self, logits, labels):
            return nn.functional.cross_entropy(logits, labels, reduction="none")

    for format in ("torch", "numpy", "jax", "keras", "latex"):
        with pytest.raises(UnsupportedArgumentError, match="Own"):
            export_loss(Own(), format)
    with pytest.raises(UnsupportedArgumentError, match="label_smoothing"):
        export_loss(create_loss("gce", label_smoothing=0.1), "jax")
    with pytest.raises(ConfigError, match="expected one of torch, numpy, jax, keras, latex"):
        export_loss(create_loss("gce"), "julia")


def test_every_loss_is_written_out():
    for name in list_losses():
        for format in ("torch", "numpy", "jax", "keras"):
            compile(export_loss(create_loss(name, **NEEDED.get(name, {})), format), name, "exec")


def test_numbers_of_a_taylor_loss_are_worked_out_once(written):
    for format in ("torch", "numpy"):
        module = written(TaylorLoss(THETA, scale="max"), format)
        one = torch.tensor if format == "torch" else np.asarray
        first = module.loss(one(logits()), one(LABELS))
        module.d1 = None  # what the scale is made of is not called again
        assert module.loss(one(logits()), one(LABELS)) == first


def test_gated_is_written_out_with_all_its_numbers():
    """A number that a gated loss gains must find its way into what is written out; then it may be added here."""
    known = {"q", "r", "terms", "progress", "prior", "pace", "odds", "own", "smoothing"}
    assert GatedLoss().hyperparameters().keys() <= known
