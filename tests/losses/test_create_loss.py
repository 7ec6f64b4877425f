"""One text means one loss, wherever it is given."""

import contextlib
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autorobustloss.errors import ARLError, CardError, ConfigError, UnknownNameError
from autorobustloss.losses import create_loss
from autorobustloss.losses.cards import load_card
from autorobustloss.methods import MethodSpec, create_criterion

LOGITS, LABELS = torch.randn(8, 5, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 5


def value(loss):
    return loss(LOGITS, LABELS)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("gce(q=0.5)", "gce", {"q": 0.5}),
        ("gce", "gce", {}),
        ("gce()", "gce", {}),
        (" sce( alpha = 0.2, beta=2 ) ", "sce", {"alpha": 0.2, "beta": 2}),
        ("nce+mae(alpha=1, beta=10)", "nce+mae", {"alpha": 1, "beta": 10}),
        ("bootstrap(beta=0.5)", "bootstrap_soft", {"beta": 0.5}),
        ("gce(legacy=True, q=0.3)", "gce", {"legacy": True, "q": 0.3}),
        ("taylor(theta=[0, 0, 0, 0, -1], scale='max')", "taylor", {"theta": [0, 0, 0, 0, -1], "scale": "max"}),
        ("arl", "arl", {}),
        ("arl(reduction='sum')", "arl", {"reduction": "sum"}),
        ("gce(q=0.5, ignore_index=3, reduction='sum')", "gce", {"q": 0.5, "ignore_index": 3, "reduction": "sum"}),
    ],
)
def test_a_text_is_its_name_and_arguments(text, name, options):
    expected = create_loss(name, **options)
    assert repr(create_loss(text)) == repr(expected)
    assert torch.equal(value(create_loss(text)), value(expected))
    if "reduction" not in options:  # training takes the mean
        assert torch.equal(value(create_criterion(MethodSpec.parse(text), num_classes=5)), value(expected))


def test_a_card_by_its_path(tmp_path, monkeypatch):
    folder = tmp_path / "my runs (1)"
    folder.mkdir()
    load_card("arl-mild").save(folder / "loss.json")
    for path in (folder / "loss.json", str(folder / "loss.json")):
        assert torch.equal(value(create_loss(path)), value(create_loss("arl-mild")))
        weighted = create_loss(path, weight=torch.linspace(1, 2, 5), reduction="sum", ignore_index=3)
        assert (weighted.reduction, weighted.ignore_index, len(weighted.weight)) == ("sum", 3, 5)
    monkeypatch.chdir(folder)
    assert torch.equal(value(create_loss("loss.json")), value(create_loss("arl-mild")))
    loss = create_loss("loss.json")
    assert loss.card == load_card("arl-mild")
    assert repr(loss) == "LearnedLoss('arl-mild')"
    assert torch.equal(value(create_criterion(MethodSpec.parse("loss.json"), 5)), value(loss))
    assert create_loss("arl").card == load_card("arl")


def test_arguments_that_clash():
    with pytest.raises(ConfigError, match="got q in the text and as an argument"):
        create_loss("gce(q=0.5)", q=0.5)
    with pytest.raises(ConfigError, match="got alpha, reduction in the text"):
        create_loss("sce(alpha=1, reduction='sum')", alpha=1, reduction="sum", beta=1)
    assert repr(create_loss("sce(alpha=1)", beta=2)) == repr(create_loss("sce", alpha=1, beta=2))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("gec", UnknownNameError, "did you mean 'gce'"),
        ("gec(q=0.5)", UnknownNameError, "did you mean 'gce'"),
        ("gce(0.5)", ConfigError, "given by name"),
        ("gce(q=", ConfigError, "expected name"),
        ("gce(q=open)", ConfigError, "expected name"),
        ("gce(q=0.5, q=0.6)", ConfigError, "expected name"),
        ("gce(z=1)", ConfigError, "it takes q, legacy"),
        ("gce(q=2)", ConfigError, "got q=2"),
        ("gce(q=nan)", ConfigError, "a malformed value"),
        ("bi_tempered(num_iters=1000000000)", ConfigError, "at most 1000"),
        ("taylor_ce(order=100000000)", ConfigError, "at most 1000"),
        (f"taylor(theta={[0.1] * 5052})", ConfigError, "order 100, expected at most order 20"),
        ("gce(legacy='no')", ConfigError, "got legacy='no', expected True or False"),
        ("rce(legacy=1)", ConfigError, "expected True or False"),
        ("gce_truncated(prune='false')", ConfigError, "got prune='false', expected True or False"),
        ("ce(ignore_index='a')", ConfigError, "expected a label"),
        ("ce(ignore_index=None)", ConfigError, "expected a label"),
        ("arl(ignore_index=1.5)", ConfigError, "expected a label"),
        ("gce(ignore_index=True)", ConfigError, "expected a label"),
        ("gce(q=1e-300)", ConfigError, "expected 0 or a size from"),
        ("mae(scale=1e39)", ConfigError, "expected 0 or a size from"),
        ("nce+agce(q=1000)", ConfigError, "expected at most 1e30"),
        ("nce+aul(a=1e20, q=3)", ConfigError, "expected at most 1e30"),
        ("", ConfigError, "expected name"),
        ("no/such/card.json", CardError, "no/such/card.json"),
        ("no\0file.json", CardError, "null"),
        (Path("no-such-card"), CardError, "no-such-card"),
        (None, ConfigError, "of type NoneType"),
        (3, ConfigError, "of type int"),
    ],
)
def test_texts_that_mean_nothing(text, error, message):
    with pytest.raises(error, match=message):
        create_loss(text)


def test_a_file_that_is_no_card(tmp_path):
    (tmp_path / "loss.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CardError, match=r"loss\.json"):
        create_loss(tmp_path / "loss.json")
    with pytest.raises(CardError, match="directory"):
        create_loss(tmp_path)
    load_card("arl").save(tmp_path / "loss.json")
    with pytest.raises(ConfigError, match="does not take 'q'"):
        create_loss(tmp_path / "loss.json", q=0.5)


@given(st.text(max_size=30))
def test_any_text_is_a_loss_or_an_error_of_ours(text):
    with contextlib.suppress(ARLError):
        create_loss(text)
