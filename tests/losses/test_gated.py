"""The gated family: value, gradient and state against a reference in NumPy, and what holds for every batch."""

import copy
import importlib.util
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from autorobustloss.errors import ConfigError
from autorobustloss.losses import GatedLoss, create_loss, export_loss
from autorobustloss.losses.base import value_and_gradient
from autorobustloss.losses.gated.core import Gate, State

PLAIN = {"odds": 0.0, "own": 0.0, "smoothing": 0.0}
GATES = [
    {},
    {"q": 0.0, "r": 0.0, "progress": None, **PLAIN},
    {"q": 0.6, "r": 2.0, "progress": 3.0, **PLAIN, "terms": [0.5, -0.7, 0.3, -1.1, 0.4]},
    {"q": 0.0, "r": 1.5, "progress": None, "pace": 0.5},
    {"q": 0.35, "r": 0.0, "progress": 1.2, "prior": 0.7, "pace": 1.0},
    {"q": 0.0, "r": 1.0, "odds": 1.2, "own": 1.0, "progress": 20.0, "smoothing": 0.1},
    {"q": 0.4, "r": 0.0, "odds": 0.5, "own": 0.5, "prior": 0.3, "pace": 0.4, "smoothing": 0.02},
    {"q": 0.0, "r": 0.0, "smoothing": 0.3},
]
IGNORE = -100


class Reference:
    """The formula of the docstring, one sample after another, in NumPy; targets are distributions over the labels."""

    def __init__(
        self,
        classes,
        q=0.0,
        r=1.0,
        terms=(0.0,) * 5,
        progress=15.0,
        prior=0.0,
        pace=0.0,
        odds=1.0,
        own=1.0,
        smoothing=0.1,
    ):
        self.numbers = q, r, terms, progress, prior, pace
        self.odds, self.own, self.smoothing = odds, own, smoothing
        self.beliefs, self.counts, self.labels = np.zeros((3, classes))
        self.surprise = self.seen = 0.0

    def __call__(self, logits, targets, learning=True):
        """Return each sample's loss, and its gradient."""
        q, r, c, progress, prior, pace = self.numbers
        classes = logits.shape[1]
        seen = targets.sum(0)
        if learning:
            self.labels = self.labels + seen
        corrected = softmax(logits - prior * np.log(self.labels + 1))
        b, surprise = np.zeros_like(targets), np.zeros_like(targets)
        for i, row in enumerate(corrected):
            for y in range(classes):
                p, m = row[y], max(row[k] for k in range(classes) if k != y)
                u = 1 - p
                b[i, y] = p**q * (1 - m) ** r * (p / (p + m)) ** self.odds
                b[i, y] *= np.exp(c[0] * u + c[1] * m + c[2] * u**2 + c[3] * u * m + c[4] * m**2)
                surprise[i, y] = max(0, m - p)
        if learning:
            self.beliefs = self.beliefs * (1 - 1 / 64) ** seen + (targets * b ** (1 + self.own)).sum(0)
            self.counts = self.counts * (1 - 1 / 64) ** seen + (targets * b**self.own).sum(0)
            self.surprise = self.surprise * (1 - 1 / 4096) ** seen.sum() + (targets * surprise).sum()
            self.seen = self.seen * (1 - 1 / 4096) ** seen.sum() + seen.sum()
        g = 1.0 if progress is None else min(1.0, progress * self.surprise / self.seen)
        with np.errstate(invalid="ignore"):
            mean = np.where(self.counts > 0, self.beliefs / self.counts, 0.0)
        w = np.minimum(1.0, b / np.maximum(mean, 1e-26)) ** g
        w = w / ((targets * w).sum() / len(targets)) ** pace
        p = softmax(logits)
        toward = (1 - self.smoothing) * targets * w + self.smoothing * (targets * w).mean(1, keepdims=True)
        return -(toward * np.log(p)).sum(1), (targets * w).sum(1, keepdims=True) * p - toward


def softmax(z):
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def batches(count=4, rows=24, classes=6, seed=0, agreeing=1.5):
    draw = torch.Generator().manual_seed(seed)
    for _ in range(count):
        labels = torch.randint(classes, (rows,), generator=draw)
        logits = 2 * torch.randn(rows, classes, generator=draw, dtype=torch.float64)
        yield logits + agreeing * F.one_hot(labels, classes), labels


def gradient(loss, logits, target):
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, target)
    return value.detach(), torch.autograd.grad(value.sum(), leaf)[0]


def state(loss):
    return State.of(loss.state.memory())


def assert_same_state(a, b, **tolerance):
    for one, other in zip(a, b):
        torch.testing.assert_close(one, other, **tolerance)


class TestAgainstTheReference:
    @pytest.mark.parametrize("gate", GATES, ids=repr)
    @pytest.mark.parametrize("soft", [False, True])
    def test_value_and_gradient_of_a_training(self, gate, soft):
        loss, reference = GatedLoss(**gate, reduction="none"), Reference(6, **gate)
        for logits, labels in batches():
            target = F.one_hot(labels, 6).double()
            if soft:
                target = 0.7 * target + 0.3 * torch.rand(24, 6, dtype=torch.float64).softmax(1)
            wanted, slopes = reference(logits.numpy(), target.numpy())
            values, got = gradient(loss, logits, target if soft else labels)
            np.testing.assert_allclose(values, wanted, rtol=1e-9)
            np.testing.assert_allclose(got, slopes, rtol=1e-7, atol=1e-12)
        loss.eval()
        for logits, labels in batches(seed=1):
            wanted, slopes = reference(logits.numpy(), F.one_hot(labels, 6).double().numpy(), learning=False)
            values, got = gradient(loss, logits, labels)
            np.testing.assert_allclose(values, wanted, rtol=1e-9)
            np.testing.assert_allclose(got, slopes, rtol=1e-7, atol=1e-12)

    @pytest.mark.parametrize("gate", GATES, ids=repr)
    def test_the_way_without_a_graph_is_the_same(self, gate):
        usual, direct = GatedLoss(**gate), GatedLoss(**gate)
        for logits, labels in batches():
            wanted = gradient(usual, logits, labels)
            torch.testing.assert_close(value_and_gradient(direct, logits, labels), wanted)
        assert_same_state(state(direct), state(usual))
        logits, labels = next(batches(seed=2))
        labels[::3] = IGNORE
        torch.testing.assert_close(value_and_gradient(direct, logits, labels), gradient(usual, logits, labels))
        assert_same_state(state(direct), state(usual))
        value, slope = value_and_gradient(direct, logits.bfloat16(), labels.clamp_min(0).int())
        assert (value.dtype, slope.dtype) == (torch.float32, torch.bfloat16)

    @pytest.mark.slow
    def test_compiled_it_trains_alike(self):
        torch.compiler.reset()
        usual, loss = GatedLoss(terms=GATES[2]["terms"]), GatedLoss(terms=GATES[2]["terms"])
        compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
        for number, (logits, labels) in enumerate(batches()):
            labels[:number] = IGNORE
            torch.testing.assert_close(gradient(compiled, logits, labels), gradient(usual, logits, labels))
        assert_same_state(state(loss), state(usual))

    @pytest.mark.parametrize("gate", GATES, ids=repr)
    def test_exported_code_trains_alike(self, gate, tmp_path):
        (tmp_path / "exported.py").write_text(GatedLoss(**gate).code())
        spec = importlib.util.spec_from_file_location("exported", tmp_path / "exported.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        weight = torch.linspace(0.5, 2, 6, dtype=torch.float64)
        for options in ({}, {"reduction": "none"}, {"reduction": "sum", "weight": weight}):
            usual, loss = GatedLoss(**gate, **options), module.LearnedLoss(**options)
            for number, (logits, labels) in enumerate(batches()):
                labels[:number] = IGNORE
                torch.testing.assert_close(gradient(loss, logits, labels), gradient(usual, logits, labels))
            usual.eval(), loss.eval()
            for classes in (6, 6) if "weight" in options else (6, 5, 6):
                logits, labels = next(batches(seed=1, classes=classes))
                torch.testing.assert_close(gradient(loss, logits, labels), gradient(usual, logits, labels))

    @pytest.mark.parametrize("name", ["arl", "arl-taylor"])
    @pytest.mark.parametrize("function", ["loss", "learned_loss"])
    def test_exported_code_has_the_same_names_in_both_families(self, name, function):
        names: dict = {}
        exec(export_loss(create_loss(name)), names)
        logits, labels = next(batches())
        labels[0] = IGNORE
        expected = gradient(create_loss(name), logits, labels)
        torch.testing.assert_close(gradient(names[function], logits, labels), expected)
        with pytest.raises(ValueError, match="expected logits"):
            names[function](logits, labels[:2])


class TestMembers:
    def test_cross_entropy_is_one(self):
        loss = GatedLoss(q=0, r=0, **PLAIN)
        for logits, labels in batches():
            torch.testing.assert_close(gradient(loss, logits, labels), gradient(F.cross_entropy, logits, labels))

    @pytest.mark.parametrize(("gate", "name"), [({"q": 0.7}, "gce"), ({"q": 1.0}, "mae")])
    def test_known_gradients_where_all_is_believed(self, gate, name):
        loss = GatedLoss(r=0.0, progress=None, **gate, **PLAIN)
        sure = 200 * torch.eye(6, dtype=torch.float64)
        loss(sure, torch.arange(6))
        loss.eval()
        for logits, labels in batches():
            options = {"q": gate["q"]} if name == "gce" else {}
            _, wanted = gradient(create_loss(name, **options), logits, labels)
            torch.testing.assert_close(gradient(loss, logits, labels)[1], wanted)

    def test_it_is_cross_entropy_once_all_labels_are_agreed_with(self):
        loss = GatedLoss(progress=4.0)
        for logits, labels in batches(count=200, rows=100, agreeing=30):
            loss(logits, labels)
        logits, labels = next(batches(seed=3, agreeing=0))
        torch.testing.assert_close(loss.eval()(logits, labels), F.cross_entropy(logits, labels), rtol=2e-2, atol=0)

    def test_at_the_start_it_is_cross_entropy(self):
        labels = torch.arange(10)
        torch.testing.assert_close(
            GatedLoss()(torch.zeros(10, 10), labels), F.cross_entropy(torch.zeros(10, 10), labels)
        )


class TestState:
    def test_evaluation_leaves_it_alone(self):
        loss = GatedLoss()
        for logits, labels in batches():
            loss(logits, labels)
        before = state(loss)
        loss.eval()
        for logits, labels in batches(seed=1):
            first = loss(logits, labels)
            assert torch.equal(loss(logits, labels), first)
            loss(torch.randn(3, 4), torch.tensor([0, 1, 2]))
        assert_same_state(state(loss), before)

    def test_without_gradients_it_is_left_alone_too(self):
        """A validation loss that is taken without a thought of modes."""
        loss, evaluated = GatedLoss(), GatedLoss()
        for logits, labels in batches():
            loss(logits, labels), evaluated(logits, labels)
        before = state(loss)
        evaluated.eval()
        for logits, labels in batches(seed=1):
            with torch.no_grad():
                assert torch.equal(loss(logits, labels), evaluated(logits, labels))
        assert_same_state(state(loss), before)
        with torch.no_grad():
            value_and_gradient(loss, logits, labels)
        assert not torch.equal(loss.state.labels, before.labels)

    def test_before_any_training_evaluation_takes_the_batch(self):
        logits, labels = next(batches())
        loss = GatedLoss().eval()
        assert torch.equal(loss(logits, labels), GatedLoss()(logits, labels))
        assert not len(loss.state.beliefs)

    def test_ignored_samples_never_touch_it(self):
        with_them, without = GatedLoss(), GatedLoss()
        for logits, labels in batches():
            labels[[1, 7]] = IGNORE
            logits[7] = torch.nan
            kept = labels != IGNORE
            torch.testing.assert_close(with_them(logits, labels), without(logits[kept], labels[kept]))
        assert_same_state(state(with_them), state(without))
        before = state(with_them)
        assert with_them(logits, torch.full_like(labels, IGNORE)) == 0
        assert with_them(logits[:0], labels[:0]) == 0
        assert_same_state(state(with_them), before)

    def test_nothing_of_it_is_saved_or_differentiated(self):
        loss = GatedLoss(weight=torch.ones(6))
        for logits, labels in batches():
            loss(logits.float().requires_grad_(), labels)
        assert list(loss.state_dict()) == ["weight"]
        assert not any(value.requires_grad for value in state(loss))

    def test_other_classes_begin_anew_and_reset_forgets(self):
        logits, labels = next(batches(classes=4))
        loss, fresh = GatedLoss(), GatedLoss()
        for other in batches():
            loss(*other)
        assert torch.equal(loss(logits, labels), fresh(logits, labels))
        assert_same_state(state(loss), state(fresh))
        loss.reset()
        assert torch.equal(loss(logits, labels), GatedLoss()(logits, labels))

    def test_copies_go_their_own_way(self):
        loss = GatedLoss()
        logits, labels = next(batches())
        loss(logits, labels)
        before = state(loss)
        for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
            assert_same_state(state(other), before)
            other(logits, labels)
            assert other.state.labels.sum() == 48
        assert_same_state(state(loss), before)

    def test_a_batch_in_parts_leaves_nearly_the_same(self):
        whole, parts = GatedLoss(), GatedLoss()
        for logits, labels in batches(rows=64, count=10):
            whole(logits, labels)
            for z, y in zip(logits.split(16), labels.split(16)):
                parts(z, y, num_items_in_batch=64)
        one, other = state(whole), state(parts)
        torch.testing.assert_close(one.beliefs / one.counts, other.beliefs / other.counts, rtol=0.05, atol=0)
        torch.testing.assert_close(
            one.surprise[0] / one.surprise[1], other.surprise[0] / other.surprise[1], rtol=0.02, atol=0
        )
        assert torch.equal(one.labels, other.labels)

    def test_who_sees_through_the_code_leaves_it_alone(self):
        loss = GatedLoss()
        logits, labels = next(batches())
        loss(logits, labels)
        before = state(loss)
        torch.func.grad(lambda z: loss(z, labels))(logits)
        torch.func.jacrev(lambda z: loss(z, labels))(logits)
        torch.func.vmap(loss)(logits.reshape(2, 12, 6), labels.reshape(2, 12))
        loss(logits.to("meta"), labels.to("meta"))
        with FakeTensorMode() as mode:
            loss(mode.from_tensor(logits), mode.from_tensor(labels))
        assert_same_state(state(loss), before)

    def test_it_follows_precision_and_inference_mode(self):
        loss = GatedLoss()
        logits, labels = next(batches())
        with torch.inference_mode(), torch.enable_grad():
            loss(logits.bfloat16(), labels)
        assert gradient(loss, logits.half(), labels)[1].isfinite().all()
        assert loss.half()(logits, labels).dtype == torch.float64
        assert loss(logits.float(), labels).isfinite()

    @pytest.mark.parametrize("soft", [False, True])
    def test_a_batch_that_overflowed_is_forgotten(self, soft):
        """As mixed precision has them, which skips the step and goes on."""
        loss = GatedLoss()
        for logits, labels in batches():
            loss(logits, labels)
        assert loss(torch.full_like(logits, torch.inf), F.one_hot(labels, 6).double() if soft else labels).isnan()
        for logits, labels in batches(count=40, seed=1):
            value, slope = gradient(loss, logits, labels)
            assert value.isfinite()
            assert slope.isfinite().all()
        fresh = GatedLoss()
        for batch in batches(count=40, seed=1):
            fresh(*batch)
        torch.testing.assert_close(loss.eval()(logits, labels), fresh.eval()(logits, labels), rtol=0.05, atol=0)

    def test_a_class_that_was_given_up_comes_back(self):
        """Where the network is sure against every sample of a label, they weigh as much as any others."""
        loss = GatedLoss(smoothing=0.0, reduction="none")
        logits = torch.zeros(8, 3)
        logits[:, 1] = 80.0
        values = loss(logits, torch.zeros(8, dtype=torch.long))
        torch.testing.assert_close(values, torch.full((8,), 80.0))

    def test_many_classes_take_little_memory(self):
        loss = GatedLoss()
        value, slope = value_and_gradient(loss, torch.randn(4, 50_000), torch.tensor([0, 1, 2, 49_999]))
        assert value.isfinite()
        assert slope.isfinite().all()
        assert sum(v.numel() for v in state(loss)) == 3 * 50_000 + 2

    def test_as_at_the_start(self):
        loss = GatedLoss().at_start(10)
        assert not loss.training
        torch.testing.assert_close(loss(torch.zeros(2, 10), torch.tensor([0, 3])), torch.tensor(10.0).log())


finite = st.floats(-4, 4)
gates = st.builds(
    dict,
    q=st.floats(0, 2),
    r=st.floats(0, 5),
    terms=st.lists(finite, min_size=5, max_size=5),
    progress=st.none() | st.floats(0.1, 20),
    prior=st.sampled_from([0.0, 0.5]),
    odds=st.floats(0, 3),
    own=st.floats(0, 2),
    smoothing=st.just(0.0),
)


class TestProperties:
    @settings(max_examples=50)
    @given(gates, st.integers(0, 10**6), st.integers(2, 8), st.floats(0.1, 30))
    def test_weights_are_shares_and_the_pull_is_to_the_label(self, gate, seed, classes, spread):
        loss = GatedLoss(**gate, reduction="none")
        for logits, labels in batches(count=2, classes=classes, seed=seed):
            logits = spread * logits
            values, slope = gradient(loss, logits, labels)
            at_label = slope.gather(1, labels.unsqueeze(1)).squeeze(1)
            full, most = gradient(lambda z, y: F.cross_entropy(z, y, reduction="none"), logits, labels)
            assert (values <= full * (1 + 1e-12)).all()
            assert (values >= 0).all()
            assert (at_label <= 0).all()
            assert (slope.abs() <= most.abs() * (1 + 1e-9) + 1e-15).all()

    @settings(max_examples=30)
    @given(gates, st.integers(0, 10**6), st.floats(0, 1))
    def test_order_of_the_batch_does_not_matter(self, gate, seed, pace):
        one, other = (GatedLoss(**gate, pace=pace, reduction="none") for _ in range(2))
        for logits, labels in batches(count=2, seed=seed):
            order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
            torch.testing.assert_close(other(logits[order], labels[order]), one(logits, labels)[order])

    @settings(max_examples=30)
    @given(gates, st.integers(0, 10**6))
    def test_a_label_is_measured_by_its_own_samples(self, gate, seed):
        """Without progress and prior the weights of a label's samples do not depend on the others."""
        gate = {**gate, "progress": None, "prior": 0.0}
        together, alone = (GatedLoss(**gate, reduction="none") for _ in range(2))
        for logits, labels in batches(count=2, seed=seed):
            ours = labels == 2
            torch.testing.assert_close(alone(logits[ours], labels[ours]), together(logits, labels)[ours])

    @settings(max_examples=30)
    @given(gates, st.integers(0, 10**6))
    def test_at_full_pace_a_batch_pulls_as_hard_as_under_cross_entropy(self, gate, seed):
        logits = torch.zeros(30, 5, dtype=torch.float64)
        logits[:, 0] = torch.linspace(0, 3, 30)
        labels = torch.randint(1, 5, (30,), generator=torch.Generator().manual_seed(seed))
        weight = GatedLoss(**gate, pace=1.0, reduction="none")(logits, labels) / F.cross_entropy(
            logits, labels, reduction="none"
        )
        torch.testing.assert_close(weight.mean(), torch.tensor(1.0, dtype=torch.float64))

    @settings(max_examples=30)
    @given(gates)
    def test_numbers_come_back(self, gate):
        loss = GatedLoss(**gate)
        assert GatedLoss(**loss.hyperparameters()).gate == loss.gate
        assert "L = mean of w · (−log p)" in loss.formula()
        compile(loss.code(), "exported", "exec")


class TestFaults:
    @pytest.mark.parametrize(
        ("wrong", "said"),
        [
            ({"q": -0.1}, "q=-0.1"),
            ({"r": float("nan")}, "r"),
            ({"terms": [0.0]}, "1 terms"),
            ({"terms": 3}, "terms=3"),
            ({"progress": 0.0}, "progress=0.0"),
            ({"progress": float("inf")}, "progress"),
            ({"prior": -1}, "prior=-1"),
            ({"pace": 1.5}, "pace=1.5"),
            ({"q": "0.5x"}, "q="),
        ],
        ids=str,
    )
    def test_numbers_out_of_range(self, wrong, said):
        with pytest.raises(ConfigError, match=said):
            GatedLoss(**wrong)

    def test_a_batch_that_is_refused_leaves_no_trace(self):
        loss = GatedLoss()
        with pytest.raises(ValueError, match="labels"):
            loss(torch.randn(4, 3), torch.tensor([0, 1, 2, 3]))
        assert not len(loss.state.beliefs)

    def test_the_gate_is_what_was_given(self):
        assert GatedLoss(q=1, r=2, progress=None, **PLAIN).gate == Gate(1.0, 2.0)
