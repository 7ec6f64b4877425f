"""The Taylor loss against independent numbers, and everything PyTorch may do with it."""

import copy
import json
import math
import pickle
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.errors import ConfigError, LossInputError
from autorobustloss.losses import TaylorLoss, create_loss
from autorobustloss.losses.taylor.form import exponents, num_parameters
from autorobustloss.losses.taylor.ops import BLOCK, hard_loss, taylor_loss

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "taylor_eq5.json").read_text())
THETA = GOLDEN["thetas"]["theta1"]
DOUBLE = torch.float64


def batch(rows=6, classes=5, dtype=DOUBLE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, classes, dtype=DOUBLE, generator=generator)
    return logits.to(dtype), torch.randint(0, classes, (rows,), generator=generator)


def value_and_grad(loss, logits, target):
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, target)
    value.sum().backward()
    return value.detach(), logits.grad


def close(got, wanted, tolerance, kind):
    """Apply the tolerance rule of the golden files."""
    got, wanted = torch.as_tensor(got, dtype=DOUBLE), torch.as_tensor(wanted, dtype=DOUBLE)
    size = wanted.abs().max() if kind == "grad" else wanted.abs()
    return bool(((got - wanted).abs() <= tolerance[f"{kind}_atol"] + tolerance[f"{kind}_rtol"] * size).all())


def term_by_term(yhat, y, theta, order):
    """Evaluate the definition of ℓ_θ as it is printed, in plain Python."""
    return sum(
        t * (yhat - theta[0]) ** a * (y - theta[1]) ** b / math.factorial(a) / math.factorial(b)
        for (a, b), t in zip(exponents(order), theta[2:])
    )


def log_q(p, q):
    return (p**q - 1) / q if q else math.log(p)


class TestAgainstIndependentNumbers:
    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    @pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['batch']}-{c['target']}-{c['theta']}")
    def test_golden_values_and_gradients(self, case, dtype):
        data, tolerance = GOLDEN["batches"][case["batch"]], GOLDEN["tolerance"][dtype]
        dtype = getattr(torch, dtype)
        logits = torch.tensor(data["logits"], dtype=dtype)
        hard = case["target"] == "hard"
        target = torch.tensor(data["labels"]) if hard else torch.tensor(data["soft_targets"], dtype=dtype)
        theta = GOLDEN["thetas"][case["theta"]]
        value, grad = value_and_grad(TaylorLoss(theta), logits, target)
        assert close(value, case["loss"], tolerance, "loss")
        assert close(grad, case["grad"], tolerance, "grad")
        assert close(TaylorLoss(theta, reduction="none")(logits, target), case["per_sample"], tolerance, "loss")

    @pytest.mark.parametrize("case", GOLDEN["elementwise"], ids=lambda c: c["theta"])
    def test_golden_elementwise(self, case):
        """One class at a time: two classes whose other one is known from the value of the reversed pair."""
        theta = GOLDEN["thetas"][case["theta"]]
        loss = TaylorLoss(theta, reduction="none")
        p = torch.tensor(case["yhat"], dtype=DOUBLE)
        logits = torch.stack([p, 1 - p], dim=1).clamp_min(1e-300).log()
        # yhat is symmetric about 1/2, so that 1 − yhat has its golden values too
        assert case["yhat"] == [1 - v for v in reversed(case["yhat"])]
        y1, y0 = torch.tensor(case["y1"], dtype=DOUBLE), torch.tensor(case["y0"], dtype=DOUBLE)
        label_0 = loss(logits, torch.zeros(len(p), dtype=torch.long))
        torch.testing.assert_close(label_0, (y1 + y0.flip(0)) / 2, rtol=1e-12, atol=1e-12)

    def test_half_brier_is_huber(self):
        logits, labels = batch()
        loss = TaylorLoss(GOLDEN["thetas"]["half_brier_identity"])
        residual = (logits.softmax(1) - F.one_hot(labels, 5)).square().sum(1).mean() / 2
        # ŷ²/2 − ŷy summed over the classes is half the squared error less the constant 1/2
        torch.testing.assert_close(loss(logits, labels), (residual - 0.5) / 5)

    @pytest.mark.parametrize("order", [2, 3, 4, 5, 6])
    @pytest.mark.parametrize("soft", [False, True])
    @pytest.mark.parametrize("power", [0.0, 0.4])
    def test_every_order_is_its_definition(self, order, soft, power):
        generator = torch.Generator().manual_seed(order)
        theta = torch.randn(num_parameters(order), dtype=DOUBLE, generator=generator).tolist()
        logits, labels = batch(rows=3, classes=4)
        target = batch(rows=3, classes=4, seed=1)[0].softmax(1) if soft else labels
        rows = TaylorLoss(theta, 0.3, log_power=power, reduction="none")(logits, target)
        p, y = logits.softmax(1), target if soft else F.one_hot(labels, 4).to(DOUBLE)
        for row in range(3):
            pairs = [(p[row, k].item(), y[row, k].item()) for k in range(4)]
            wanted = sum(term_by_term(a, b, theta, order) - 0.3 * b * log_q(a, power) for a, b in pairs) / 4
            assert rows[row].item() == pytest.approx(wanted, rel=1e-12)

    @pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
    def test_with_a_power_it_is_generalised_cross_entropy(self, q):
        logits, labels = batch(classes=6)
        ours = TaylorLoss([0.0] * 12, 1.0, log_power=q)
        got, wanted = (value_and_grad(loss, logits, labels) for loss in (ours, create_loss("gce", q=q)))
        torch.testing.assert_close([6 * v for v in got], list(wanted))
        assert ours.canonical().bracket(6) == pytest.approx((1 / 6) ** (q - 1))

    @pytest.mark.parametrize("q", [1e-9, 1e-3, 0.049, 0.051, 0.3, 1.0])
    def test_every_power_keeps_its_digits(self, q):
        """Near q = 0 and near ŷ = 1, where ŷ^q − 1 cancels, and where ŷ underflows, against double precision."""
        margins = torch.tensor([-80.0, -20.0, -3.0, 0.0, 3.0, 9.0, 20.0])
        logits, labels = torch.stack([margins, torch.zeros_like(margins)], dim=1), torch.zeros(7, dtype=torch.long)
        rows = TaylorLoss([0.0] * 12, 1.0, 2.0, log_power=q, reduction="none")(logits, labels)
        log_p = F.log_softmax(logits.double(), dim=1)[:, 0]
        torch.testing.assert_close(rows.double(), -torch.expm1(q * log_p) / q, rtol=2e-6, atol=3e-6)

    @given(
        seed=st.integers(0, 10**6),
        classes=st.integers(2, 12),
        log_weight=st.sampled_from([0.0, 0.4]),
        power=st.sampled_from([0.0, 0.6]),
    )
    def test_hard_equals_soft_on_one_hot_targets(self, seed, classes, log_weight, power):
        logits, labels = batch(classes=classes, seed=seed)
        theta = torch.randn(12, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed)).tolist()
        loss = TaylorLoss(theta, log_weight, log_power=power)
        hard, soft = (value_and_grad(loss, logits, t) for t in (labels, F.one_hot(labels, classes).to(DOUBLE)))
        torch.testing.assert_close(hard, soft, rtol=1e-10, atol=1e-12)

    @given(seed=st.integers(0, 10**6))
    def test_classes_have_no_order(self, seed):
        logits, labels = batch(seed=seed)
        shuffle = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
        loss = TaylorLoss(THETA, 0.2)
        value, grad = value_and_grad(loss, logits, labels)
        moved_value, moved_grad = value_and_grad(loss, logits[:, shuffle], torch.argsort(shuffle)[labels])
        torch.testing.assert_close(moved_value, value)
        torch.testing.assert_close(moved_grad, grad[:, shuffle])

    def test_blocks_agree_with_one_block(self):
        rows, classes = 3 * BLOCK // 1000 + 7, 1000
        logits, labels = batch(rows, classes)
        loss = TaylorLoss(THETA, 0.3, reduction="none")
        value, grad = value_and_grad(loss, logits, labels)
        pieces = [value_and_grad(loss, logits[i : i + 20], labels[i : i + 20]) for i in range(0, rows, 20)]
        torch.testing.assert_close(value, torch.cat([v for v, _ in pieces]))
        torch.testing.assert_close(grad, torch.cat([g for _, g in pieces]))


class TestGradients:
    def test_the_gradient_kept_for_the_mean_is_handed_out_unharmed(self):
        """Under the mean the backward pass returns what the forward pass kept, the last time with no copy."""
        logits, target = batch(dtype=torch.float32)
        loss = TaylorLoss(THETA, log_weight=0.1)
        reference = value_and_grad(lambda z, t: loss(z.double(), t), logits, target)[1]
        leaf = logits.clone().requires_grad_()
        inner = 1.0 * leaf
        value = loss(inner, target)
        for _ in range(2):
            leaf.grad = None
            (value + value).backward(retain_graph=True)
            assert torch.allclose(leaf.grad, 2 * reference, rtol=1e-5, atol=1e-6)
            leaf.grad.mul_(7)
        (first,) = torch.autograd.grad(value, inner, retain_graph=True)
        assert torch.allclose(first, reference, rtol=1e-5, atol=1e-6)
        first.mul_(7)
        leaf.grad = None
        value.backward()
        assert torch.allclose(leaf.grad, reference, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"log_weight": 0.4},
            {"log_weight": 0.4, "log_power": 0.6},
            {"weight": torch.tensor([0.5, 2, 1, 0, 3.0])},
        ],
    )
    @pytest.mark.parametrize("target", ["hard", "soft"])
    def test_gradcheck(self, arguments, target):
        logits, labels = batch()
        target = labels if target == "hard" else batch(seed=1)[0].softmax(1)
        loss = TaylorLoss(THETA, **arguments)
        logits.requires_grad_()
        assert torch.autograd.gradcheck(lambda z: loss(z, target), logits, check_batched_grad=True)
        assert torch.autograd.gradgradcheck(lambda z: loss(z, target), logits)

    @pytest.mark.parametrize("power", [0.0, 0.6])
    def test_forward_mode_and_hessian(self, power):
        logits, labels = batch()
        loss = TaylorLoss(THETA, 0.4, log_power=power)
        assert torch.autograd.gradcheck(lambda z: loss(z, labels), logits.requires_grad_(), check_forward_ad=True)
        hessian = torch.func.hessian(lambda z: loss(z, labels))(logits.detach())
        wanted = torch.autograd.functional.hessian(lambda z: loss(z, labels), logits.detach())
        torch.testing.assert_close(hessian, wanted)

    def test_gradient_reaches_theta_in_the_function(self):
        logits, labels = batch()
        theta = torch.tensor(THETA, dtype=DOUBLE, requires_grad=True)
        alpha = torch.tensor(0.3, dtype=DOUBLE, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda t, a: taylor_loss(logits, labels, t, log_weight=a, scale=2.0), (theta, alpha)
        )
        soft = logits.softmax(1)
        assert torch.autograd.gradcheck(lambda t, a: taylor_loss(logits, soft, t, log_weight=a), (theta, alpha))

    def test_function_and_module_agree(self):
        logits, labels = batch()
        for theta in (THETA, torch.tensor(THETA, dtype=DOUBLE)):
            rows = taylor_loss(logits, labels, theta, log_weight=0.3, scale=2.0)
            torch.testing.assert_close(rows, TaylorLoss(THETA, 0.3, 2.0, reduction="none")(logits, labels))
        with pytest.raises(LossInputError, match="expected"):
            taylor_loss(logits[0], labels[0], THETA)

    @pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
    @pytest.mark.parametrize("soft", [False, True])
    def test_finite_for_large_logits(self, dtype, soft):
        logits = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4], [-1e4, -1e4, 9e3]], dtype=dtype)
        labels = torch.tensor([0, 0, 2, 1])
        target = F.one_hot(labels, 3).to(dtype) * 0.9 + 0.1 / 3 if soft else labels
        pulls = loss_pulls(THETA, 0.5, 3)
        logarithm, power = TaylorLoss(THETA, 0.5, "init" if pulls else None), TaylorLoss(THETA, 0.5, log_power=0.3)
        for loss in (TaylorLoss(THETA), logarithm, power):
            value, grad = value_and_grad(loss, logits, target)
            assert torch.isfinite(value)
            assert torch.isfinite(grad).all()
        # the log term is exact there: −log ŷ = 2·10⁴
        log_only = TaylorLoss([0.0] * 5, 1.0, "init", reduction="none")(logits, labels)
        torch.testing.assert_close(log_only, F.cross_entropy(logits, labels, reduction="none"))

    def test_float32_is_close_to_double_far_from_the_expansion_point(self):
        """θ₀ = 20 multiplied out naively in float32 would lose five digits."""
        theta = [20.0, -7.0, *THETA[2:]]
        logits, labels = batch(64, 100)
        _, wanted = value_and_grad(TaylorLoss(theta), logits.float().double(), labels)
        _, got = value_and_grad(TaylorLoss(theta), logits.float(), labels)
        assert (got.double() - wanted).abs().max() < 1e-5 * wanted.abs().max()


def loss_pulls(theta, log_weight, classes, power=0.0):
    return TaylorLoss(theta, log_weight, log_power=power).canonical().bracket(classes) > 0


class TestUnderPyTorch:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_computes_in_float32(self, dtype):
        logits, labels = batch(dtype=dtype)
        value, grad = value_and_grad(TaylorLoss(THETA, 0.3), logits, labels)
        assert value.dtype == torch.float32
        assert grad.dtype == dtype
        wanted, _ = value_and_grad(TaylorLoss(THETA, 0.3), logits.float(), labels)
        torch.testing.assert_close(value, wanted)

    def test_autocast(self):
        logits, labels = batch(dtype=torch.float32)
        layer = torch.nn.Linear(5, 5)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = layer(logits)
            value = TaylorLoss(THETA, 0.3)(out, labels)
        assert out.dtype == torch.bfloat16
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, TaylorLoss(THETA, 0.3)(out.float(), labels))

    def test_vmap_over_batches_and_gradients(self):
        loss = TaylorLoss(THETA, 0.3)
        many = torch.stack([batch(seed=s)[0] for s in range(3)])
        labels = torch.stack([batch(seed=s)[1] for s in range(3)])
        torch.testing.assert_close(torch.vmap(loss)(many, labels), torch.stack(list(map(loss, many, labels))))
        one_target = torch.vmap(loss, in_dims=(1, None))(many.movedim(0, 1), labels[0])
        torch.testing.assert_close(one_target, torch.stack([loss(z, labels[0]) for z in many]))
        grads = torch.vmap(torch.func.grad(loss))(many, labels)
        torch.testing.assert_close(grads, torch.stack([value_and_grad(loss, z, y)[1] for z, y in zip(many, labels)]))

    def test_vmap_over_candidates(self):
        """A cohort: one network per candidate, their losses in one call, gradients in the logits of each."""
        logits, labels = batch()
        thetas = torch.randn(4, 12, dtype=DOUBLE)
        stacked = logits.expand(4, -1, -1).clone().requires_grad_()
        rows = torch.vmap(lambda z, t: taylor_loss(z, labels, t, log_weight=0.2))(stacked, thetas)
        rows.mean(1).sum().backward()
        for k, theta in enumerate(thetas):
            value, grad = value_and_grad(TaylorLoss(theta, 0.2), logits, labels)
            torch.testing.assert_close(rows[k].mean(), value)
            torch.testing.assert_close(stacked.grad[k], grad)

    @pytest.mark.parametrize("power", [0.0, 0.6])
    def test_vmap_over_coefficients(self, power):
        logits, labels = batch()
        thetas = torch.randn(20, 12, dtype=DOUBLE).tolist()
        losses = [TaylorLoss(t, 0.2, "max", log_power=power) for t in thetas if loss_pulls(t, 0.2, 5, power)]
        each = [loss.coefficients(5) for loss in losses]
        together = torch.utils._pytree.tree_map(lambda *v: torch.tensor(v, dtype=DOUBLE), *each)
        got = torch.vmap(lambda c: hard_loss(logits, labels, c._replace(log_power=power)).mean())(together)
        torch.testing.assert_close(got, torch.stack([loss(logits, labels) for loss in losses]))

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
    def test_copies(self, copied):
        logits, labels = batch()
        loss = TaylorLoss(THETA, 0.3, "max", log_power=0.6, weight=torch.rand(5), ignore_index=2, reduction="sum")
        torch.testing.assert_close(copied(loss)(logits, labels), loss(logits, labels))
        assert repr(copied(loss)) == repr(loss)

    @pytest.mark.parametrize("change", [torch.nn.Module.half, torch.nn.Module.bfloat16, torch.nn.Module.float])
    def test_parameters_keep_their_precision(self, change):
        loss = change(TaylorLoss(THETA, 1 / 3))
        assert loss.theta == tuple(THETA)
        assert loss.log_weight == 1 / 3
        logits, labels = batch()
        assert torch.equal(loss(logits, labels), TaylorLoss(THETA, 1 / 3)(logits, labels))

    def test_nothing_to_optimise(self):
        assert list(TaylorLoss(THETA).parameters()) == []

    def test_modules_stay_hashable_and_distinct(self):
        assert len({TaylorLoss(THETA), TaylorLoss(THETA)}) == 2

    @pytest.mark.parametrize(
        ("scale", "power"),
        [(None, 0.0), ("geometric", 0.6)]
        + [pytest.param(scale, 0.6, marks=pytest.mark.slow) for scale in (None, "init", "max", "0.3max")],
    )
    def test_compile_without_graph_breaks(self, scale, power):
        """Traced, forward and backward, but not turned into machine code."""
        loss = TaylorLoss(GOLDEN["thetas"]["theta0"], 0.3, scale, log_power=power)
        self.agree_compiled(loss, "aot_eager")

    @pytest.mark.slow
    @pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
    def test_compile_to_machine_code(self):
        loss = TaylorLoss(GOLDEN["thetas"]["theta0"], 0.3, "geometric", log_power=0.6)
        self.agree_compiled(loss, "inductor")

    @pytest.mark.parametrize("probabilities", [False, True])
    def test_compile_for_any_shape(self, probabilities):
        torch._dynamo.reset()
        loss = TaylorLoss(GOLDEN["thetas"]["theta0"], 0.3, "max", log_power=0.6)
        compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend="aot_eager")
        for samples, classes in ((4, 3), (6, 3), (5, 7)):
            logits, target = torch.randn(samples, classes), torch.randint(classes, (samples,))
            target = torch.softmax(torch.randn(samples, classes), 1) if probabilities else target
            got, wanted = (value_and_grad(function, logits, target) for function in (compiled, loss))
            torch.testing.assert_close(got, wanted)

    @pytest.mark.parametrize(
        ("arguments", "ignored"), [({}, -100), ({"weight": [0.5, 1, 2, 0.1, 3]}, 2), ({"reduction": "sum"}, 2)]
    )
    def test_compile_with_ignored_labels(self, arguments, ignored):
        """Whatever their logits, they reach neither the value nor the gradient."""
        torch._dynamo.reset()
        loss = TaylorLoss(GOLDEN["thetas"]["theta0"], 0.3, "max", log_power=0.6, ignore_index=ignored, **arguments)
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        logits, labels = batch(dtype=torch.float32)
        labels[1:4] = ignored
        logits[1], logits[2], logits[3] = math.nan, math.inf, -math.inf
        for target in (labels, torch.full_like(labels, ignored)):
            got, wanted = (value_and_grad(function, logits, target) for function in (compiled, loss))
            torch.testing.assert_close(got, wanted)
            assert not got[1][target == ignored].any()

    @staticmethod
    def agree_compiled(loss, backend):
        torch._dynamo.reset()
        compiled = torch.compile(loss, fullgraph=True, backend=backend)
        for classes in (5, 8):  # the second one recompiles, with the scale of its own C
            logits, labels = batch(classes=classes, dtype=torch.float32)
            for target in (labels, logits.roll(1, 0).softmax(1)):
                got, wanted = (value_and_grad(function, logits, target) for function in (compiled, loss))
                torch.testing.assert_close(got, wanted)

    def test_compile_with_vmap_and_grad(self):
        torch._dynamo.reset()
        logits, labels = batch()
        loss = TaylorLoss(THETA, 0.3)
        many = torch.stack([logits, logits.flip(0)])
        each = torch.vmap(torch.func.grad(lambda z: loss(z, labels)))
        torch.testing.assert_close(torch.compile(each, fullgraph=True, backend="aot_eager")(many), each(many))


class TestArguments:
    @pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 6, 11, 13, 16])
    def test_length_without_order(self, length):
        with pytest.raises(ConfigError, match=rf"length {length}, expected 5, 8, 12, 17"):
            TaylorLoss([0.1] * length)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_numbers_that_are_none(self, bad):
        with pytest.raises(ConfigError, match=r"theta\[3\]"):
            TaylorLoss([0.1, 0.1, 0.1, bad, 0.1])
        with pytest.raises(ConfigError, match="log_weight"):
            TaylorLoss(THETA, bad)

    @pytest.mark.parametrize("theta", [None, 3, "abcde", [[1.0]] * 5, ["x"] * 5])
    def test_theta_that_is_no_list_of_numbers(self, theta):
        with pytest.raises(ConfigError, match="theta"):
            TaylorLoss(theta)

    def test_overflow(self):
        with pytest.raises(ConfigError, match="exceed"):
            TaylorLoss([1e200, 0.0, *[1e200] * 10])

    @pytest.mark.parametrize("scale", ["maximum", 0, -1.0, math.nan, math.inf, True, [1.0]])
    def test_bad_scale(self, scale):
        with pytest.raises(ConfigError, match="scale"):
            TaylorLoss(THETA, scale=scale)

    def test_theta_as_tensor_list_tuple_array(self):
        tensor = torch.tensor(THETA, dtype=DOUBLE)
        assert len({TaylorLoss(t).theta for t in (THETA, tuple(THETA), tensor, tensor.numpy(), iter(THETA))}) == 1

    def test_by_name(self):
        loss = create_loss("taylor", theta=THETA, log_weight=0.2, scale="max", reduction="sum")
        again = create_loss("taylor", **loss.hyperparameters())
        assert (again.theta, again.log_weight, again.scale, again.order) == (tuple(THETA), 0.2, "max", 4)
