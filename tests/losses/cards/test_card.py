"""Loss cards: what is saved comes back, what is altered is refused, and nothing is run."""

import copy
import json
import math
import os

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autorobustloss.errors import CardError, ConfigError, UnknownNameError
from autorobustloss.losses import GatedLoss, TaylorLoss, create_loss
from autorobustloss.losses.base import RobustLoss
from autorobustloss.losses.cards import (
    Card,
    GatedCard,
    LossCard,
    card_names,
    load_card,
    register_cards,
    shelf,
)
from autorobustloss.losses.taylor.form import CanonicalForm
from autorobustloss.registry import Registry

FIELDS = [
    *("schema", "name", "q", "q_hex", "r", "r_hex", "terms", "terms_hex", "progress", "progress_hex", "prior"),
    *("prior_hex", "pace", "pace_hex", "odds", "odds_hex", "own", "own_hex", "smoothing", "smoothing_hex"),
    *("sha256", "provenance", "measured", "licence", "checksum"),
]
THETA = (0.1, 0.5, -1.0, 0.5, 1 / 3, -0.2, -1.0, 0.3, 0.4, 0.2, -0.1, 0.6)
PROVENANCE = {
    "search": {"seed": 3, "tasks": ["mnist/mlp-2/sym:0.8"], "population": 12},
    "generations": [{"number": 1, "best": 0.5}, {"number": 2, "best": 0.75}],
    "fitness": 0.75,
    "versions": {"torch": "2.4"},
    "date": "2026-01-02",
    "hardware": "two cores, höchstens",
}
MEASURED = [{"data set": "mnist", "loss": "ce", "accuracy": 0.21}]
CARD = Card("arl-test", THETA, 0.1, 0.25, "init", provenance=PROVENANCE, measured=MEASURED)
TEXT = CARD.to_json()


def contents():
    return copy.deepcopy(json.loads(TEXT))


@pytest.mark.parametrize("scale", [None, "init", "max", "geometric", 2.5])
@pytest.mark.parametrize("length", [5, 12, 17])
def test_save_and_load(tmp_path, scale, length):
    theta = [0.1 / (i + 3) - 0.7 for i in range(length)]
    card = Card.from_loss(TaylorLoss(theta, 1 / 7, scale), name="a b", provenance=PROVENANCE, measured=MEASURED)
    card.save(tmp_path / "card.json")
    again = load_card(tmp_path / "card.json")
    assert again == card
    loss = again.loss(reduction="sum", ignore_index=1, weight=torch.ones(4))
    assert (loss.theta, loss.log_weight, loss.scale) == (tuple(theta), 1 / 7, scale)
    assert (loss.reduction, loss.ignore_index, loss.weight.shape) == ("sum", 1, (4,))
    logits, labels = torch.randn(5, 4), torch.tensor([0, 2, 3, 3, 2])
    plain = TaylorLoss(theta, 1 / 7)
    torch.testing.assert_close(again.loss()(logits, labels), TaylorLoss(theta, 1 / 7, scale)(logits, labels))
    from_card = create_loss(tmp_path / "card.json", reduction="none")
    assert from_card(logits, labels).shape == (5,)
    assert from_card.canonical() == plain.canonical()
    assert os.listdir(tmp_path) == ["card.json"]


def test_fields():
    content = contents()
    assert content["schema"] == "autorobustloss-card/1"
    assert content["theta"] == list(THETA)
    assert [float.fromhex(h) for h in content["theta_hex"]] == list(THETA)
    assert (content["order"], content["log_weight"], content["scale"]) == (4, 0.1, "init")
    form = CanonicalForm(tuple(content["canonical"]["a"]), tuple(content["canonical"]["b"]), content["canonical"]["k"])
    assert form == CanonicalForm.from_theta(THETA)
    assert content["provenance"] == PROVENANCE
    assert content["measured"] == MEASURED
    assert len(content["sha256"]) == len(content["checksum"]) == 64


def test_hash_is_of_the_loss_alone():
    same = {"theta": THETA, "log_weight": 0.1, "log_power": 0.25, "scale": "init"}
    assert Card("other", **same, licence="CC0").sha256 == CARD.sha256
    for change in ({"scale": "max"}, {"log_weight": 0.2}, {"log_power": 0.5}, {"theta": THETA[:5]}):
        other = Card("a", **{**same, **change})
        assert other.sha256 != CARD.sha256


def test_writing_is_whole_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "card.json"
    path.write_text("the old card")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "no space left")))
    with pytest.raises(CardError, match="no space left"):
        CARD.save(path)
    assert path.read_text() == "the old card"
    assert os.listdir(tmp_path) == ["card.json"]
    with pytest.raises(CardError, match="nowhere"):
        CARD.save(tmp_path / "nowhere" / "card.json")


class TestDamage:
    @pytest.mark.parametrize("name", sorted(contents()))
    def test_every_field_is_needed(self, name):
        content = contents()
        del content[name]
        with pytest.raises(CardError, match=name):
            Card.from_dict(content)

    @pytest.mark.parametrize("name", sorted(contents()))
    @pytest.mark.parametrize("value", [None, 7, -0.5, "text", True, [], {}, [1.0], {"a": 1}, ["0x1p0"] * 12, 10**400])
    def test_every_field_is_checked(self, name, value):
        content = contents()
        if content[name] == value:
            return
        content[name] = value
        with pytest.raises(CardError, match=rf"^{name}|sha256|checksum"):
            Card.from_dict(content)

    @pytest.mark.parametrize("index", range(12))
    def test_a_changed_number_is_found(self, index):
        content = contents()
        content["theta"][index] = math.nextafter(content["theta"][index], 9)
        with pytest.raises(CardError, match=r"theta_hex|canonical|sha256"):
            Card.from_dict(content)

    def test_a_consistent_change_of_the_numbers_is_found(self):
        content = contents()
        content["theta"][3] = 0.75
        content["theta_hex"][3] = (0.75).hex()
        form = CanonicalForm.from_theta(content["theta"])
        content["canonical"] = {"a": list(form.a), "b": list(form.b), "k": form.k}
        with pytest.raises(CardError, match=r"sha256.*altered"):
            Card.from_dict(content)

    def test_a_changed_history_is_found(self):
        content = contents()
        content["measured"][0]["accuracy"] = 0.99
        with pytest.raises(CardError, match=r"checksum.*altered"):
            Card.from_dict(content)

    def test_unknown_fields(self):
        with pytest.raises(CardError, match=r"thetas.*did you mean 'theta'"):
            Card.from_dict({**contents(), "thetas": [1.0]})

    def test_newer_version(self):
        with pytest.raises(CardError, match=r"schema.*newer"):
            Card.from_dict({**contents(), "schema": "autorobustloss-card/2"})

    @pytest.mark.parametrize("text", ["", "null", "[]", "3", "{", "[" * 100_000, b"\xff\xfe", b"\x80abc", "{}",
                                      TEXT.replace("0.1", "NaN"), TEXT.replace("0.1", "1e999"),
                                      TEXT.replace('"order": 4', '"order": 4, "order": 4')])  # fmt: skip
    def test_what_is_no_card(self, text):
        with pytest.raises(CardError):
            Card.from_json(text)

    def test_the_message_names_the_file(self, tmp_path):
        path = tmp_path / "broken.json"
        path.write_text(TEXT.replace('"order": 4', '"order": 5'))
        with pytest.raises(CardError, match=r"broken\.json: order: got 5, expected 4"):
            load_card(path)
        with pytest.raises(CardError, match=r"absent\.json.*No such file"):
            load_card(tmp_path / "absent.json")
        with pytest.raises(CardError, match="directory"):
            load_card(tmp_path)

    def test_a_huge_file_is_not_read(self, tmp_path, monkeypatch):
        monkeypatch.setattr("autorobustloss.losses.cards.card.LARGEST_FILE", 1000)
        CARD.save(tmp_path / "card.json")
        with pytest.raises(CardError, match="more than 1000 bytes"):
            load_card(tmp_path / "card.json")

    @settings(max_examples=100)
    @given(position=st.integers(0, len(TEXT.encode()) - 1), byte=st.integers(0, 255), kind=st.sampled_from("rid"))
    @example(position=0, byte=32, kind="i")
    def test_any_byte(self, position, byte, kind):
        """Replace, insert or delete any byte: the card is the same, or it is refused."""
        data = bytearray(TEXT.encode())
        if kind == "r":
            data[position] = byte
        elif kind == "i":
            data.insert(position, byte)
        else:
            del data[position]
        self.same_or_refused(bytes(data))

    @settings(max_examples=80)
    @given(data=st.data())
    def test_any_field(self, data):
        """Replace any value, however deep."""
        content = contents()
        node, key = content, data.draw(st.sampled_from(sorted(content)))
        while isinstance(node[key], (dict, list)) and node[key] and data.draw(st.booleans()):
            node = node[key]
            key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
        node[key] = data.draw(scalars | st.lists(scalars, max_size=4) | st.dictionaries(st.text(max_size=3), scalars))
        self.same_or_refused(json.dumps(content).encode())

    @given(data=st.binary(max_size=200))
    def test_any_bytes(self, data):
        self.same_or_refused(data)

    @staticmethod
    def same_or_refused(text):
        try:
            card = Card.from_json(text)
        except CardError:
            return
        assert card == CARD
        assert repr(card) == repr(CARD)


class TestConstruction:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("name", ""), ("name", "a\nb"), ("name", None), ("name", "x" * 300), ("licence", 3),
            ("theta", [1.0] * 6), ("theta", "abcde"), ("theta", [True] * 5), ("theta", [math.nan] * 5), ("theta", None),
            ("log_weight", "0.1"), ("log_weight", math.inf), ("scale", "huge"), ("scale", -1), ("scale", True),
            ("provenance", [1]), ("provenance", {"a": object()}), ("provenance", {"a": math.nan}),
            ("measured", "table"), ("measured", {"a": {1, 2}}),
        ],
    )  # fmt: skip
    def test_bad_fields(self, field, value):
        fields = {"name": "a", "theta": THETA, field: value}
        with pytest.raises(CardError, match=f"^{field}"):
            Card(**fields)

    def test_only_taylor_losses_have_cards(self):
        with pytest.raises(CardError, match=r"CrossEntropy|expected a TaylorLoss"):
            Card.from_loss(create_loss("ce"), name="ce")

    def test_numbers_of_a_learned_loss_are_fixed(self):
        for name in ("theta", "scale", "q"):
            with pytest.raises(ConfigError, match=f"does not take '{name}'"):
                CARD.loss(**{name: 1})
        assert CARD.loss().hyperparameters() == {}
        assert repr(CARD.loss(reduction="sum")) == "LearnedLoss('arl-test', reduction='sum')"

    def test_summary(self):
        assert "arl-test" in CARD.summary()
        assert CARD.sha256[:16] in CARD.summary()


class TestByName:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        CARD.save(tmp_path / "arl-test.json")
        monkeypatch.setattr(shelf, "CARDS", tmp_path)
        return tmp_path

    def test_shipped_cards_are_sound_and_named_after_their_files(self):
        for name in card_names():
            assert load_card(name).name == name
            assert isinstance(create_loss(name), load_card(name).LOSS)

    def test_names(self, folder):
        assert card_names() == ["arl-test"]
        assert load_card("arl-test") == CARD
        with pytest.raises(UnknownNameError, match="did you mean 'arl-test'"):
            load_card("arl-tset")

    def test_a_card_is_a_registered_loss(self, folder):
        losses: Registry[RobustLoss] = Registry("loss")
        register_cards(losses)
        assert losses.names() == ["arl-test"]
        loss = losses.create("arl-test", reduction="none")
        logits, labels = torch.randn(5, 4), torch.tensor([0, 2, 3, 3, 2])
        wanted = TaylorLoss(THETA, 0.1, "init", log_power=0.25, reduction="none")(logits, labels)
        torch.testing.assert_close(loss(logits, labels), wanted)
        with pytest.raises(ConfigError, match="q"):
            losses.create("arl-test", q=0.5)

    def test_a_broken_card_is_an_error_when_it_is_used(self, folder):
        (folder / "bad.json").write_text("{}")
        losses: Registry[RobustLoss] = Registry("loss")
        register_cards(losses)
        with pytest.raises(CardError, match=r"bad\.json"):
            losses.create("bad")


class TestGatedCards:
    CARD = GatedCard(
        "a-gate", 0.1, 1 / 3, (0.1, -0.2, 0.3, 0.0, 1e-7), 4.35, 0.0, 0.5, provenance=PROVENANCE, measured=MEASURED
    )

    @pytest.mark.parametrize("progress", [None, 3])
    def test_save_and_load(self, tmp_path, progress):
        made = GatedLoss(0.1, 2, (0.1, 0, 0, 0, -1 / 3), progress)
        card = LossCard.from_loss(made, name="a b", provenance=PROVENANCE, measured=MEASURED)
        card.save(tmp_path / "card.json")
        again = load_card(tmp_path / "card.json")
        assert again == card
        assert isinstance(again, GatedCard)
        loss = create_loss(tmp_path / "card.json", reduction="sum", ignore_index=1)
        assert (loss.gate, loss.reduction, loss.ignore_index) == (made.gate, "sum", 1)
        assert repr(loss) == "LearnedGatedLoss('a b', ignore_index=1, reduction='sum')"
        assert GatedLoss(**again.options()).gate == made.gate
        with pytest.raises(ConfigError, match="build a GatedLoss"):
            again.loss(q=1.0)
        assert "progress" in again.summary()

    def test_fields(self):
        content = self.CARD.to_dict()
        assert content["schema"] == "autorobustloss-gated-card/1"
        assert list(content) == FIELDS
        assert [float.fromhex(h) for h in content["terms_hex"]] == content["terms"] == list(self.CARD.terms)
        assert content["sha256"] == "10bf741cf6828c3034951027844358abf7d7be1c5509b6ecdf9b8ec2dd587132"

    def test_hash_is_of_the_loss_alone(self):
        numbers = self.CARD.arguments()
        assert GatedCard("other", **numbers, licence="CC0").sha256 == self.CARD.sha256
        changes = {"q": 0.2, "r": 1.0, "terms": (0.0,) * 5, "progress": None, "prior": 1.0, "pace": 0.0}
        assert len({GatedCard("a", **{**numbers, k: v}).sha256 for k, v in changes.items()} | {self.CARD.sha256}) == 7

    @pytest.mark.parametrize("field", sorted(set(FIELDS) - {"schema"}))
    def test_what_was_altered_is_refused(self, field):
        content = json.loads(self.CARD.to_json())
        assert LossCard.from_dict(content) == self.CARD
        for altered in ({**content, field: 0.75}, {k: v for k, v in content.items() if k != field}):
            with pytest.raises(CardError):
                LossCard.from_dict(altered)

    @pytest.mark.parametrize(
        ("field", "value"),
        [("q", -1.0), ("q", True), ("r", "2"), ("terms", [1.0]), ("terms", 3), ("progress", 0), ("pace", 2.0),
         ("prior", None), ("progress", math.inf)],
    )  # fmt: skip
    def test_numbers_that_make_no_loss(self, field, value):
        numbers = self.CARD.arguments()
        with pytest.raises(CardError, match=field):
            GatedCard("a", **{**numbers, field: value})
