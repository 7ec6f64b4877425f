import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.errors import ConfigError, UnknownNameError
from autorobustloss.losses import create_loss
from autorobustloss.search.gated_space import COORDINATES, GatedSpace
from autorobustloss.search.space import Space

SPACES = ["paper", "canonical", "canonical+log", "canonical+power"]


@pytest.mark.parametrize(
    ("order", "dimensions"), [(2, (5, 2, 3, 4)), (3, (8, 4, 5, 6)), (4, (12, 6, 7, 8)), (5, (17, 8, 9, 10))]
)
def test_dimensions(order, dimensions):
    assert tuple(Space(name, order).dimension for name in SPACES) == dimensions


@pytest.mark.parametrize("name", SPACES)
@given(data=st.data())
def test_every_point_is_a_loss(name, data):
    space = Space(name, scale=None)
    point = data.draw(st.lists(st.floats(-3, 3), min_size=space.dimension, max_size=space.dimension))
    method = space.method(point)
    value = create_loss(method.name, **method.options)(torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0]))
    assert torch.isfinite(value)


def test_canonical_coordinates_are_the_slopes():
    point = [-1.0, 0.3, -0.2, 0.5, 0.1, -0.4, 2.0]
    method = Space("canonical+log").method(point)
    loss = create_loss(method.name, **method.options)
    assert loss.canonical().vector() == pytest.approx([*point[:-1], 0.2])


def test_the_unit_of_the_log_coordinate():
    method = Space("canonical+log", log_unit=0.012).method([-1.0, 0, 0, 0, 0, 0, 2.0])
    assert method.options["log_weight"] == pytest.approx(0.024)
    with pytest.raises(ConfigError, match="log_unit=0"):
        Space(log_unit=0.0)


def test_negative_log_coordinate_means_none():
    assert Space("canonical+log").method([-1.0, 0, 0, 0, 0, 0, -5.0]).options["log_weight"] == 0.0


@pytest.mark.parametrize("order", [2, 3, 4, 5])
@pytest.mark.parametrize("name", SPACES)
def test_start_at_mae_has_the_gradient_of_mae(name, order):
    space = Space(name, order, scale=None)
    method = space.method(space.start("mae"))
    logits = torch.randn(6, 10, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(10, (6,))
    (ours,) = torch.autograd.grad(create_loss(method.name, **method.options)(logits, labels), logits)
    (mae,) = torch.autograd.grad(create_loss("mae")(logits, labels), logits)
    torch.testing.assert_close(10 * ours, mae)  # Eq. 4 takes the mean over ten classes


@pytest.mark.parametrize("order", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["paper", "canonical", "canonical+power"])
def test_start_at_the_series_of_cross_entropy(name, order):
    space = Space(name, order=order, scale=None)
    method = space.method(space.start("taylor_ce"))
    logits, labels = 3 * torch.randn(6, 10, dtype=torch.float64), torch.randint(10, (6,))
    values = []
    for loss in (create_loss(method.name, **method.options), create_loss("taylor_ce", order=order - 1)):
        point = logits.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(point, labels), point)
        values.append(gradient)
    torch.testing.assert_close(10 * values[0], values[1])


def test_start_at_sce_is_half_log_half_mae_at_ten_classes():
    space = Space("canonical+log", scale=None)
    method = space.method(space.start("sce"))
    form = create_loss(method.name, **method.options).canonical()
    assert form.log_weight * 10 == pytest.approx(-form.a[0])


def test_start_at_generalised_cross_entropy():
    space = Space("canonical+power", scale=None, log_unit=1.0)
    method = space.method(space.start("gce"))
    logits, labels = torch.randn(6, 10, dtype=torch.float64), torch.randint(10, (6,))
    ours, gce = create_loss(method.name, **method.options), create_loss("gce", q=0.7)
    torch.testing.assert_close(10 * ours(logits, labels), gce(logits, labels))
    assert space.method([0.0] * 6 + [1.0, 9.0]).options["log_power"] == 1.0
    assert "log_power" not in space.method([0.0] * 6 + [1.0, -9.0]).options
    with pytest.raises(ConfigError, match=r"canonical\+power"):
        Space().start("gce")


def test_start_at_coordinates():
    assert Space("canonical").start("-1,0,0.5,0,0,2").tolist() == [-1.0, 0.0, 0.5, 0.0, 0.0, 2.0]
    for wrong in ("-1,0", "-1,0,0,0,0,x", "-1,0,0,0,0,nan"):
        with pytest.raises(ConfigError, match="start"):
            Space("canonical").start(wrong)


def test_refusals():
    with pytest.raises(UnknownNameError, match="canonical"):
        Space("canonica")
    with pytest.raises(ConfigError, match="order=1"):
        Space(order=1)
    with pytest.raises(ConfigError, match="expected 6"):
        Space("canonical").method(np.zeros(7))
    with pytest.raises(UnknownNameError, match="did you mean 'mae'"):
        Space().start("maee")
    with pytest.raises(ConfigError, match="log term"):
        Space("paper").start("sce")


class TestGatedSpace:
    @pytest.mark.parametrize("order", [0, 1, 2])
    @given(data=st.data())
    def test_every_point_is_a_gated_loss(self, order, data):
        space = GatedSpace(order=order)
        point = data.draw(st.lists(st.floats(-1e9, 1e9), min_size=space.dimension, max_size=space.dimension))
        method = space.method(point)
        assert method == space.method(np.array(point))
        loss = create_loss(method.name, **method.options)
        assert loss.hyperparameters() == method.options
        assert torch.isfinite(loss(torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])))
        assert COORDINATES["q"].high >= method.options["q"] >= 0.0
        assert space.numbers(method) == method.options

    def test_starts(self):
        space = GatedSpace()
        ce = create_loss("gated", **space.method(space.start("ce")).options)
        logits, labels = torch.randn(6, 10), torch.randint(10, (6,))
        torch.testing.assert_close(ce(logits, labels), torch.nn.functional.cross_entropy(logits, labels))
        options = space.method(space.start(space.default_start)).options
        assert (options["q"], options["r"], options["progress"]) == pytest.approx((0.0, 1.0, 15.0))
        assert options["terms"] == (0.0,) * 5
        assert space.start("1,0,0,0,0,0,0,0,0,0,2").tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]
        assert space.method(space.start("1,0,0,0,0,0,0,0,0,0,2")).options["terms"][4] == pytest.approx(1.6)

    def test_what_is_no_such_space_or_start(self):
        with pytest.raises(ConfigError, match="order=3"):
            GatedSpace(order=3)
        with pytest.raises(UnknownNameError):
            GatedSpace("gate")
        with pytest.raises(UnknownNameError, match="mae"):
            GatedSpace().start("mae")
        with pytest.raises(ConfigError, match="11 finite numbers"):
            GatedSpace().start("1,2")
        with pytest.raises(ConfigError, match="expected 11"):
            GatedSpace().method([0.0])
