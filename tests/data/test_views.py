"""Views: classes merged and split, images as principal components."""

import dataclasses

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from autorobustloss.data import DataSpec, load_dataset, make_splits
from autorobustloss.data.views import view
from autorobustloss.errors import ConfigError


def test_split_cuts_each_class_into_parts_of_like_samples():
    whole, cut = load_dataset("digits"), load_dataset("digits[split=26]")
    assert cut.num_classes == 26
    assert torch.equal(cut.x_train, whole.x_train)
    parts = [3] * 6 + [2] * 4
    origin = torch.tensor([c for c, count in enumerate(parts) for _ in range(count)])
    assert torch.equal(origin[cut.y_train], whole.y_train)
    assert torch.equal(origin[cut.y_test], whole.y_test)
    assert cut.y_train.unique().tolist() == list(range(26))
    x = cut.x_train.flatten(1).float()
    within = sum(float((x[cut.y_train == k] - x[cut.y_train == k].mean(0)).square().sum()) for k in range(26))
    before = sum(float((x[whole.y_train == k] - x[whole.y_train == k].mean(0)).square().sum()) for k in range(10))
    assert within < 0.9 * before  # a random cut would leave it as it is, to a few per cent
    again = load_dataset("digits[split=26]")
    assert torch.equal(again.y_train, cut.y_train)
    assert make_splits(cut, DataSpec("digits[split=26]"), "sym:0.8").num_classes == 26


def test_components_are_the_leading_ones_of_the_training_part():
    whole, table = load_dataset("digits"), load_dataset("digits[components=5]")
    assert table.input_shape == (5,)
    assert not table.is_image
    x = whole.x_train.flatten(1).double()
    _, _, directions = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    expected = (whole.x_test.flatten(1).double() - x.mean(0)) @ directions[:5].T
    signs = torch.sign((expected * table.x_test).sum(0))
    torch.testing.assert_close(table.x_test.double() * signs, expected, rtol=1e-4, atol=1e-3)
    variance = table.x_train.var(0).numpy()
    assert np.allclose(variance, PCA(5).fit(x.numpy()).explained_variance_, rtol=1e-4)


def test_views_combine_and_have_fingerprints_of_their_own():
    names = ["digits", "digits[split=20]", "digits[components=8]", "digits[components=9]"]
    names += ["digits[merge=3,components=8]", "digits[components=8,split=20]"]
    sets = {name: load_dataset(name) for name in names}
    assert len({data.fingerprint for data in sets.values()}) == len(names)
    both = sets["digits[components=8,split=20]"]
    assert (both.num_classes, both.input_shape) == (20, (8,))
    assert torch.equal(both.y_train, sets["digits[split=20]"].y_train)
    assert torch.equal(both.x_train, sets["digits[components=8]"].x_train)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("digits[split=10]", "expected 11 to 1000"),
        ("wine[split=300]", "wine.split=300.: class 0 has 47 training samples, expected 200 for 100 parts"),
        ("digits[components=64]", "expected 1 to 63"),
    ],
)
def test_refusals(name, says):
    with pytest.raises(ConfigError, match=says):
        load_dataset(name)


def test_split_needs_clean_labels():
    with pytest.raises(ConfigError, match="clean labels"):
        view(dataclasses.replace(load_dataset("wine"), clean_labels=False), "split", 6)
