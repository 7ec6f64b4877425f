"""The gated loss under `torch.compile` against itself in eager mode, in double precision where nothing else is said."""

import copy
import shutil

import pytest
import torch
import torch._dynamo
import torch.nn.functional as F
from torch._dynamo.testing import CompileCounterWithBackend

from autorobustloss.errors import LossInputError
from autorobustloss.losses import GatedLoss, create_loss, kernel
from autorobustloss.losses.gated import fused

GATES = [
    {},
    {"q": 0.0, "r": 0.0, "odds": 0.0, "own": 0.0, "progress": None, "smoothing": 0.0},
    {"q": 0.6, "r": 2.0, "progress": 3.0, "own": 0.0, "terms": [0.5, -0.7, 0.3, -1.1, 0.4], "smoothing": 0.0},
    {"q": 0.35, "r": 0.0, "progress": 1.2, "prior": 0.7, "pace": 1.0},
]


@pytest.fixture(autouse=True)
def forget_compiled_code():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def batches(count=4, rows=24, classes=6, dtype=torch.float64, seed=0):
    draw = torch.Generator().manual_seed(seed)
    for _ in range(count):
        labels = torch.randint(classes, (rows,), generator=draw)
        logits = 2 * torch.randn(rows, classes, generator=draw, dtype=torch.float64)
        yield (logits + 1.5 * F.one_hot(labels, classes)).to(dtype), labels


def gradient(loss, logits, labels):
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


def assert_same(one, other, **tolerance):
    torch.testing.assert_close(one, other, **tolerance)


def compiled(loss, backend="aot_eager", **options):
    return torch.compile(loss, fullgraph=True, backend=backend, **options)


@pytest.mark.parametrize("gate", GATES, ids=repr)
def test_trains_alike(gate):
    usual, loss = GatedLoss(**gate), GatedLoss(**gate)
    step = compiled(loss)
    for number, (logits, labels) in enumerate(batches()):
        labels[: 2 * number] = -100
        assert_same(gradient(step, logits, labels), gradient(usual, logits, labels))
        assert_same(loss.state.memory(), usual.state.memory())
    with torch.no_grad():
        assert_same(step(logits, labels), usual(logits, labels))
    usual.eval(), loss.eval()
    assert_same(gradient(step, logits, labels), gradient(usual, logits, labels))
    assert_same(loss.state.memory(), usual.state.memory())


def test_is_one_node_of_the_graph():
    seen = []

    def backend(graph, inputs):
        seen.append([node.target for node in graph.graph.nodes if node.op == "call_function"])
        return graph

    loss = GatedLoss()
    for logits, labels in batches(dtype=torch.float32):
        gradient(compiled(loss, backend), logits, labels)
    assert len(seen) == 2  # the first batch, before which nothing is known, has a graph of its own
    assert fused.mean in seen[1]
    assert F.log_softmax not in seen[1]


def test_compiles_twice_for_any_number_of_batches():
    counter = CompileCounterWithBackend("aot_eager")
    step = compiled(GatedLoss(), counter)
    for logits, labels in batches(6, dtype=torch.float32):
        gradient(step, logits, labels)
    assert counter.frame_count == 2


@pytest.mark.parametrize("classes", [6, 3000])
def test_nothing_reaches_a_sample_that_is_ignored(classes):
    loss, usual = GatedLoss(), GatedLoss()
    step = compiled(loss)
    for logits, labels in batches(3, classes=classes, dtype=torch.float32):
        labels[:3] = -100
        logits[:2] = torch.tensor([torch.inf, torch.nan]).unsqueeze(1)
        value, slope = gradient(step, logits, labels)
        wanted, slopes = gradient(usual, logits, labels)
        assert_same(value, wanted, rtol=1e-5, atol=1e-6)
        assert_same(slope, slopes, rtol=1e-5, atol=1e-6)
        assert not slope[:3].any()
    labels[:] = -100
    value, slope = gradient(step, logits, labels)
    assert value == 0
    assert not slope.any()


@pytest.mark.parametrize("classes", [6, 3000])
def test_masked_classes(classes):
    loss, usual = GatedLoss(), GatedLoss()
    step = compiled(loss)
    for logits, labels in batches(3, classes=classes, dtype=torch.float32):
        logits[:4, :2] = torch.tensor([-torch.inf, torch.finfo(torch.float32).min])
        labels[:4] = torch.tensor([2, 3, 4, 5])
        for found, wanted in zip(gradient(step, logits, labels), gradient(usual, logits, labels)):
            assert_same(found, wanted, rtol=1e-5, atol=1e-6)
    assert_same(loss.state.memory(), usual.state.memory(), rtol=1e-4, atol=1e-5)


def test_what_does_not_fit_is_named_as_in_eager_mode():
    loss = GatedLoss()
    step = torch.compile(loss, backend="aot_eager")
    for logits, labels in batches(2, dtype=torch.float32):
        gradient(step, logits, labels)
    before, same = loss.state.memory(), copy.deepcopy(loss)
    for target in (labels[1:], labels.bool(), labels.unsqueeze(1)):
        with pytest.raises(LossInputError):
            step(logits, target)
    assert torch.equal(loss.state.memory(), before)
    assert_same(gradient(step, logits, labels.int()), gradient(same, logits, labels), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    loss, usual = GatedLoss(), GatedLoss()
    step = compiled(loss)
    for logits, labels in batches(3, dtype=dtype):
        value, slope = gradient(step, logits, labels)
        wanted, slopes = gradient(usual, logits, labels)
        assert (value.dtype, slope.dtype) == (torch.float32, dtype)
        assert_same(value, wanted)
        assert_same(slope, slopes)


def test_under_autocast():
    network, loss, usual = torch.nn.Linear(5, 4), GatedLoss(), GatedLoss()
    x, y = torch.randn(8, 5), torch.randint(4, (8,))

    def run(criterion):
        with torch.autocast("cpu", torch.bfloat16):
            value = criterion(network(x), y)
        return value, torch.autograd.grad(value, network.weight)[0]

    step = compiled(loss)
    for _ in range(3):
        assert_same(run(step), run(usual))


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{"reduction": "none"}, {"reduction": "sum"}, {"weight": torch.tensor([1.0, 2, 3, 4, 5, 6])}]
)
def test_what_is_not_the_usual_mean(options):
    usual, loss = GatedLoss(**options), GatedLoss(**options)
    step = compiled(loss)
    for number, (logits, labels) in enumerate(batches()):
        labels[:number] = -100
        found, wanted = (gradient(lambda z, y, f=f: f(z, y).sum(), logits, labels) for f in (step, usual))
        assert_same(found, wanted)
        weighed = {"sample_weight": torch.linspace(0, 2, 24)}
        assert_same(step(logits, labels, **weighed), usual(logits, labels, **weighed))
        assert_same(loss.state.memory(), usual.state.memory())


@pytest.mark.slow
def test_batches_of_any_size():
    usual, loss = GatedLoss(), GatedLoss()
    step = compiled(loss, dynamic=True)
    for rows in (24, 7, 30, 1):
        ((logits, labels),) = batches(1, rows=rows, dtype=torch.float32)
        assert_same(gradient(step, logits, labels), gradient(usual, logits, labels), rtol=1e-5, atol=1e-6)


class TestKernel:
    """Large batches on a CPU are one call of the kernel inside of the graph."""

    @pytest.fixture
    def calls(self, count_sweeps):
        if not kernel.available():
            pytest.skip("the loss was not compiled: no C compiler when the package was installed")
        return count_sweeps(fused)

    @pytest.mark.parametrize("gate", GATES[:3], ids=repr)
    def test_trains_alike(self, gate, calls):
        loss, exact = GatedLoss(**gate), GatedLoss(**gate)
        step = compiled(loss)
        for logits, labels in batches(4, 64, 1024, torch.float32):
            value, slope = gradient(step, logits, labels)
            wanted, slopes = gradient(exact, logits.double(), labels)
            assert_same(value.double(), wanted, rtol=1e-5, atol=1e-6)
            assert_same(slope.double(), slopes, rtol=1e-5, atol=1e-7)
        assert_same(loss.state.memory().double(), exact.state.memory(), rtol=1e-5, atol=1e-6)
        assert calls == [True] * 3  # the first batch, before which nothing is known, is worked out by PyTorch

    def test_evaluation_leaves_the_memory_alone(self, calls):
        loss = GatedLoss()
        step = compiled(loss)
        for logits, labels in batches(2, 64, 1024, torch.float32):
            gradient(step, logits, labels)
        before = loss.state.memory()
        with torch.no_grad():
            step(logits, labels)
        loss.eval()
        with torch.no_grad():
            value = step(logits, labels)
        assert_same(value, copy.deepcopy(loss)(logits, labels), rtol=1e-5, atol=1e-6)
        assert torch.equal(loss.state.memory(), before)
        assert len(calls) == 3

    def test_the_operation_says_what_it_does(self, calls):
        ((logits, labels),) = batches(1, 8, 5, torch.float32)
        arguments = logits, labels, -100, list(fused.packed(GatedLoss().gate)), torch.zeros(17), True, True
        torch.library.opcheck(fused.gated_loss, arguments)
        torch.library.opcheck(fused.gated_loss, (*arguments[:-2], False, False))


def test_numbers_in_a_row():
    for gate in (GatedLoss(**options).gate for options in GATES):
        assert fused.unpacked(fused.packed(gate)) == gate


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("classes", [6, 3000])
def test_machine_code(classes):
    loss, usual = create_loss("arl"), create_loss("arl")
    step = compiled(loss, "inductor")
    for number, (logits, labels) in enumerate(batches(4, classes=classes, dtype=torch.float32)):
        labels[:number] = -100
        for found, wanted in zip(gradient(step, logits, labels), gradient(usual, logits, labels)):
            assert_same(found, wanted, rtol=1e-5, atol=1e-6)
    assert_same(loss.state.memory(), usual.state.memory(), rtol=1e-4, atol=1e-5)
