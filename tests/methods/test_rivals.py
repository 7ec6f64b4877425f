"""Methods around a loss: each against its formula, and in the loop against what it is made of."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from autorobustloss.data import DataSpec, load_dataset, make_splits
from autorobustloss.errors import ConfigError
from autorobustloss.losses import create_loss
from autorobustloss.methods import MethodSpec, Setting, run_method
from autorobustloss.methods.best_epoch import fit_to_best_epoch
from autorobustloss.methods.ce_prior import log_frequencies
from autorobustloss.methods.mixup import Mixup
from autorobustloss.methods.sam import SharpnessAware
from autorobustloss.methods.sr import sharpened, sparse_loss
from autorobustloss.models import build_model
from autorobustloss.seeding import derive_seed, torch_generator
from autorobustloss.training import LossObjective, TrainingProtocol, fit
from autorobustloss.training.protocol import PRESETS

FAST = TrainingProtocol(lr=0.1, epochs=4, batch_size=50)


@pytest.fixture(scope="module")
def splits():
    return make_splits(load_dataset("digits"), DataSpec("digits", train_size=400, valid_size=100), "sym:0.2")


def run(text, splits, protocol=FAST, seed=0):
    return run_method(MethodSpec.parse(text), Setting("mlp2", splits, protocol, seed))[1]


def random_batch(rows=6, classes=4):
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (rows,), generator=generator)


class TestTheLoopSaysWhichSamples:
    @pytest.mark.parametrize("last", [50, 30])
    def test_index(self, splits, last):
        """Each epoch names every sample once; those of a batch are those it was given."""
        small = replace(splits, x_train=splits.x_train[: 350 + last], y_train=splits.y_train[: 350 + last])
        seen = []

        class Watcher(LossObjective):
            def loss(self, x, y, epoch):
                seen.append(self.index.clone())
                assert torch.equal(small.x_train[self.index], x)
                assert torch.equal(small.y_train[self.index], y)
                return super().loss(x, y, epoch)

        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        fit(Watcher(network, create_loss("ce")), small, FAST, seed=0)
        for epoch in range(4):
            places = torch.cat(seen[8 * epoch : 8 * epoch + 8])
            assert places.sort().values.tolist() == list(range(350 + last))


class TestEarlyLearning:
    def test_without_its_pull_it_is_cross_entropy(self, splits):
        assert run("elr(lam=0.0)", splits).train_loss == pytest.approx(run("ce", splits).train_loss, rel=1e-4)

    def test_it_holds_on_to_what_was_learned_first(self):
        protocol = PRESETS["digits"].but(epochs=30, evaluate_every=30)
        data = load_dataset("digits")
        gain = []
        for seed in range(2):
            noisy = make_splits(data, DataSpec("digits"), "sym:0.4", seed, seed)
            gain.append(run("elr", noisy, protocol, seed).last("test") - run("ce", noisy, protocol, seed).last("test"))
        assert sum(gain) / 2 > 0.1


class TestSparseRegularisation:
    @pytest.mark.parametrize("normalise", [True, False])
    @pytest.mark.parametrize(("tau", "p", "weight"), [(0.5, 0.1, 1.2), (0.5, 0.01, 10.0), (2.0, 0.9, 0.3)])
    def test_value_and_gradient(self, normalise, tau, p, weight):
        logits, labels = random_batch()

        def reference(z):
            s = z / (np.linalg.norm(z, axis=1, keepdims=True) if normalise else 1) / tau
            q = np.exp(s) / np.exp(s).sum(1, keepdims=True)
            return (-np.log(q[np.arange(len(q)), labels.numpy()]) + weight * (q**p).sum(1)).mean()

        leaf = logits.clone().requires_grad_()
        value = sparse_loss(sharpened(leaf, tau, normalise), labels, create_loss("ce"), p, weight)
        (slope,) = torch.autograd.grad(value, leaf)
        assert value.item() == pytest.approx(reference(logits.numpy()), rel=1e-12)
        for row, k in ((0, 0), (3, 2), (5, 3)):
            step = np.zeros(logits.shape)
            step[row, k] = 1e-6
            wanted = (reference(logits.numpy() + step) - reference(logits.numpy() - step)) / 2e-6
            assert slope[row, k].item() == pytest.approx(wanted, rel=1e-5, abs=1e-9)

    def test_without_it_and_without_sharpening_it_is_the_loss(self, splits):
        bare = run("sr(tau=1.0, lam=0.0, normalise=False, loss='gce')", splits)
        assert bare.train_loss == pytest.approx(run("gce", splits).train_loss, rel=1e-4)

    def test_the_weight_grows(self, splits):
        grown = run("sr(growth=2.0, every=2)", splits)
        alike = run("sr(growth=1.0)", splits)
        assert grown.train_loss[:2] == pytest.approx(alike.train_loss[:2], rel=1e-6)
        assert grown.train_loss[2] > alike.train_loss[2] + 1


class TestLogitAdjustment:
    def test_log_frequencies(self):
        found = log_frequencies(torch.tensor([0, 0, 2, 2, 2, 0]), num_classes=4)
        np.testing.assert_allclose(found.exp().numpy(), [3 / 8, 1 / 8, 3 / 8, 1 / 8], rtol=1e-6)

    def test_it_is_the_loss_of_shifted_logits(self, splits):
        offset = 0.7 * log_frequencies(splits.y_train, 10)
        by_hand = LossObjective(
            build_model("mlp2", splits.input_shape, 10, seed=0), lambda z, y: F.cross_entropy(z + offset, y)
        )
        assert run("ce_prior(tau=0.7)", splits) == fit(by_hand, splits, FAST, seed=0)
        assert run("ce_prior(tau=0.0, loss='gce')", splits) == run("gce", splits)

    def test_rare_classes_are_predicted_more_often(self):
        """Ten to one: the network itself is told nothing of the imbalance, so it does not repeat it."""
        whole = make_splits(load_dataset("digits"), DataSpec("digits"), "clean")
        rare = whole.y_train >= 5
        few = rare & (torch.rand(len(rare), generator=torch.Generator().manual_seed(0)) < 0.05)
        kept = few | ~rare
        skewed = replace(whole, x_train=whole.x_train[kept], y_train=whole.y_train[kept])

        def recall(text):
            networks, _ = run_method(MethodSpec.parse(text), Setting("linear", skewed, FAST.but(epochs=10), 0))
            predicted = networks[0](whole.x_test).argmax(1)
            return (predicted == whole.y_test)[whole.y_test >= 5].double().mean().item()

        assert recall("ce_prior") > recall("ce") + 0.03


class TestWarmup:
    def test_the_same_loss_twice_is_that_loss(self, splits):
        twice = run("warmup(loss='gce', first='gce', factor=1.0)", splits)
        assert twice.train_loss == pytest.approx(run("gce", splits).train_loss, rel=1e-4)
        never = run("warmup(share=1.0)", splits)
        assert never.train_loss == pytest.approx(run("ce", splits).train_loss, rel=1e-4)

    def test_the_second_loss_comes_after_the_share(self, splits):
        history, plain = run("warmup(loss='nls(rate=-2.0)', factor=0.1)", splits), run("ce", splits)
        assert history.train_loss[:2] == pytest.approx(plain.train_loss[:2], rel=1e-4)
        assert history.train_loss[2] < 0.1 * plain.train_loss[2]


class TestMixup:
    def test_batch(self):
        logits, labels = random_batch()
        network = torch.nn.Linear(4, 4, dtype=torch.float64)
        objective = Mixup(network, create_loss("ce"), alpha=0.4, seed=3)
        value, outputs = objective.loss(logits, labels, epoch=1)
        w = random.Random(derive_seed("mixup", 3)).betavariate(0.4, 0.4)
        other = torch.randperm(6, generator=torch_generator("mixup", 3))
        mixed = network(w * logits + (1 - w) * logits[other])
        torch.testing.assert_close(outputs, mixed)
        wanted = w * F.cross_entropy(mixed, labels) + (1 - w) * F.cross_entropy(mixed, labels[other])
        torch.testing.assert_close(value, wanted, rtol=1e-6, atol=0)


class TestSharpnessAware:
    def objective(self, rho, network=None):
        torch.manual_seed(0)
        layers = torch.nn.Linear(4, 5), torch.nn.BatchNorm1d(5), torch.nn.ReLU(), torch.nn.Linear(5, 4)
        network = torch.nn.Sequential(*layers).double()
        return SharpnessAware(network, create_loss("ce"), rho), network

    def test_gradient_is_that_at_the_worst_weights_nearby(self):
        x, labels = random_batch()
        objective, network = self.objective(0.3)
        value, outputs = objective.loss(x, labels, epoch=1)
        got = torch.autograd.grad(value, list(network.parameters()))
        _, other = self.objective(0.3)
        here = F.cross_entropy(other(x), labels)
        slopes = torch.autograd.grad(here, list(other.parameters()))
        torch.testing.assert_close((value, outputs), (here, other(x)))
        length = math.sqrt(sum(s.square().sum().item() for s in slopes))
        with torch.no_grad():
            for p, slope in zip(other.parameters(), slopes):
                p += 0.3 * slope / length
        wanted = torch.autograd.grad(F.cross_entropy(other(x), labels), list(other.parameters()))
        torch.testing.assert_close(got, wanted)

    def test_running_statistics_follow_one_pass(self):
        x, labels = random_batch()
        objective, network = self.objective(0.3)
        _, other = self.objective(0.3)
        objective.loss(x, labels, epoch=1)
        other(x)
        torch.testing.assert_close(network.state_dict(), other.state_dict())

    def test_at_no_distance_it_is_the_loss(self, splits):
        assert run("sam(rho=0.0)", splits).train_loss == pytest.approx(run("ce", splits).train_loss, rel=1e-4)


class TestEarlyStopping:
    PROTOCOL = PRESETS["digits"].but(epochs=30, evaluate_every=5)
    SPEC = MethodSpec.of("tuned-ce", smoothing=0.0, average=0.0, stop=True)

    def test_goes_back_to_the_epoch_that_validates_best(self):
        noisy = make_splits(load_dataset("digits"), DataSpec("digits"), "sym:0.4")
        seen = []
        setting = Setting("mlp2", noisy, self.PROTOCOL, 0, on_epoch=lambda h: seen.append(len(h.train_loss)))
        networks, stopped = run_method(self.SPEC, setting)
        whole = run("tuned-ce(smoothing=0.0, average=0.0)", noisy, self.PROTOCOL)
        end = len(stopped.epochs)
        assert end < len(whole.epochs)
        assert stopped.test == whole.test[:end]
        assert stopped.valid_noisy[-1] == max(whole.valid_noisy)
        assert stopped.last("test") == whole.best("test", by="valid_noisy")
        assert (stopped.steps, stopped.train_loss) == (whole.steps, whole.train_loss)
        assert seen == list(range(1, 31))
        predicted = networks[0].eval()(noisy.x_test).argmax(1)
        assert (predicted == noisy.y_test).double().mean().item() == pytest.approx(stopped.last("test"))

    def test_the_same_where_only_the_test_is_scored(self):
        noisy = make_splits(load_dataset("digits"), DataSpec("digits"), "sym:0.4")
        only = run_method(self.SPEC, Setting("mlp2", noisy, self.PROTOCOL, 0, ("test",)))[1]
        both = run_method(self.SPEC, Setting("mlp2", noisy, self.PROTOCOL, 0))[1]
        assert (only.epochs, only.test, only.valid_noisy) == (both.epochs, both.test, [])

    def test_a_run_that_diverges_later_has_its_best_epoch(self, splits):
        lost = FAST.but(schedule="steps", milestones=(2,), gamma=1e30)
        setting = Setting("mlp2", splits, lost, 0, ("test",))
        _, plain = setting.fit(LossObjective(setting.network(), create_loss("ce")))
        assert plain.stopped == "diverged"
        networks, history = fit_to_best_epoch(setting, LossObjective(setting.network(), create_loss("ce")), lost)
        assert history.last("test") == max(plain.test)
        assert all(p.isfinite().all() for p in networks.parameters())

    def test_needs_noisy_validation_labels(self, splits):
        unknown = replace(splits, y_valid_noisy=torch.full_like(splits.y_valid_noisy, -1))
        with pytest.raises(ConfigError, match="stop=True needs noisy labels"):
            run("tuned-ce(stop=True)", unknown)


@pytest.mark.parametrize(
    "wrong",
    [
        *("elr(beta=1.0)", "elr(lam=-1)", "sr(tau=0)", "sr(p=1)", "sr(every=0)", "sr(growth=0.5)", "sr(normalise=1)"),
        *("ce_prior(tau='1')", "warmup(share=2)", "warmup(factor=0)", "mixup(alpha=0)", "sam(rho=-1)"),
        *("tuned-ce(stop=1)", "sr(loss='no_such')", "mixup(loss='ce(')"),
    ],
)
def test_wrong_hyperparameters_are_refused(wrong, splits):
    with pytest.raises((ConfigError, LookupError)):
        run(wrong, splits)


def test_a_penalty_within_a_method_is_not_left_out_silently(splits):
    for text in ("sam(loss='anl_ce(l1=5e-5)')", "logitclip(loss='ce(l1=1e-3)')", "sr(loss='ce(l1=1e-3)')"):
        with pytest.raises(ConfigError, match="expected it without l1"):
            run(text, splits)
    assert run("sam(loss='ce(l1=0)')", splits) == run("sam", splits)
