"""One contract for every registered loss: a new loss is tested here the moment it is registered."""

import copy
import inspect
import math
import pickle

import pytest
import torch
from torch.func import grad, vmap

from autorobustloss.errors import ConfigError, LossInputError
from autorobustloss.losses import create_loss, list_losses
from autorobustloss.registry import LOSSES

NAMES = list_losses()
IGNORE = -100


def uniform_noise(classes, rate=0.3):
    """Return a transition matrix that treats all classes alike, so that relabelling classes changes nothing."""
    off = rate / (classes - 1)
    return [[1 - rate if i == j else off for j in range(classes)] for i in range(classes)]


def example(name, classes=10):
    """Return hyper-parameters for the losses that cannot do without."""
    if name == "taylor":
        return {"theta": [0.4, 0.5, -1.0, 0.5, 0.3, -0.2, -1.0, 0.3, 0.4, 0.2, -0.1, 0.6]}
    if name == "forward":
        return {"T": uniform_noise(classes)}
    return {}


def build(name, classes=10, **arguments):
    """Return a loss as it is before training: one that remembers batches is a function of the batch then."""
    return create_loss(name, **example(name, classes), **arguments).at_start(classes)


def batch(rows=8, classes=10, seed=0, spread=2.0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    logits = spread * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, classes, (rows,), generator=generator)
    return logits.to(dtype), labels


def mixed(rows=8, classes=10, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, classes, generator=generator, dtype=torch.float64).softmax(dim=1).to(dtype)


def value_and_grad(loss, logits, target):
    logits = logits.detach().clone().requires_grad_()
    value = loss(logits, target)
    (slope,) = torch.autograd.grad(value.sum(), logits)
    return value.detach(), slope


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 10, 100])
def test_shapes_agree_with_plain_rows(name, classes, allowed):
    classes = allowed(name, classes)
    logits, labels = batch(rows=12, classes=classes)
    loss = build(name, classes, reduction="none")
    rows = loss(logits, labels)
    assert rows.shape == (12,)
    assert torch.isfinite(rows).all()
    dense = loss(logits.reshape(2, 2, 3, classes).permute(0, 3, 1, 2), labels.reshape(2, 2, 3))
    assert dense.shape == (2, 2, 3)
    torch.testing.assert_close(dense.reshape(-1), rows)
    single = loss(logits[0], labels[0])
    assert single.shape == ()
    torch.testing.assert_close(single, loss(logits[:1], labels[:1])[0] if loss.batchwise else rows[0])


@pytest.mark.parametrize("name", NAMES)
def test_soft_shapes_agree_with_plain_rows(name):
    logits, _ = batch(rows=12, classes=4)
    target = mixed(rows=12, classes=4)
    loss = build(name, 4, reduction="none")
    rows = loss(logits, target)
    dense = loss(logits.reshape(2, 2, 3, 4).permute(0, 3, 1, 2), target.reshape(2, 2, 3, 4).permute(0, 3, 1, 2))
    assert dense.shape == (2, 2, 3)
    torch.testing.assert_close(dense.reshape(-1), rows)
    torch.testing.assert_close(
        loss(logits[0], target[0]), (loss(logits[:1], target[:1]) if loss.batchwise else rows)[0]
    )
    torch.testing.assert_close(build(name, 4)(logits, target), rows.mean())


@pytest.mark.parametrize("name", NAMES)
def test_reductions(name):
    logits, labels = batch()
    rows = build(name, reduction="none")(logits, labels)
    torch.testing.assert_close(build(name)(logits, labels), rows.mean())
    torch.testing.assert_close(build(name, reduction="sum")(logits, labels), rows.sum())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_ignored_rows_do_not_exist(name, reduction):
    logits, labels = batch()
    labels[[1, 5]] = IGNORE
    logits[5] = math.inf
    kept = labels != IGNORE
    loss = build(name, reduction=reduction)
    value, slope = value_and_grad(loss, logits, labels)
    wanted_value, wanted_slope = value_and_grad(loss, logits[kept], labels[kept])
    assert (slope[~kept] == 0).all()
    torch.testing.assert_close(slope[kept], wanted_slope)
    if reduction == "none":
        assert (value[~kept] == 0).all()
        value = value[kept]
    torch.testing.assert_close(value, wanted_value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_all_ignored_is_zero(name, reduction):
    logits, labels = batch()
    value, slope = value_and_grad(build(name, reduction=reduction, ignore_index=3), logits, torch.full_like(labels, 3))
    assert value == 0
    assert (slope == 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_class_weights(name):
    logits, labels = batch(rows=16)
    labels[3] = IGNORE
    kept = labels != IGNORE
    weight = torch.linspace(0.0, 2.0, 10)
    rows = build(name, reduction="none")(logits[kept], labels[kept])
    factors = weight[labels[kept]]
    torch.testing.assert_close(build(name, weight=weight)(logits, labels), (factors * rows).sum() / factors.sum())
    torch.testing.assert_close(build(name, weight=weight, reduction="sum")(logits, labels), (factors * rows).sum())
    with pytest.raises(LossInputError, match="class weights"):
        build(name, weight=torch.ones(9))(logits, labels)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
def test_one_hot_probabilities_are_labels(name, weighted):
    logits, labels = batch(spread=5.0, dtype=torch.float64)
    weight = torch.linspace(0.5, 2.0, 10) if weighted else None
    loss = build(name, weight=weight, reduction="none")
    hard, hard_slope = value_and_grad(loss, logits, labels)
    soft, soft_slope = value_and_grad(loss, logits, torch.nn.functional.one_hot(labels, 10).double())
    torch.testing.assert_close(soft, hard, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(soft_slope, hard_slope, rtol=1e-9, atol=1e-9)


def extreme_logits(classes):
    big = 1e4
    rows = [
        torch.full((classes,), big),
        torch.full((classes,), -big),
        torch.zeros(classes),
        torch.cat([torch.tensor([big]), torch.full((classes - 1,), -big)]),
        torch.cat([torch.tensor([-big]), torch.full((classes - 1,), big)]),
        torch.cat([torch.tensor([0.0]), torch.full((classes - 1,), -big)]),
        torch.linspace(-big, big, classes),
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("classes", [2, 10])
def test_extreme_logits_stay_finite(name, classes, allowed):
    classes = allowed(name, classes)
    logits = extreme_logits(classes)
    targets = [torch.full((len(logits),), y) for y in range(classes)]
    targets += [torch.full((len(logits), classes), 1 / classes)]
    for target in targets:
        value, slope = value_and_grad(build(name, classes, reduction="none"), logits, target)
        assert torch.isfinite(value).all(), (name, target)
        assert torch.isfinite(slope).all(), (name, target)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_float32(name, dtype):
    logits, labels = batch(dtype=dtype)
    value, slope = value_and_grad(build(name), logits, labels)
    assert value.dtype == torch.float32
    assert slope.dtype == dtype
    torch.testing.assert_close(value, build(name)(logits.float(), labels))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(build(name)(logits.float(), labels), value)


@pytest.mark.parametrize("name", NAMES)
def test_double_precision_stays_double(name):
    logits, labels = batch(dtype=torch.float64)
    assert build(name)(logits, labels).dtype == torch.float64
    assert build(name)(logits, mixed(dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("soft", [False, True])
def test_gradient_is_true(name, soft):
    logits, labels = batch(rows=4, classes=5, dtype=torch.float64)
    target = mixed(rows=4, classes=5, dtype=torch.float64) if soft else labels
    # Five steps of the bi-tempered normaliser leave an error in the value that gradcheck sees.
    converged = {"num_iters": 60} if name == "bi_tempered" else {}
    loss = build(name, 5, reduction="none", **converged)
    if loss.detached:
        pytest.skip("its weights are constants of the gradient, not of the value; see the tests of its own")
    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_(), atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_rows_sum_to_zero(name):
    if name == "ldr_kl":
        pytest.skip("its scores are softplus outputs over their mean, which a shift of the logits changes")
    logits, labels = batch(dtype=torch.float64)
    for target in (labels, mixed(dtype=torch.float64)):
        value, slope = value_and_grad(build(name, reduction="sum"), logits, target)
        torch.testing.assert_close(slope.sum(dim=1), torch.zeros(8, dtype=torch.float64), rtol=0, atol=1e-12)
        torch.testing.assert_close(build(name, reduction="sum")(logits + 3.7, target), value)


@pytest.mark.parametrize("name", NAMES)
def test_class_order_does_not_matter(name):
    logits, labels = batch(dtype=torch.float64)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(1))
    loss = build(name, reduction="none")
    value, slope = value_and_grad(loss, logits, labels)
    moved_value, moved_slope = value_and_grad(loss, logits[:, order], order.argsort()[labels])
    torch.testing.assert_close(moved_value, value)
    torch.testing.assert_close(moved_slope, slope[:, order])


@pytest.mark.parametrize("name", NAMES)
def test_vmap(name):
    logits, labels = batch(rows=12)
    loss = build(name)
    stacked = logits.reshape(3, 4, 10)
    one_by_one = torch.stack([loss(z, y) for z, y in zip(stacked, labels.reshape(3, 4))])
    torch.testing.assert_close(vmap(loss)(stacked, labels.reshape(3, 4)), one_by_one)
    shared = torch.stack([loss(z, labels[:4]) for z in stacked])
    torch.testing.assert_close(vmap(loss, in_dims=(0, None))(stacked, labels[:4]), shared)
    slopes = vmap(grad(loss))(stacked, labels.reshape(3, 4))
    wanted = torch.stack([value_and_grad(loss, z, y)[1] for z, y in zip(stacked, labels.reshape(3, 4))])
    torch.testing.assert_close(slopes, wanted)


def assert_compiles(name, target):
    logits, _ = batch()
    torch.compiler.reset()
    loss = build(name)
    value, slope = value_and_grad(loss, logits, target)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    compiled_value, compiled_slope = value_and_grad(compiled, logits, target)
    torch.testing.assert_close(compiled_value, value)
    torch.testing.assert_close(compiled_slope, slope)


QUICK = {"ce", "gce", "taylor"}
"""Losses whose compilation is tested with everything else; that of the others takes a minute in all."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in NAMES])
def test_compiles_without_graph_breaks(name):
    assert_compiles(name, batch()[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ce", "gce", "forward", "bi_tempered", "ce_eps+mae", "ldr_kl"])
def test_compiles_for_probabilities(name):
    assert_compiles(name, mixed())


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_equal(name):
    logits, labels = batch()
    loss = build(name, weight=torch.linspace(0.5, 1.5, 10), ignore_index=4, reduction="sum")
    value = loss(logits, labels)
    assert torch.equal(copy.deepcopy(loss)(logits, labels), value)
    assert torch.equal(pickle.loads(pickle.dumps(loss))(logits, labels), value)
    fresh = build(name, weight=torch.ones(10), ignore_index=4, reduction="sum")
    fresh.load_state_dict(loss.state_dict())
    assert torch.equal(fresh(logits, labels), value)
    again = create_loss(name, **loss.hyperparameters(), weight=loss.weight, ignore_index=4, reduction="sum")
    assert torch.equal(again.at_start(10)(logits, labels), value)
    assert repr(loss).startswith(type(loss).__name__)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_of_cross_entropy_are_keywords(name):
    parameters = inspect.signature(LOSSES.get(name)).parameters
    for argument, default in (("weight", None), ("ignore_index", IGNORE), ("reduction", "mean")):
        assert parameters[argument].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[argument].default == default
    with pytest.raises(ConfigError, match="no_such_thing"):
        build(name, no_such_thing=1)
    with pytest.raises(ConfigError, match="reduction"):
        build(name, reduction="average")


def changed(name, key, value):
    """Return another valid value of a hyper-parameter."""
    if key == "T":
        return uniform_noise(len(value), rate=0.5)
    if key in ("theta", "terms"):
        return [v + 0.1 * (i + 1) for i, v in enumerate(value)]
    if key == "scale" and name == "taylor":
        return 2.0
    if isinstance(value, str):
        return "ce"
    if value is None:
        return 0.1
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return 0.9 * value if value else 0.1


@pytest.mark.parametrize("name", NAMES)
def test_every_hyperparameter_matters(name):
    logits, labels = batch(dtype=torch.float64)
    sure = 40 * torch.nn.functional.one_hot(labels, 10).double()
    logits = torch.cat([logits, sure, sure.roll(1, dims=1)])
    labels = labels.repeat(3)
    loss = build(name, reduction="none")
    value, slope = value_and_grad(loss, logits, labels)
    options = loss.hyperparameters()
    for key, old in options.items():
        other = create_loss(name, **{**options, key: changed(name, key, old)}, reduction="none")
        new_value, new_slope = value_and_grad(other, logits, labels)
        assert not (torch.equal(new_value, value) and torch.equal(new_slope, slope)), key


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("label", [10, -1])
def test_label_out_of_range(name, label):
    logits, labels = batch()
    labels[2] = label
    with pytest.raises(LossInputError, match=str(label)):
        build(name)(logits, labels)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_that_do_not_fit(name):
    logits, labels = batch()
    with pytest.raises(LossInputError):
        build(name)(logits, labels[:5])
    with pytest.raises(LossInputError):
        build(name)(logits, mixed(rows=8, classes=9))
    with pytest.raises(LossInputError):
        build(name)(logits[:, :1], torch.zeros(8, dtype=torch.long))


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_alone(name):
    logits, labels = batch()
    before = logits.clone(), labels.clone()
    build(name)(logits, labels)
    assert torch.equal(logits, before[0])
    assert torch.equal(labels, before[1])
