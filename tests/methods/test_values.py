"""Methods at their authors' values: what is written out, what is left alone, and the penalty that some train with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.data import DataSpec, load_dataset, make_splits
from autorobustloss.errors import ConfigError
from autorobustloss.losses import list_losses
from autorobustloss.losses.literature.values import AUTHORS, PENALTY, published_penalty, published_values
from autorobustloss.methods import MethodSpec, Setting, create_criterion, run_method
from autorobustloss.methods.duplicates import firsts_alike
from autorobustloss.methods.values import values_used, with_published_values
from autorobustloss.registry import METHODS
from autorobustloss.training import TrainingProtocol

NAMES = sorted({*AUTHORS, "gce", "ce", "mae", "arl", "logitclip", "tuned-ce"})
classes_ = st.sampled_from([2, 10, 20, 21, 100, 1000])
datasets_ = st.sampled_from(["", "digits", "mnist", "mnist[merge=3]", "./own.npz"])


@given(name=st.sampled_from(NAMES), classes=classes_, dataset=datasets_, data=st.data())
def test_what_is_given_stays_and_the_rest_is_the_authors(name, classes, dataset, data):
    authors = published_values(name, classes, dataset)
    keys = data.draw(st.sets(st.sampled_from(sorted([*authors, PENALTY, "match_scale"]))))
    given_ = {key: data.draw(st.floats(0.5, 0.9)) for key in keys}
    method = MethodSpec.of(name, **given_)
    found = with_published_values(method, classes, dataset)
    assert found.options.items() >= given_.items()
    assert with_published_values(found, classes, dataset).options.items() >= found.options.items()
    used = {**values_used(found), "outlier_filter": found.options.get("outlier_filter", True)}
    if keys & authors.keys():
        assert found == method
    else:
        assert authors.items() <= used.items()
        assert used.get(PENALTY, 0.0) == given_.get(PENALTY, published_penalty(name, classes, dataset))


@pytest.mark.parametrize("name", [n for n in NAMES if not published_penalty(n, 10)])
def test_few_classes_keep_the_name_alone_and_with_it_the_key(name):
    assert with_published_values(MethodSpec.of(name), 10, "digits") == MethodSpec.of(name)


@pytest.mark.parametrize("name", AUTHORS)
@pytest.mark.parametrize("classes", [10, 100])
def test_the_result_can_be_trained(name, classes):
    method = with_published_values(MethodSpec.of(name), classes)
    if name in METHODS:
        METHODS.create(name, **method.options)
    else:
        assert create_criterion(method, classes).hyperparameters().items() >= published_values(name, classes).items()


@pytest.fixture(scope="module")
def splits():
    return make_splits(load_dataset("digits"), DataSpec("digits", 200, 100, 100), "sym:0.4")


def curves(method, *setting, **options):
    return run_method(method, Setting(*setting, **options))[1]


@pytest.mark.parametrize("loss", ["anl_ce", "gce(q=0.5)", "gce(match_scale=True)"])
def test_a_penalty_takes_the_place_of_weight_decay(loss, splits):
    protocol = TrainingProtocol(lr=0.1, epochs=2, weight_decay=0.01)
    bare = MethodSpec.parse(loss)
    penalised = MethodSpec.of(bare.name, **bare.options, l1=0.001)
    found = curves(penalised, "mlp2", splits, protocol, seed=0)
    assert found == curves(bare, "mlp2", splits, protocol.but(weight_decay=0.0, l1=0.001), seed=0)
    assert found != curves(bare, "mlp2", splits, protocol.but(weight_decay=0.0), seed=0)
    without = MethodSpec.of(bare.name, **bare.options, l1=0)
    assert curves(without, "mlp2", splits, protocol, seed=0) == curves(bare, "mlp2", splits, protocol, seed=0)


@pytest.mark.parametrize("value", [-1e-5, "much", True, None])
def test_a_penalty_that_is_none_is_refused(value):
    method = MethodSpec.of("gce", l1=value)
    with pytest.raises(ConfigError, match="l1"):
        create_criterion(method, 10)


def alike(*texts):
    methods = [MethodSpec.parse(text) for text in texts]
    return [methods.index(first) for first in firsts_alike(methods).values()]


def test_two_names_of_one_training_are_found():
    assert alike("ce", "gce", "gce_truncated", "gce(q=0.5)") == [0, 1, 1, 3]
    assert alike("bootstrap", "bootstrap_soft", "bootstrap_hard") == [0, 0, 2]
    assert alike("mae", "rce", "taylor_ce(order=1)", "nce", "nfl", "nfl(gamma=0)") == [0, 1, 0, 3, 4, 3]
    assert alike("mae(match_scale=True)", "rce(match_scale=True)", "mae") == [0, 0, 2]
    assert alike("anl_ce", "anl_ce(l1=5e-5)", "anl_ce(alpha=5)") == [0, 1, 0]
    assert alike("fw", "jocor", "fw(checkpoint='last')") == [0, 1, 2]


def test_registered_losses_are_different_methods_but_for_two():
    methods = [MethodSpec.of(name) for name in list_losses() if name not in ("taylor", "forward")]
    twins = {m.name: first.name for m, first in firsts_alike(methods).items() if m != first}
    assert twins == {"gated": "arl", "gce_truncated": "gce"}


def test_gated_losses_that_differ_late_are_not_alike():
    """They start alike, and part once labels are agreed with."""
    methods = [MethodSpec.of("gated", progress=progress) for progress in (None, 3.0, 5.0)]
    assert list(firsts_alike(methods).values()) == methods
    assert firsts_alike([methods[0], MethodSpec.of("gated", progress=None, pace=0.0)])[methods[0]] == methods[0]


def test_matching_a_gated_loss_leaves_its_state_alone():
    criterion = create_criterion(MethodSpec.of("gated", match_scale=True), 10)
    assert criterion.factor == pytest.approx(1 / 0.9)  # its smoothing is 0.1
    assert criterion.training
    assert not len(criterion.loss.state.beliefs)
