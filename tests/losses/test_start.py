"""A loss warns of a training that may hardly begin: once, and only where there is one."""

import copy
import warnings

import pytest
import torch

import autorobustloss as arl
from autorobustloss import MultiLabel, SlowStartWarning, create_loss, list_losses
from autorobustloss.losses.start import LEAST, start_pull
from autorobustloss.methods.criterion import create_criterion
from autorobustloss.methods.spec import MethodSpec


def batch(classes, rows=4):
    return torch.zeros(rows, classes, requires_grad=True), torch.arange(rows) % classes


def test_the_pull_of_what_is_known():
    """GCE has (1/C)^q of cross-entropy's gradient, mean absolute error 1/C; a scale multiplies it."""
    for classes in (2, 10, 1000):
        for name, wanted in (
            ("ce", 1.0),
            ("gce", classes**-0.7),
            ("mae", 1 / classes),
            ("mae(scale=3.0)", 3 / classes),
        ):
            assert start_pull(create_loss(name), classes) == pytest.approx(wanted)
    assert start_pull(create_loss("gated", smoothing=0), 100) == pytest.approx(1)


@pytest.mark.parametrize("name", [n for n in list_losses() if n not in ("taylor", "forward", "arl-dr-s80")])
@pytest.mark.parametrize("classes", [2, 10, 300])
def test_who_is_warned(name, classes):
    loss = create_loss(name)
    slow = start_pull(loss, classes) < LEAST
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            loss(*batch(classes))
        copy.deepcopy(loss)(*batch(classes))
    assert [w.category for w in caught if w.category is SlowStartWarning] == [SlowStartWarning] * slow


def test_says_how_much_and_what_to_try():
    with pytest.warns(
        SlowStartWarning, match=r"GCE\(q=0.7.*1000 classes.* 0.0079 times .*up to 1.3e\+02 times"
    ) as caught:
        create_loss("gce")(*batch(1000))
    assert caught[0].filename == __file__
    with pytest.warns(SlowStartWarning, match="20 classes"):
        create_loss("taylor", theta=[0, 0, 0, 0, -1])(*batch(20))


def test_again_for_another_number_of_classes():
    loss = create_loss("mae")
    for classes in (100, 200):
        with pytest.warns(SlowStartWarning, match=f"{classes} classes"):
            loss(*batch(classes))


@pytest.mark.filterwarnings("error")
class TestQuiet:
    def test_by_the_filter_that_the_message_names(self):
        warnings.filterwarnings("ignore", category=arl.SlowStartWarning)
        create_loss("gce")(*batch(1000))

    def test_where_nothing_is_trained(self):
        loss, (z, y) = create_loss("gce"), batch(1000)
        loss(z.detach(), y)
        with torch.no_grad():
            loss(z, y)
        loss.eval()(z, y)
        torch.func.grad(lambda a: create_loss("gce")(a, y))(z)
        create_loss("gce").to("meta")(z.to("meta"), y.to("meta"))

    def test_where_the_library_trains(self):
        criterion = create_criterion(MethodSpec.parse("gce"), 1000)
        criterion(*batch(1000))
        criterion.value_and_gradient(*batch(1000))

    def test_at_two_classes_and_under_other_rules(self):
        MultiLabel("gce")(torch.zeros(4, 1000, requires_grad=True), torch.zeros(4, 1000))
        create_loss("taylor", theta=[0, 0, 0, 0, -1], scale="init")(*batch(1000))
        create_loss("logit_bias")(*batch(1000))
        arl.losses.EarlyLearningLoss(4, 1000)(*batch(1000), index=torch.arange(4))

    def test_it_draws_nothing_and_remembers_nothing(self):
        state = torch.random.get_rng_state()
        loss = create_loss("gated")
        loss(*batch(1000))
        assert torch.equal(torch.random.get_rng_state(), state)
        assert loss.state.labels.sum() == 4
