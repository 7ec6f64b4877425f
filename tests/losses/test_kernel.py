"""The compiled loss against PyTorch's operations in double precision, and when it must not be used."""

import ctypes
import math
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from autorobustloss.errors import LossInputError
from autorobustloss.losses import TaylorLoss, create_loss, kernel
from autorobustloss.losses.taylor import ops as functional
from autorobustloss.losses.taylor.ops import Coefficients

LIBRARIES = [path.name for path in sorted(kernel.SOURCE.parent.glob("libkernel*.so"))]

if not kernel.available():
    pytest.skip("the loss was not compiled: no C compiler when the package was installed", allow_module_level=True)


@pytest.fixture
def calls(count_sweeps):
    return count_sweeps(kernel)


def batch(samples, classes, spread=1.0, seed=0):
    draw = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(samples, classes, generator=draw)
    return logits, torch.randint(classes, (samples,), generator=draw)


def by_pytorch(c, logits, labels, mean):
    """Return loss and gradient in double precision, which the kernel never takes."""
    leaf = logits.double().requires_grad_()
    loss = functional.hard_loss(leaf, labels, c, mean=mean)
    return loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0]


numbers = st.floats(-2, 2, width=32)


@settings(deadline=None)
@given(
    st.integers(1, 9),
    st.integers(2, 70),
    st.lists(numbers, max_size=3),
    st.lists(numbers, max_size=4),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 0.01, 0.5, 1.0]),
    st.sampled_from([0.0, 0.1, 3.0, 30.0]),
    st.booleans(),
)
def test_value_and_gradient(samples, classes, others, label, log_weight, log_power, spread, mean):
    c = Coefficients(tuple(others), tuple(label), log_weight, 0.25, log_power)
    logits, labels = batch(samples, classes, spread)
    value, gradient = kernel.sweep(logits, labels, lambda _: c, mean=mean, gradient=True)
    expected, slope = by_pytorch(c, logits, labels, mean)
    largest = 1 + sum(map(abs, others)) + sum(map(abs, label)) + log_weight * (1 + spread)
    assert value.shape == expected.shape
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=2e-6 * largest)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-5, atol=1e-6 * largest)
    alone = kernel.sweep(logits, labels, lambda _: c, mean=mean, gradient=False)
    assert alone[1] is None
    torch.testing.assert_close(alone[0], value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("classes", [2, 3, 4, 5, 7, 8, 9, 10, 15, 16, 17, 31, 33, 100, 1000])
def test_every_library_writes_the_gradient_and_nothing_else(library, classes):
    capability = torch.backends.cpu.get_cpu_capability()
    if not capability.startswith({"libkernel-avx512.so": "AVX512", "libkernel-avx2.so": "AVX"}.get(library, "")):
        pytest.skip(f"this processor cannot run {library}")
    function = kernel._library(library).taylor_loss
    c = create_loss("arl-taylor").coefficients(classes)
    logits, labels = batch(5, classes, spread=2.0)
    memory = torch.full((5 * classes + 64,), 7.0)
    gradient, value = memory[32:-32].view(5, classes), torch.full((3,), 7.0)
    places = value[1:].data_ptr(), gradient.data_ptr()
    assert function(logits.data_ptr(), labels.data_ptr(), 5, classes, -100, kernel._packed(c), 1, *places) == 0
    expected, slope = by_pytorch(c, logits, labels, mean=True)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-5, atol=1e-7)
    assert value[1].item() == pytest.approx(expected.item(), rel=1e-5)
    assert (memory[:32] == 7).all()
    assert (memory[-32:] == 7).all()
    assert value[0] == value[2] == 7


def test_rows_without_an_answer_are_nan_as_in_pytorch():
    loss = create_loss("arl-taylor")
    logits, labels = batch(6, 12)
    logits[0, 3], logits[1, 5], logits[2, :], logits[3, 0] = math.nan, math.inf, -math.inf, -math.inf
    value, gradient = kernel.sweep(logits, labels, loss.coefficients, mean=False, gradient=True)
    expected, slope = by_pytorch(loss.coefficients(12), logits, labels, mean=False)
    assert torch.equal(value.isnan(), expected.isnan())
    assert torch.equal(gradient.isnan(), slope.isnan())
    assert value.isnan().tolist() == [True, True, True, False, False, False]


@pytest.mark.parametrize("name", ["arl-taylor", "arl-mild", "arl-ar-s80"])
def test_confident_networks(name):
    loss = create_loss(name)
    logits = torch.tensor([[1e4, 0.0, -1e4], [-1e4, 1e4, 0.0], [90.0, 0.0, 0.0], [0.0, 88.0, 30.0]])
    for labels in (torch.tensor([0, 0, 0, 0]), torch.tensor([1, 1, 1, 1]), torch.tensor([2, 2, 2, 2])):
        value, gradient = kernel.sweep(logits, labels, loss.coefficients, mean=False, gradient=True)
        expected, slope = by_pytorch(loss.coefficients(3), logits, labels, mean=False)
        assert value.isfinite().all()
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(gradient.double(), slope, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("classes", [3, 10, 100])
def test_the_module_uses_it(calls, reduction, classes):
    loss = create_loss("arl-taylor", reduction=reduction)
    logits, labels = batch(20, classes)
    leaf, exact = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    weights = torch.linspace(0.5, 2, 20) if reduction == "none" else torch.tensor(1.0)
    (slope,) = torch.autograd.grad((loss(leaf, labels) * weights).sum(), leaf)
    assert calls == [True]
    with kernel.left_out():
        (expected,) = torch.autograd.grad((loss(exact, labels) * weights).sum(), exact)
        torch.testing.assert_close(loss(exact, labels), loss(leaf, labels))
    torch.testing.assert_close(slope, expected, rtol=1e-5, atol=1e-7)
    assert calls == [True, False, False, False]


def test_without_a_graph(calls):
    loss = create_loss("arl-taylor")
    logits, labels = batch(20, 10)
    value, gradient = loss.value_and_gradient(logits, labels)
    assert calls == [True]
    assert not value.requires_grad
    expected, slope = by_pytorch(loss.coefficients(10), logits, labels, mean=True)
    torch.testing.assert_close(gradient.double(), slope, rtol=1e-5, atol=1e-7)
    low, low_gradient = loss.value_and_gradient(logits.bfloat16(), labels)
    assert low.item() == pytest.approx(expected.item(), rel=0.02)
    assert low_gradient.dtype == torch.bfloat16
    weighted = create_loss("arl-taylor", weight=torch.linspace(1, 2, 10))
    leaf = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(weighted(leaf, labels), leaf)
    assert torch.equal(weighted.value_and_gradient(logits, labels)[1], slope)


def test_labels_that_are_no_class(calls):
    logits, labels = batch(6, 4)
    labels[2] = -100
    loss = create_loss("arl-taylor")
    rest = [0, 1, 3, 4, 5]
    torch.testing.assert_close(loss(logits, labels), loss(logits[rest], labels[rest]))
    torch.testing.assert_close(
        create_loss("arl-taylor", ignore_index=2)(logits[:1], torch.tensor([2])), torch.tensor(0.0)
    )
    for wrong in (4, -1):
        labels[2] = wrong
        with pytest.raises(LossInputError, match=f"got labels \\[{wrong}\\]"):
            loss(logits, labels)


@pytest.mark.parametrize(
    "change",
    [
        lambda z, y: (z.double(), y),
        lambda z, y: (z.bfloat16(), y),
        lambda z, y: (z.T.contiguous().T, y),
        lambda z, y: (torch.stack([z, z], 2), torch.stack([y, y], 1)),
        lambda z, y: (z, y.int()),
        lambda z, y: (z, torch.stack([y, y], 1)[:, 0]),
        lambda z, y: (z, torch.nn.functional.one_hot(y, 10).float()),
        lambda z, y: (z[0], y[0]),
        lambda z, y: (z[:0], y[:0]),
    ],
)
def test_what_it_does_not_take_goes_the_other_way(calls, change):
    logits, labels = change(*batch(8, 10))
    loss = create_loss("arl-taylor")
    with kernel.left_out():
        expected = loss(logits, labels)
    assert torch.equal(loss(logits, labels), expected) or len(logits) == 0
    assert not any(calls)


def test_higher_orders_go_the_other_way(calls):
    loss = TaylorLoss([0.0, 0.0, *[0.1] * 15])
    assert loss.order == 5
    assert loss(*batch(4, 3)).isfinite()
    assert not any(calls)


def test_several_threads_take_large_batches(calls):
    before = torch.get_num_threads()
    try:
        for threads, taken in ((1, True), (2, False)):
            torch.set_num_threads(threads)
            create_loss("arl-taylor")(*batch(700, 100))
            assert calls.pop() is taken
    finally:
        torch.set_num_threads(before)


class Follows(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.filterwarnings("ignore")
def test_whoever_follows_the_operations_sees_them(calls):
    loss, (logits, labels) = create_loss("arl-taylor"), batch(4, 3)
    with Follows() as followed:
        loss(logits, labels)
    assert "_log_softmax" in followed.names
    torch.func.vmap(loss)(logits.expand(2, 4, 3), labels.expand(2, 4))
    traced = torch.jit.trace(loss, (logits, labels), check_trace=False)
    assert not any(calls)
    other = batch(4, 3, seed=1)
    torch.testing.assert_close(traced(*other), loss(*other))


def test_derivatives_of_the_gradient(calls):
    loss, (logits, labels) = create_loss("arl-taylor"), batch(4, 3)
    leaf = logits.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf, labels), leaf, create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), leaf)
    double = logits.double().requires_grad_()
    (slope,) = torch.autograd.grad(loss(double, labels), double, create_graph=True)
    (expected,) = torch.autograd.grad(slope.square().sum(), double)
    torch.testing.assert_close(second.double(), expected, rtol=1e-4, atol=1e-6)
    with torch.autograd.forward_ad.dual_level():
        tangent = torch.ones_like(logits).mul_(labels.unsqueeze(1))
        dual = torch.autograd.forward_ad.make_dual(logits, tangent)
        change = torch.autograd.forward_ad.unpack_dual(loss(dual, labels)).tangent
    slope = by_pytorch(loss.coefficients(3), logits, labels, mean=True)[1]
    torch.testing.assert_close(change.double(), (slope * tangent).sum(), rtol=1e-4, atol=1e-6)
    assert any(calls)


def test_a_library_of_another_source_is_left_out(tmp_path, monkeypatch):
    for name in LIBRARIES:
        shutil.copy(kernel.SOURCE.with_name(name), tmp_path)
    changed = tmp_path / "kernel.c"
    changed.write_bytes(kernel.SOURCE.read_bytes() + b"\n")
    monkeypatch.setattr(kernel, "SOURCE", changed)
    with pytest.warns(UserWarning, match="install again"):
        assert kernel._library(LIBRARIES[0]) is None
    (tmp_path / "libkernel-broken.so").write_bytes(b"no library")
    with pytest.warns(UserWarning, match="PyTorch takes its place"):
        assert kernel._library("libkernel-broken.so") is None
    assert kernel._library("libkernel-of-another-machine.so") is None


def test_the_coefficients_are_packed_as_the_kernel_reads_them():
    packed = kernel._packed(Coefficients((0.5,), (1.0, 2.0), 0.25, 3.0, 0.125))
    assert isinstance(packed, ctypes.c_float * 10)
    assert list(packed) == [0.5, 0, 0, 1, 2, 0, 0, 0.25, 3, 0.125]
