"""The learned losses that ship: they load, they are sound at any number of classes, and say where they come from."""

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import autorobustloss as arl
from autorobustloss.cli.main import main, parse
from autorobustloss.cli.search import read_config
from autorobustloss.cli.tasks import read_tasks
from autorobustloss.errors import ConfigError
from autorobustloss.losses.analysis import screen, soft_targets
from autorobustloss.losses.cards import card_names, load_card

NAMES = ["arl", "arl-ar-a40", "arl-ar-s80", "arl-dr-a40", "arl-dr-s80", "arl-mild", "arl-taylor"]
SEARCHED = NAMES[1:]
"""By `arl search`, which `arl` was not."""
SEARCHES = Path(__file__).parents[3] / "searches"


def test_these_ship():
    assert card_names() == NAMES
    assert set(NAMES) <= set(arl.list_losses())


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        *((name, classes) for name in ("arl", "arl-mild", "arl-taylor") for classes in (2, 3)),
        *((name, classes) for name in NAMES for classes in (10, 26, 100)),
    ],
)
def test_a_drop_in_for_cross_entropy(name, classes):
    criterion = arl.create_loss(name)
    assert screen(criterion, [classes]).ok
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(16, classes, generator=generator)).requires_grad_()
    labels = torch.randint(classes, (16,), generator=generator)
    criterion(logits, labels).backward()
    assert torch.isfinite(logits.grad).all()
    uniform = torch.zeros(1, classes, requires_grad=True)
    criterion(uniform, torch.tensor([0])).backward()
    assert uniform.grad[0, 0] < 0 < uniform.grad[0, 1]


def test_a_loss_that_would_avoid_the_label_says_so():
    """Its minimum is at a probability of 0.3, which two classes start above."""
    with pytest.raises(ConfigError, match="does not pull towards the label at uniform predictions of 2 classes"):
        arl.create_loss("arl-dr-s80")(torch.zeros(1, 2), torch.tensor([0]))


@pytest.mark.parametrize("name", NAMES)
def test_the_card_tells_where_it_comes_from_and_how_it_was_tested(name, capsys):
    card = load_card(name)
    assert card.name == name
    assert {"search", "found_on", "use_for", "when_not"} <= card.provenance.keys()
    assert {"tested_on", "average_rank", "accuracy"} <= card.measured.keys()
    assert main(["losses", "show", name]) == 0
    shown = capsys.readouterr().out
    for text in ("pull at the label", "found on", "when not", "average rank"):
        assert text in shown


@pytest.mark.parametrize("name", SEARCHED)
def test_the_card_tells_how_its_search_went(name):
    card = load_card(name)
    assert {"generations", "fitness", "versions", "date", "hardware"} <= card.provenance.keys()
    searched = {task["dataset"]["name"].split("[")[0] for task in card.provenance["search"]["tasks"]}
    assert searched <= {"mnist", "cifar10"}, "the other data sets are for testing only"
    assert card.canonical().order == 4


def test_arl_has_the_numbers_that_were_on_trial_and_those_of_the_family():
    script = {"rel": "odds", "kappa": "progress", "smooth": "smoothing"}
    chosen = json.loads((SEARCHES / "gated" / "results" / "chosen.json").read_text(encoding="utf-8"))
    on_trial = {script.get(name, name): value for name, value in chosen.items()}
    assert load_card("arl").arguments() == arl.GatedLoss().hyperparameters()
    assert load_card("arl") == replace(load_card("arl"), **on_trial)


@pytest.mark.parametrize(("variant", "target"), [("soft", 0.9), ("certain", 1.0)])
def test_variants_for_the_ablation_are_least_where_they_should(variant, target, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["ablate.py", "arl-dr-s80", "--out", str(tmp_path)])
    runpy.run_path(str(SEARCHES / "ablate.py"), run_name="__main__")
    loss = arl.create_loss(tmp_path / f"arl-dr-s80-{variant}" / "loss.json")
    assert soft_targets(arl.create_loss("arl-dr-s80"), 10)[0] < 0.3
    assert soft_targets(loss, 10)[0] == pytest.approx(target, abs=1e-3)


@pytest.mark.data
@pytest.mark.parametrize("name", SEARCHED)
def test_the_card_is_of_the_search_that_is_written_down(name, real_dir):
    words = ["search", "--config", str(SEARCHES / f"{name}.toml"), "--data-dir", str(real_dir)]
    options = parse(words).keywords["options"]
    config = read_config(options, read_tasks(options, "search"))
    found = load_card(name).provenance["search"]
    assert json.loads(json.dumps(config.to_dict())) == found | {"seed": config.seed}


@pytest.mark.parametrize("name", SEARCHED)
def test_a_fitness_of_another_scale_says_so(name):
    card = load_card(name)
    moved = card.scale != card.provenance["search"]["space"]["scale"]
    assert moved == ("fitness_is_of" in card.provenance) == (name in ("arl-taylor", "arl-mild"))


def test_cards_have_the_texts_that_are_written_down(tmp_path, monkeypatch):
    """`ship.py` alone renews the texts of the shelf, and finds nothing to renew."""
    before = {name: load_card(name) for name in NAMES}
    monkeypatch.setattr("autorobustloss.losses.cards.shelf.CARDS", tmp_path / "cards")
    monkeypatch.setattr(sys, "argv", ["ship.py"])
    monkeypatch.setattr("autorobustloss.losses.cards.load_card", before.__getitem__)
    runpy.run_path(str(SEARCHES / "ship.py"), run_name="__main__")
    assert {name: load_card(tmp_path / "cards" / f"{name}.json") for name in NAMES} == before
