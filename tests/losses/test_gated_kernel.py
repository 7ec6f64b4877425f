"""The compiled gated loss against PyTorch's operations in double precision, and when it must not be used."""

import copy
import ctypes
import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from autorobustloss.errors import LossInputError
from autorobustloss.losses import GatedLoss, kernel
from autorobustloss.losses.base import value_and_gradient
from autorobustloss.losses.gated import module
from autorobustloss.losses.gated.core import State
from autorobustloss.losses.gated.sweep import _packed

if not kernel.available():
    pytest.skip("the loss was not compiled: no C compiler when the package was installed", allow_module_level=True)

LIBRARIES = [path.name for path in sorted(kernel.SOURCE.parent.glob("libkernel*.so"))]


@pytest.fixture
def calls(count_sweeps):
    return count_sweeps(module)


def batch(samples, classes, spread=2.0, seed=0):
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (samples,), generator=draw)
    return spread * torch.randn(samples, classes, generator=draw), labels


def state(loss):
    return State.of(loss.state.memory())


def assert_same_state(loss, other):
    for one, two in zip(state(loss), state(other)):
        torch.testing.assert_close(one.double(), two.double(), rtol=3e-6, atol=1e-6)


def gradient(loss, logits, labels):
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, labels)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


def share(largest):
    return st.sampled_from([0.0, 0.3, 1.0]) | st.floats(0, largest, width=32)


gates = st.fixed_dictionaries(
    {
        "q": share(2),
        "r": share(2),
        "odds": share(2),
        "own": share(1.25),
        "pace": share(1),
        "smoothing": share(0.5),
        "progress": st.none() | st.floats(0.125, 30, width=32),
        "terms": st.just((0.0,) * 5) | st.lists(st.floats(-2, 2, width=32), min_size=5, max_size=5),
    }
)


@settings(deadline=None)
@given(gates, st.integers(1, 40), st.integers(2, 70), st.sampled_from([0.0, 0.1, 2.0, 5.0]))
def test_value_gradient_and_state(gate, samples, classes, spread):
    loss, exact = GatedLoss(**gate), GatedLoss(**gate)
    for seed in range(3):
        logits, labels = batch(samples, classes, spread, seed)
        value, slope = value_and_gradient(loss, logits, labels)
        wanted, slopes = value_and_gradient(exact, logits.double(), labels)
        assert slope.dtype == torch.float32
        assume((exact.state.beliefs[exact.state.labels > 0] > 1e-36).all())  # which float32 has digits for
        torch.testing.assert_close(value.double(), wanted, rtol=2e-5, atol=2e-6 * (1 + spread))
        torch.testing.assert_close(samples * slope.double(), samples * slopes, rtol=2e-5, atol=2e-5)
        assert_same_state(loss, exact)
    loss.eval(), exact.eval()
    logits, labels = batch(samples, classes, spread, seed=9)
    torch.testing.assert_close(loss(logits, labels).double(), exact(logits.double(), labels), rtol=2e-5, atol=1e-4)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("classes", [2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 33, 100, 1000])
def test_every_library_writes_what_it_should_and_nothing_else(library, classes, monkeypatch):
    capability = torch.backends.cpu.get_cpu_capability()
    if not capability.startswith({"libkernel-avx512.so": "AVX512", "libkernel-avx2.so": "AVX"}.get(library, "")):
        pytest.skip(f"this processor cannot run {library}")
    loss = GatedLoss(pace=0.5, terms=[0.1, 0.2, -0.3, 0.4, 0.5])
    exact = copy.deepcopy(loss)
    logits, labels = batch(5, classes)
    sizes = {"gradient": 5 * classes, "weights": 5, "value": 1, "memory": 3 * classes + 2}
    memory = {name: torch.full((count + 64,), 7.0) for name, count in sizes.items()}
    inner = {name: values[32:-32] for name, values in memory.items()}
    inner["memory"].zero_()
    place = {name: values.data_ptr() for name, values in inner.items()}
    failed = kernel._library(library).gated_loss(
        logits.data_ptr(), labels.data_ptr(), 5, classes, -100, _packed(loss.gate),
        place["memory"], True, place["weights"], place["value"], place["gradient"],
    )  # fmt: skip
    assert not failed
    value, slope = value_and_gradient(exact, logits.double(), labels)
    torch.testing.assert_close(inner["value"][0].double(), value, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(inner["gradient"].view(5, classes).double(), slope, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(inner["memory"].double(), state(exact).memory(), rtol=2e-6, atol=1e-7)
    for values in memory.values():
        assert (values[:32] == 7).all()
        assert (values[-32:] == 7).all()


def test_confident_networks():
    loss, exact = GatedLoss(q=0.5), GatedLoss(q=0.5)
    logits = torch.tensor([[1e4, 0.0, -1e4], [-1e4, 1e4, 0.0], [90.0, 0.0, 0.0], [0.0, 17.0, 3.0], [8.0, 8.0, 8.0]])
    for label in (0, 1, 2):
        labels = torch.full((5,), label)
        value, slope = value_and_gradient(loss, logits, labels)
        wanted, slopes = value_and_gradient(exact, logits.double(), labels)
        torch.testing.assert_close(value.double(), wanted, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(slope.double(), slopes, rtol=1e-5, atol=1e-7)
        assert_same_state(loss, exact)


def test_a_small_rest_keeps_its_digits():
    """Where another class is as good as certain, 1 − m comes from the other classes, not from a difference."""
    loss, logits = GatedLoss(r=1.0, odds=0.0, own=0.0), torch.tensor([[0.0, 50.0, 20.0, 10.0]])
    loss(logits, torch.tensor([0]))
    rest = math.exp(-30) + math.exp(-40) + math.exp(-50)
    assert loss.state.beliefs[0].item() == pytest.approx(max(rest, math.exp(-60)), rel=1e-5)


def test_training_and_looking(calls):
    loss, other = GatedLoss(), GatedLoss()
    for seed in range(3):
        logits, labels = batch(20, 10, seed=seed)
        found = gradient(loss, logits, labels)
        with kernel.left_out():
            wanted = gradient(other, logits, labels)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        assert_same_state(loss, other)
    before = state(loss)
    with torch.no_grad():
        looked = loss(logits, labels)
    loss.eval(), other.eval()
    assert torch.equal(loss(logits, labels), looked)
    assert torch.equal(gradient(loss, logits, labels)[0], looked)
    assert calls == [True, False] * 3 + [True] * 3
    with kernel.left_out():
        torch.testing.assert_close(other(logits, labels), looked)
    assert all(map(torch.equal, state(loss), before))
    unknown = GatedLoss().eval()
    torch.testing.assert_close(unknown(logits, labels), GatedLoss()(logits, labels))
    assert len(unknown.state.beliefs) == 0


def test_the_same_bits_each_time():
    logits, labels = batch(300, 17)
    first, again = GatedLoss(pace=0.5), GatedLoss(pace=0.5)
    for _ in range(3):
        for one, two in zip(gradient(first, logits, labels), gradient(again, logits.clone(), labels)):
            assert torch.equal(one, two)
    assert all(map(torch.equal, state(first), state(again)))


@pytest.mark.parametrize(
    "change",
    [
        lambda z, y: (z.double(), y),
        lambda z, y: (z.bfloat16(), y),
        lambda z, y: (z.T.contiguous().T, y),
        lambda z, y: (z, y.int()),
        lambda z, y: (z, torch.nn.functional.one_hot(y, 10).float()),
        lambda z, y: (z, y.index_fill(0, torch.tensor([7]), -100)),
        lambda z, y: (z.index_fill(1, torch.tensor([9]), -math.inf), y.clamp_max(8)),
        lambda z, y: (z.index_fill(0, torch.tensor([7]), math.nan), y),
        lambda z, y: (z.index_fill(0, torch.tensor([7]), math.inf), y),
        lambda z, y: (z[:0], y[:0]),
    ],
)
def test_what_it_does_not_take_goes_the_other_way(calls, change):
    logits, labels = change(*batch(8, 10))
    loss, other = GatedLoss(), GatedLoss()
    with kernel.left_out():
        expected = other(logits, labels)
    assert torch.equal(loss(logits, labels).isnan(), expected.isnan())
    assert torch.equal(loss(logits, labels).nan_to_num(), other(logits, labels).nan_to_num())
    assert all(map(torch.equal, state(loss), state(other)))
    assert not any(calls)


@pytest.mark.parametrize(
    "options", [{"reduction": "sum"}, {"weight": torch.ones(10)}, {"prior": 0.5}, {"own": 3.0}, {"terms": [40.0] * 5}]
)
def test_other_losses_go_the_other_way(calls, options):
    assert GatedLoss(**options)(*batch(8, 10)).isfinite()
    assert not any(calls)


def test_a_batch_that_is_refused_leaves_no_trace():
    loss = GatedLoss()
    logits, labels = batch(8, 10)
    loss(logits, labels)
    before = state(loss)
    labels[7] = 10
    with pytest.raises(LossInputError, match=r"got labels \[10\]"):
        loss(logits, labels)
    assert all(map(torch.equal, state(loss), before))


def test_two_threads_leave_it_a_large_batch(calls):
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            GatedLoss()(*batch(700, 100))
    finally:
        torch.set_num_threads(before)
    assert calls == [True, True]


def test_derivatives_of_the_gradient(calls):
    found = []
    for precision in (torch.float32, torch.float64):
        loss = GatedLoss()
        logits, labels = batch(6, 5)
        leaf = logits.to(precision).requires_grad_()
        (slope,) = torch.autograd.grad(loss(leaf, labels), leaf, create_graph=True)
        found.append(torch.autograd.grad(slope.square().sum(), leaf)[0].double())
    assert calls == [True, False]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-7)


class Follows(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_whoever_follows_the_operations_sees_them(calls):
    loss, (logits, labels) = GatedLoss(), batch(4, 3)
    with Follows() as followed:
        loss(logits, labels)
    assert "_log_softmax" in followed.names
    torch.func.vmap(loss)(logits.expand(2, 4, 3), labels.expand(2, 4))
    torch.func.grad(lambda z: loss(z, labels))(logits)
    assert not any(calls)


def test_the_numbers_are_packed_as_the_kernel_reads_them():
    gate = GatedLoss(q=0.5, r=2, terms=[1, 2, 3, 4, 5], odds=0.25, own=0.75, pace=0.125, smoothing=0.5, progress=None)
    packed = _packed(gate.gate)
    assert isinstance(packed, ctypes.c_float * 15)
    assert list(packed)[:13] == [0.5, 2, 0.25, 0.75, 0.125, 0.5, math.inf, 1, 2, 3, 4, 5, -60]
    assert list(packed)[13:] == pytest.approx([63 / 64, 4095 / 4096])
