"""Where a loss meets autograd, odd tensors and checkpoints it does what `torch.nn.CrossEntropyLoss` does."""

import contextlib
import copy
import pickle

import numpy as np
import pytest
import torch
import torch.autograd.forward_ad as fw
from torch._subclasses.fake_tensor import FakeTensorMode

from autorobustloss.losses import kernel, list_losses
from autorobustloss.methods.criterion import Scaled

NAMES = list_losses()
LEARNED = ["arl-taylor", "gated", "taylor"]  # have a backward pass of their own
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
SOFT = torch.randn(6, 5, generator=torch.Generator().manual_seed(1)).softmax(1)


def logits(dtype=torch.float32):
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).to(dtype)


def gradient(loss, z, target):
    leaf = z.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(leaf, target).sum(), leaf)[0]


each_loss = pytest.mark.parametrize("name", NAMES)
EACH_WAY = [(name, True) for name in NAMES] + [(name, False) for name in LEARNED]


@pytest.fixture
def name(request):
    """Name a loss, for a test with the compiled loss where there is one, or without."""
    name, compiled = request.param
    with contextlib.nullcontext() if compiled else kernel.left_out():
        yield name


each_way = pytest.mark.parametrize("name", EACH_WAY, ids=lambda way: way[0] + "-pytorch" * (not way[1]), indirect=True)
learned_each_way = pytest.mark.parametrize("name", [way for way in EACH_WAY if way[0] in LEARNED], indirect=True)
each_reduction = pytest.mark.parametrize("reduction", ["mean", "none"])
each_target = pytest.mark.parametrize("target", [LABELS, SOFT], ids=["hard", "soft"])


class TestStateDict:
    @each_loss
    @pytest.mark.parametrize("weight", [None, torch.linspace(0.5, 2, 5)], ids=["plain", "weighted"])
    def test_is_that_of_cross_entropy(self, build, name, weight):
        """Checkpoints of a module go from one criterion to the other and back, and change no formula."""
        ours, theirs = build(name, weight=weight), torch.nn.CrossEntropyLoss(weight=weight)
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        before = ours(logits(), LABELS)
        for other in (theirs, *(build(another, weight=weight) for another in LEARNED)):
            modules = [torch.nn.ModuleDict({"net": torch.nn.Linear(2, 2), "loss": loss}) for loss in (ours, other)]
            modules[0].load_state_dict(modules[1].state_dict())
            modules[1].load_state_dict(modules[0].state_dict())
        assert torch.equal(ours(logits(), LABELS), before)

    @each_loss
    def test_weights_are_loaded_and_moved(self, build, name):
        saved, loss = build(name, weight=torch.linspace(0.5, 2, 5)), build(name, weight=torch.ones(5))
        loss.load_state_dict(saved.state_dict())
        assert torch.equal(loss(logits(), LABELS), saved(logits(), LABELS))
        with pytest.raises(RuntimeError, match="Unexpected key"):
            build(name).load_state_dict(saved.state_dict())
        assert loss.double()(logits(torch.float64), LABELS).dtype == torch.float64

    @each_loss
    def test_copies_keep_the_formula(self, build, name):
        loss = build(name, reduction="none")
        for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss).to("cpu")):
            assert torch.equal(other(logits(), LABELS), loss(logits(), LABELS))
            assert repr(other) == repr(loss)
        assert copy.deepcopy(loss).to("meta")(logits().to("meta"), LABELS.to("meta")).is_meta


class TestGradients:
    @each_way
    @each_reduction
    @pytest.mark.parametrize("shape", [(6, 5), (5,), (2, 5, 3)], ids=str)
    def test_logits_changed_in_place_afterwards(self, build, name, reduction, shape):
        loss, leaf = build(name, reduction=reduction), logits().flatten()[: torch.Size(shape).numel()].reshape(shape)
        labels = torch.ones(shape[:1] + shape[2:] if len(shape) > 1 else (), dtype=torch.long)
        expected = gradient(loss, leaf, labels)
        leaf = leaf.clone().requires_grad_()
        changed = leaf * 1.0
        value = loss(changed, labels)
        with torch.no_grad():
            changed.div_(2)
        assert torch.equal(torch.autograd.grad(value.sum(), leaf, retain_graph=True)[0], expected)
        changed.detach().zero_()
        assert torch.equal(torch.autograd.grad(value.sum(), leaf)[0], expected)

    @learned_each_way
    def test_but_not_before_a_second_derivative(self, build, name):
        leaf = logits().requires_grad_()
        changed = leaf * 1.0
        value = build(name)(changed, LABELS)
        changed.detach().div_(2)
        with pytest.raises(ValueError, match="changed in place"):
            torch.autograd.grad(value, leaf, create_graph=True)

    @each_way
    @each_reduction
    def test_a_returned_gradient_is_the_callers(self, build, name, reduction):
        """Who scales what he was given, in place, changes no gradient that comes later."""
        loss, leaf = build(name, reduction=reduction), logits().requires_grad_()
        expected = gradient(loss, leaf, LABELS)
        inner = leaf * 1.0
        value = loss(inner, LABELS).sum()
        for kept in (True, True, False):
            (given,) = torch.autograd.grad(value, inner, retain_graph=kept)
            assert torch.equal(given, expected)
            given.mul_(7)
        with pytest.raises(RuntimeError, match="a second time"):
            value.backward()

    @each_way
    def test_two_backward_passes_add_up(self, build, name):
        loss, leaf = build(name), logits().requires_grad_()
        value = loss(leaf, LABELS)
        value.backward(retain_graph=True)
        leaf.grad.mul_(2)
        value.backward()
        torch.testing.assert_close(leaf.grad, 3 * gradient(loss, logits(), LABELS))

    @each_way
    def test_hooks(self, build, name):
        loss, leaf = build(name), logits().requires_grad_()
        inner = leaf * 1.0
        inner.register_hook(lambda grad: grad.mul_(3))
        value = loss(inner, LABELS)
        for _ in range(2):
            (got,) = torch.autograd.grad(value, leaf, retain_graph=True)
            torch.testing.assert_close(got, 3 * gradient(loss, logits(), LABELS))

    @pytest.mark.parametrize("name", [name for name in NAMES if name not in ("nfl", "nfl+mae", "fl_eps+mae")])
    @each_target
    def test_second_derivatives(self, build, name, target):
        converged = {"num_iters": 60} if name == "bi_tempered" else {}
        target = target.double() if target.is_floating_point() else target
        loss, z = build(name, **converged), logits(torch.float64).requires_grad_()
        if loss.detached:
            pytest.skip("its derivatives take its weights as constants, which differences of them do not")
        assert torch.autograd.gradgradcheck(lambda z: loss(z, target), z, atol=1e-6)

    @each_target
    @pytest.mark.parametrize("name", ["nfl", "nfl+mae", "fl_eps+mae"])
    def test_second_derivatives_of_fractional_powers(self, build, name, target):
        """As above, where probabilities keep a distance from 1."""
        target = target.double() if target.is_floating_point() else target
        loss, z = build(name), (0.3 * logits(torch.float64)).requires_grad_()
        assert torch.autograd.gradgradcheck(lambda z: loss(z, target), z, atol=1e-6)

    @each_way
    def test_hessian_vector_products_all_ways(self, build, name):
        if name == "huber":
            pytest.skip("PyTorch has no such derivative of it, and says so")
        loss, z = build(name), logits()
        v = torch.randn(6, 5, generator=torch.Generator().manual_seed(3))
        expected = torch.autograd.functional.hvp(lambda z: loss(z, LABELS), z, v)[1]
        with fw.dual_level():
            dual = fw.make_dual(z.clone().requires_grad_(), v)
            (slope,) = torch.autograd.grad(loss(dual, LABELS), dual)
            torch.testing.assert_close(fw.unpack_dual(slope).tangent, expected, rtol=1e-3, atol=1e-5)
        got = torch.func.jvp(torch.func.grad(lambda z: loss(z, LABELS)), (z,), (v,))[1]
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)
        nested = torch.func.jacfwd(torch.func.jacfwd(lambda z: loss(z, LABELS)))(z)
        torch.testing.assert_close(torch.tensordot(nested, v), expected, rtol=1e-3, atol=1e-5)


class TestTensors:
    @each_loss
    @each_target
    def test_without_gradient(self, build, name, target):
        loss, z = build(name), logits()
        expected = loss(z, target)
        with torch.no_grad():
            assert torch.equal(loss(z.clone().requires_grad_(), target), expected)
        with torch.inference_mode():
            inferred = z.clone()
            value = loss(inferred, target.clone())
            assert value.is_inference()
        torch.testing.assert_close(value.clone(), expected)
        torch.testing.assert_close(loss(inferred, target), expected)
        assert not loss(z, target).requires_grad
        leaf = z.clone().requires_grad_()
        loss(leaf, target).backward()  # what was cached in inference mode hinders nobody
        torch.testing.assert_close(leaf.grad, gradient(loss, z, target))

    @each_way
    @each_target
    def test_the_same_numbers_in_another_form(self, build, name, target):
        loss, z = build(name), logits()
        expected, slope = loss(z, target), gradient(loss, z, target)
        forms = {
            "lazily negative": lambda x: torch._neg_view(x.neg()),
            "transposed": lambda x: x.t().contiguous().t(),
            "strided": lambda x: x.repeat_interleave(2, dim=0)[::2],
            "of another class": lambda x: x.as_subclass(Plain),
            "part of more": lambda x: torch.cat([x, x])[6:],
        }
        for form, change in forms.items():
            leaf = z.clone().requires_grad_()
            value = loss(change(leaf), change(target))
            value.backward()
            torch.testing.assert_close(value.as_subclass(torch.Tensor), expected, msg=form)
            torch.testing.assert_close(leaf.grad, slope, msg=form)

    @each_way
    @each_reduction
    def test_zeros_without_memory(self, build, name, reduction):
        loss = build(name, reduction=reduction)
        zeros, labels = torch._efficientzerotensor((6, 5)), torch._efficientzerotensor((6,), dtype=torch.long)
        torch.testing.assert_close(loss(zeros, LABELS), loss(torch.zeros(6, 5), LABELS))
        torch.testing.assert_close(loss(logits(), labels), loss(logits(), torch.zeros(6, dtype=torch.long)))
        assert loss(zeros, labels).isfinite().all()
        if name != "forward":  # whose tangents PyTorch itself does not take through a logarithm of sums here
            with fw.dual_level():
                dual = fw.make_dual(logits(), zeros)
                assert not fw.unpack_dual(loss(dual, LABELS)).tangent.any()

    @each_way
    @each_target
    def test_expanded_rows(self, build, name, target):
        loss, row = build(name), logits()[:1]
        leaf = row.clone().requires_grad_()
        value = loss(leaf.expand(6, 5), target)
        torch.testing.assert_close(value, loss(row.repeat(6, 1), target))
        (got,) = torch.autograd.grad(value, leaf)
        torch.testing.assert_close(got, gradient(loss, row.repeat(6, 1), target).sum(0, keepdim=True))
        torch.testing.assert_close(loss(logits(), LABELS[:1].expand(6)), loss(logits(), LABELS[:1].repeat(6)))

    @each_loss
    @each_target
    @each_reduction
    def test_no_samples(self, build, name, target, reduction):
        value = build(name, reduction=reduction)(logits()[:0], target[:0])
        assert value.shape == ((0,) if reduction == "none" else ())
        assert not value.any()
        assert gradient(build(name, reduction=reduction), logits()[:0], target[:0]).shape == (0, 5)

    @each_loss
    @each_target
    @each_reduction
    def test_tensors_without_values(self, build, name, target, reduction):
        loss, shape = build(name, reduction=reduction), (6,) if reduction == "none" else ()
        z = torch.empty(6, 5, device="meta", requires_grad=True)
        value = loss(z, target.to("meta"))
        assert value.is_meta
        assert value.shape == shape
        value.sum().backward()
        assert z.grad.shape == (6, 5)
        if name == "forward":
            return  # its matrix is a real tensor, as class weights are: to be made fake first
        with FakeTensorMode() as mode:
            fake = torch.randn(6, 5, requires_grad=True)
            value = loss(fake, mode.from_tensor(target))
            assert value.shape == shape
            value.sum().backward()
            assert fake.grad.shape == (6, 5)
        outside = mode.from_tensor(logits())
        assert loss(outside, mode.from_tensor(target)).shape == shape
        assert build(name)(logits(), target).isfinite()  # no fake tensor stays behind


class Plain(torch.Tensor):
    """A tensor of another class, as libraries of images and graphs have them."""


class TestPartsOfABatch:
    """`num_items_in_batch`, which Hugging Face's Trainer hands to a `compute_loss_func`."""

    @each_way
    @each_target
    def test_parts_sum_up_to_the_mean(self, build, name, target):
        loss = build(name)
        size = 6 if loss.batchwise else 4
        for count in (6, torch.tensor(6), torch.tensor([6]), 6.0, np.int64(6)):
            parts = [loss(z, y, num_items_in_batch=count) for z, y in zip(logits().split(size), target.split(size))]
            torch.testing.assert_close(sum(parts), loss(logits(), target))
        assert torch.equal(loss(logits(), target, num_items_in_batch=None), loss(logits(), target))

    @each_loss
    def test_ignored_labels_do_not_count(self, build, name):
        loss, labels = build(name), LABELS.clone()
        labels[::2] = -100
        size = 6 if loss.batchwise else 2
        parts = [loss(z, y, num_items_in_batch=3) for z, y in zip(logits().split(size), labels.split(size))]
        torch.testing.assert_close(sum(parts), loss(logits(), labels))
        assert loss(logits(), torch.full_like(labels, -100), num_items_in_batch=0) == 0

    @pytest.mark.parametrize("name", ["gce", "arl"])
    def test_what_cannot_be_meant(self, build, name):
        for count in (-1, float("nan"), "6", torch.ones(2), True):
            with pytest.raises(TypeError, match="expected one number >= 0"):
                build(name)(logits(), LABELS, num_items_in_batch=count)
        for reduction in ("sum", "none"):
            with pytest.raises(TypeError, match="expected reduction='mean'"):
                build(name, reduction=reduction)(logits(), LABELS, num_items_in_batch=6)

    @pytest.mark.parametrize("name", ["gce", "arl"])
    def test_behind_a_wrapper_that_hands_arguments_on(self, build, name):
        outputs = {"logits": logits()}
        with pytest.raises(ValueError, match="got input of dict"):
            build(name)(outputs, LABELS)

        def compute_loss_func(outputs, labels, **more):
            return build(name)(outputs["logits"], labels, **more)

        whole = compute_loss_func(outputs, LABELS, num_items_in_batch=12)
        torch.testing.assert_close(whole, build(name)(logits(), LABELS) / 2)
        torch.testing.assert_close(Scaled(build(name), 3.0)(logits(), LABELS, num_items_in_batch=12), 3 * whole)


@each_loss
@pytest.mark.parametrize("to", [torch.float16, torch.bfloat16])
def test_half_leaves_a_formula_alone(build, name, to):
    wanted = build(name)(logits(), LABELS)
    assert torch.equal(build(name).to(to)(logits(), LABELS), wanted)
    assert torch.equal(build(name).to(to).float()(logits(), LABELS), wanted)


@each_loss
def test_is_made_without_values_too(build, name):
    with FakeTensorMode() as mode:
        loss = build(name)
        assert loss(mode.from_tensor(logits()), mode.from_tensor(LABELS)).shape == ()
