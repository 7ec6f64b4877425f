"""The authors' values by number of classes: complete, accepted by what they are for, and theirs."""

import pytest

from autorobustloss.losses import create_loss
from autorobustloss.losses.authors import AUTHORS, FEW_CLASSES, PENALTY, published_penalty, published_values
from autorobustloss.methods.values import default_values
from autorobustloss.registry import LOSSES, METHODS

CASES = [(name, classes, dataset) for name in AUTHORS for classes, dataset in ((10, ""), (100, ""), (10, "mnist"))]


@pytest.mark.parametrize(("name", "classes", "dataset"), CASES)
def test_what_they_are_for_takes_them(name, classes, dataset):
    values = published_values(name, classes, dataset)
    if name in METHODS:
        METHODS.create(name, **values)
    else:
        taken = create_loss(name, **values).hyperparameters()
        assert values.items() <= taken.items()


@pytest.mark.parametrize("name", AUTHORS)
def test_few_classes_are_the_defaults(name):
    """So a name alone, in `create_loss` and in a stored job, means what it has always meant."""
    defaults = default_values(name)
    assert all(defaults[key] == value for key, value in published_values(name, 10).items())
    few, many, mnist = AUTHORS[name]
    for values in (many, mnist or {}):
        assert values.keys() <= few.keys()


@pytest.mark.parametrize(
    ("name", "few", "many", "mnist"),
    [
        ("nce+mae", (1, 1), (10, 1), (1, 10)),
        ("nfl+mae", (1, 1), (10, 1), (1, 10)),
        ("nce+rce", (1, 1), (10, 0.1), (1, 10)),
        ("sce", (0.1, 1), (6, 0.1), (0.01, 1)),
        ("nce+agce", (1, 4, 6, 1.5), (10, 0.1, 1.8, 3), (0, 1, 4, 0.2)),
        ("anl_ce", (5, 5), (10, 1), (1, 1)),
        ("jal_ce", (1, 1, 30), (5, 1, 20), (1, 1, 30)),
        ("jocor", (0.9,), (0.85,), (0.95,)),
        ("gce", (), (), ()),
    ],
)
def test_the_values_are_those_of_the_papers(name, few, many, mnist):
    assert tuple(published_values(name, 10).values()) == few
    assert tuple(published_values(name, 100).values()) == many
    assert tuple(published_values(name, 10, "mnist").values()) == mnist


def test_the_penalty_is_no_value_of_the_loss():
    assert [published_penalty("anl_ce", c) for c in (10, 100)] == [5e-5, 5e-7]
    assert [published_penalty("jal_ce", c) for c in (10, 100)] == [5e-5, 5e-6]
    assert published_penalty("anl_ce", 10, "mnist") == 1e-6
    assert published_penalty("ce", 10) == 0
    assert all(PENALTY not in published_values(name, c) for name in AUTHORS for c in (10, 100))


def test_where_few_ends_and_what_is_mnist():
    assert published_values("sce", FEW_CLASSES) != published_values("sce", FEW_CLASSES + 1)
    of_mnist, few, many = (published_values("sce", c, d) for c, d in ((10, "mnist"), (10, "digits"), (100, "")))
    for view in ("mnist[merge=3]", "mnist[components=16]", " mnist "):
        assert published_values("sce", 10, view) == of_mnist
    assert published_values("sce", 100, "mnist[split=100]") == many
    for other in ("fashion_mnist", "kmnist", "./mnist.npz", "mnist2", "usps"):
        assert published_values("sce", 10, other) == few


def test_every_loss_can_be_asked():
    assert all(isinstance(published_values(name, 50), dict) for name in [*LOSSES, *METHODS, "nobody"])
