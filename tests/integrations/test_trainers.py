"""Losses in skorch, Keras, Accelerate and Lightning, and on the targets that mixup and cutmix make."""

import os
import pickle
import sys

import numpy as np
import pytest
import torch
from torch import nn

from autorobustloss import create_loss, list_losses
from autorobustloss.errors import ConfigError, LossInputError, MissingDependencyError
from autorobustloss.integrations import keras_loss, skorch_loss

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(120, 5)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 1)


class Network(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3))


class TestSkorch:
    @pytest.fixture(autouse=True)
    def _needs_skorch(self):
        pytest.importorskip("skorch")

    def net(self, name="gce", **given):
        from skorch import NeuralNetClassifier

        torch.manual_seed(0)
        settings = {"max_epochs": 5, "lr": 0.1, "verbose": 0, "train_split": None, **given}
        return NeuralNetClassifier(Network, **skorch_loss(name), **settings)

    def test_probabilities_are_probabilities(self):
        net = self.net().fit(X, Y)
        found = net.predict_proba(X)
        np.testing.assert_allclose(found, net.forward(X).softmax(1), rtol=1e-6)
        np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
        assert (net.predict(X) == found.argmax(1)).all()
        assert pickle.loads(pickle.dumps(net)).predict_proba(X).shape == (120, 3)

    def test_a_grid_over_losses(self):
        from sklearn.model_selection import GridSearchCV

        grid = {"criterion__name": ["ce", "gce", "gated"]}
        search = GridSearchCV(self.net(), grid, cv=2, scoring="neg_log_loss", error_score="raise").fit(X, Y)
        assert len(search.cv_results_["params"]) == 3

    def test_each_fit_starts_with_an_empty_memory(self):
        net = self.net("gated").fit(X, Y)
        assert net.criterion_.state.labels.sum() == 5 * 120
        assert net.fit(X, Y).criterion_.state.labels.sum() == 5 * 120

    def test_validation_leaves_a_memory_alone(self):
        from skorch.dataset import ValidSplit

        net = self.net("gated", train_split=ValidSplit(4)).fit(X, Y)
        assert net.criterion_.state.labels.sum() == 5 * 90

    def test_what_no_loss_takes_is_refused_at_once(self):
        with pytest.raises(ConfigError, match="no_such"):
            skorch_loss("gce", no_such=1)


class TestKeras:
    @pytest.fixture(autouse=True)
    def _needs_keras(self, monkeypatch):
        if "keras" not in sys.modules:
            os.environ.setdefault("KERAS_BACKEND", "torch")
        self.keras = pytest.importorskip("keras")
        if self.keras.backend.backend() != "torch":
            pytest.skip("Keras runs on another backend")

    @pytest.mark.parametrize("name", ["ce", "gce", "arl"])
    @pytest.mark.parametrize("dense", [False, True])
    def test_value_and_gradient(self, name, dense):
        loss, ours = keras_loss(name), create_loss(name)
        shape = (4, 2, 3) if dense else (8, 3)
        z, y = torch.randn(*shape), torch.randint(3, shape[:-1])
        one, other = z.clone().requires_grad_(), z.clone().requires_grad_()
        value, wanted = loss(y, one), ours(other.reshape(-1, 3), y.reshape(-1))
        torch.testing.assert_close(value, wanted)
        for g in (value, wanted):
            g.backward()
        torch.testing.assert_close(one.grad, other.grad)
        torch.testing.assert_close(loss(y[..., None], z), value.detach())
        one_hot = torch.nn.functional.one_hot(y, 3).float()
        torch.testing.assert_close(loss(one_hot, z), value.detach())

    def test_sample_weights_are_kerass(self):
        z, y, w = torch.randn(8, 3), torch.randint(3, (8,)), torch.rand(8)
        rows = create_loss("gce", reduction="none")(z, y)
        torch.testing.assert_close(keras_loss("gce")(y, z, sample_weight=w), (rows * w).mean())
        torch.testing.assert_close(keras_loss("gce", reduction=None)(y, z, sample_weight=w), rows * w)

    def test_a_model_trains_and_is_saved(self, tmp_path):
        layers = self.keras.layers
        model = self.keras.Sequential([layers.Input((5,)), layers.Dense(16, "relu"), layers.Dense(3)])
        loss = keras_loss("gated", q=0.5)
        model.compile(self.keras.optimizers.Adam(0.02), loss)
        before = model.evaluate(X, Y, verbose=0)
        model.fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y))
        assert loss.loss.state.labels.sum() == 3 * 120
        assert model.evaluate(X, Y, verbose=0) < before
        model.save(tmp_path / "model.keras")
        again = self.keras.models.load_model(tmp_path / "model.keras")
        assert again.loss.loss.hyperparameters() == loss.loss.hyperparameters()
        np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-5)

    def test_what_cannot_be_meant(self, monkeypatch):
        with pytest.raises(LossInputError, match="y_true"):
            keras_loss("gce")(torch.zeros(4), torch.zeros(5, 3))
        with pytest.raises(ConfigError, match="no_such"):
            keras_loss("gce", no_such=1)
        monkeypatch.setattr(self.keras.backend, "backend", lambda: "jax")
        with pytest.raises(ConfigError, match="--format keras"):
            keras_loss("gce")
        monkeypatch.setitem(sys.modules, "keras", None)
        with pytest.raises(MissingDependencyError, match=r"autorobustloss\[keras\]"):
            keras_loss("gce")


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_accelerate_accumulates_exactly(steps):
    accelerate = pytest.importorskip("accelerate")
    torch.manual_seed(0)
    whole, model = Network(), Network()
    model.load_state_dict(whole.state_dict())
    x, y, criterion = torch.as_tensor(X), torch.tensor(Y), create_loss("gce")
    y[:30:2] = -100  # parts with different numbers of labels, which the mean of means would get wrong
    criterion(whole(x), y).backward()
    accelerator = accelerate.Accelerator(gradient_accumulation_steps=steps, cpu=True)
    optimizer = accelerator.prepare(torch.optim.SGD(model.parameters(), lr=0.1))
    total = criterion.denominator(y)
    for part, label in zip(x.chunk(steps), y.chunk(steps)):
        with accelerator.accumulate(model):
            accelerator.backward(criterion(model(part), label, normalizer=total / steps))
    torch.testing.assert_close([p.grad for p in model.parameters()], [p.grad for p in whole.parameters()])
    optimizer.step()


def test_lightning_trains():
    lightning = pytest.importorskip("lightning")

    class Classifier(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.network, self.criterion = Network(), create_loss("gated")

        def training_step(self, batch, batch_idx):
            return self.criterion(self.network(batch[0]), batch[1])

        def validation_step(self, batch, batch_idx):
            self.log("loss", self.criterion(self.network(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.05)

    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(Y))
    loader, model = torch.utils.data.DataLoader(data, batch_size=40), Classifier()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(max_epochs=4, accelerator="cpu", enable_model_summary=False, **quiet)
    before = (model.network(torch.as_tensor(X)).argmax(1) == torch.as_tensor(Y)).float().mean()
    trainer.fit(model, loader, loader)
    assert (model.network(torch.as_tensor(X)).argmax(1) == torch.as_tensor(Y)).float().mean() > before
    assert model.criterion.state.labels.sum() == 4 * 120  # validation, its rehearsal included, was not remembered
    assert not [name for name in model.state_dict() if name.startswith("criterion")]


def timm_mixup(target, classes, lam, smoothing):
    """`timm.data.mixup.mixup_target`: smoothed one-hot rows, mixed with the batch in reverse order."""
    off, on = smoothing / classes, 1 - smoothing + smoothing / classes
    rows = torch.full((len(target), classes), off).scatter_(1, target.view(-1, 1), on)
    return rows * lam + rows.flip(0) * (1 - lam)


def torchvision_mixup(target, classes, lam):
    """`torchvision.transforms.v2.MixUp` and `CutMix`: one-hot rows, mixed with the batch rolled by one."""
    rows = nn.functional.one_hot(target, classes).float()
    return rows.roll(1, 0).mul_(1 - lam).add_(rows.mul(lam))


@pytest.mark.parametrize("name", [n for n in list_losses() if n not in ("taylor", "forward")])
def test_mixed_targets(name):
    """Cross-entropy's own value, and for all: finite, with a gradient, and in half precision."""
    y, loss = torch.tensor([0, 4, 2, 2, 1, 3]), create_loss(name)
    for target in (timm_mixup(y, 5, 0.7, 0.1), torchvision_mixup(y, 5, 0.3), torchvision_mixup(y, 5, 1.0)):
        z = torch.randn(6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
        value = loss(z, target)
        (slope,) = torch.autograd.grad(value, z)
        assert value.isfinite()
        assert slope.isfinite().all()
        assert slope.abs().sum() > 0
        if name == "ce":
            torch.testing.assert_close(value, nn.functional.cross_entropy(z, target))
        assert create_loss(name)(z.detach().bfloat16(), target.bfloat16()).isfinite()


@pytest.mark.parametrize("name", ["gce", "sce", "mae", "nce+mae"])
def test_a_mixed_target_is_the_mix_of_the_losses(name):
    y, loss = torch.tensor([0, 4, 2, 2, 1, 3]), create_loss(name, reduction="none")
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    mixed = loss(z, torchvision_mixup(y, 5, 0.3))
    torch.testing.assert_close(mixed, 0.3 * loss(z, y) + 0.7 * loss(z, y.roll(1)))
