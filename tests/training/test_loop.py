"""The loop against a plain PyTorch loop; determinism, early stops, and what it leaves alone."""

import hashlib
import json
import math
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autorobustloss.errors import ConfigError
from autorobustloss.models import build_model
from autorobustloss.seeding import torch_generator
from autorobustloss.training import History, LossObjective, Objective, TrainingProtocol, fit
from autorobustloss.training.evaluation import labelled_splits
from autorobustloss.training.loop import EXPLODED, chance_level, diverged


def make_splits(count=150, shape=(1, 6, 6), classes=3, seed=0):
    """Noisy blobs in the shape of small images."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, *shape, generator=generator)

    def draw(size):
        y = torch.randint(0, classes, (size,), generator=generator)
        return centres[y] + torch.randn(size, *shape, generator=generator), y

    (x_train, y_train), (x_valid, y_valid), (x_test, y_test) = draw(count), draw(60), draw(90)
    wrong = torch.rand(count, generator=generator) < 0.3
    noisy = torch.where(wrong, (y_train + 1) % classes, y_train)
    return SimpleNamespace(
        x_train=x_train,
        y_train=noisy,
        x_valid=x_valid,
        y_valid_clean=y_valid,
        y_valid_noisy=(y_valid + (torch.rand(60, generator=generator) < 0.3)) % classes,
        x_test=x_test,
        y_test=y_test,
        num_classes=classes,
        input_shape=shape,
    )


def train(protocol, splits=None, model="mlp2(hidden=16)", seed=0, network=None, **arguments):
    splits = splits or make_splits()
    network = network or build_model(model, splits.input_shape, splits.num_classes, seed)
    history = fit(LossObjective(network, nn.CrossEntropyLoss()), splits, protocol, seed, **arguments)
    return network, history


def plain_loop(protocol, splits, network, optimizer, seed=0, scheduler=None):
    """What `fit` does, as one would write it down: torch.optim, backward, one batch after the other."""
    generator = torch_generator("order", seed)
    losses, correct = [], []
    for _ in range(protocol.epochs):
        network.train()
        order = torch.randperm(len(splits.y_train), generator=generator).tolist()
        total, right, seen = 0.0, 0, 0
        for start in range(0, len(order), protocol.batch_size):
            index = order[start : start + protocol.batch_size]
            if len(index) == 1:
                continue
            x, y = splits.x_train[index], splits.y_train[index]
            z = network(x)
            loss = F.cross_entropy(z, y)
            optimizer.zero_grad()
            (loss + protocol.l1 * sum(p.abs().sum() for p in network.parameters())).backward()
            if protocol.clip_norm:
                torch.nn.utils.clip_grad_norm_(network.parameters(), protocol.clip_norm)
            optimizer.step()
            total += loss.item() * len(index)
            right += (z.argmax(1) == y).sum().item()
            seen += len(index)
        if scheduler is not None:
            scheduler.step()
        losses.append(total / seen)
        correct.append(right / seen)
    return losses, correct


@pytest.mark.parametrize("model", ["mlp3(hidden=(16, 8))", "cnn4(channels=(4, 8), hidden=8)", "resnet18(width=0.0625)"])
@pytest.mark.parametrize(
    ("protocol", "kind", "options"),
    [
        (TrainingProtocol(lr=0.05, epochs=3, batch_size=32), torch.optim.SGD, {"momentum": 0.9}),
        (
            TrainingProtocol(
                lr=0.05, epochs=3, batch_size=37, schedule="cosine", nesterov=True, weight_decay=0.01, clip_norm=1
            ),
            torch.optim.SGD,
            {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        ),
        (TrainingProtocol(optimizer="adam", lr=0.01, epochs=3, batch_size=50), torch.optim.Adam, {}),
        (TrainingProtocol(lr=0.05, epochs=3, batch_size=32, l1=0.003), torch.optim.SGD, {"momentum": 0.9}),
        (
            TrainingProtocol(lr=0.05, epochs=3, batch_size=32, l1=0.01, clip_norm=0.5),
            torch.optim.SGD,
            {"momentum": 0.9},
        ),
    ],
    ids=["sgd", "sgd-everything", "adam", "l1", "l1-clipped"],
)
def test_agrees_with_a_plain_loop(model, protocol, kind, options):
    if "resnet" in model:  # a deep network doubles what rounding does to it every few steps
        protocol = protocol.but(epochs=1)
    splits = make_splits(count=149)  # batches of 37 leave one sample over
    network, history = train(protocol, splits, model)
    reference = build_model(model, splits.input_shape, splits.num_classes, seed=0)
    optimizer = kind(reference.parameters(), lr=protocol.lr, **options)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, protocol.epochs)
    scheduler = cosine if protocol.schedule == "cosine" else None
    losses, correct = plain_loop(protocol, splits, reference, optimizer, scheduler=scheduler)
    # Adam's first steps are signs of gradients, so where a gradient is nearly zero rounding shows.
    tolerance = 1e-6 if protocol.optimizer == "sgd" and "resnet" not in model else 2e-3
    for (key, p), q in zip(network.state_dict().items(), reference.state_dict().values()):
        torch.testing.assert_close(p, q, rtol=tolerance, atol=tolerance, msg=key)
    assert history.train_loss == pytest.approx(losses, rel=10 * tolerance)
    assert history.train_accuracy == pytest.approx(correct, abs=1e-12 if tolerance == 1e-6 else 0.02)
    reference.eval()
    accuracy = (reference(splits.x_test).argmax(1) == splits.y_test).double().mean().item()
    assert history.last("test") == pytest.approx(accuracy, abs=1e-12 if tolerance == 1e-6 else 0.05)


def digest(network, history):
    state = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
    return hashlib.sha256(state + json.dumps(asdict(history)).encode()).hexdigest()


NOISY = TrainingProtocol(epochs=3, batch_size=40, average=0.9, lookahead=(3, 0.5), augment="crop-flip", clip_norm=2.0)


def noisy_digest():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return digest(*train(NOISY, make_splits(shape=(1, 8, 8)), "vgg11(width=0.0625)", seed=5))
    finally:
        torch.set_num_threads(threads)


def test_same_bits_in_another_process():
    here = str(Path(__file__).parent)
    script = f"import sys; sys.path.insert(0, {here!r}); import test_loop; print(test_loop.noisy_digest())"
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    torch.manual_seed(17)
    assert process.stdout.strip() == noisy_digest()


def test_seed_decides_and_global_state_is_left_alone():
    protocol = TrainingProtocol(epochs=2, batch_size=40, lr=0.05)
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    first = digest(*train(protocol, seed=0))
    assert torch.equal(torch.rand(4), expected)
    assert first == digest(*train(protocol, seed=0)) != digest(*train(protocol, seed=1))


def test_dropout_is_a_function_of_the_seed():
    def run(global_seed):
        torch.manual_seed(global_seed)
        network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), build_model("linear", (36,), 3, seed=0))
        return digest(*train(TrainingProtocol(epochs=2, batch_size=40), network=network))

    assert run(1) == run(2)


def test_curves_are_where_they_were_asked_for():
    network, history = train(
        TrainingProtocol(epochs=7, evaluate_every=3, batch_size=50), evaluate=("valid_noisy", "test")
    )
    assert history.epochs == [3, 6, 7]
    assert len(history.valid_noisy) == len(history.test) == 3
    assert history.valid_clean == []
    assert len(history.train_loss) == len(history.train_accuracy) == 7
    assert history.steps == 21
    assert network.training
    with pytest.raises(ConfigError, match="valid_clean"):
        history.last("valid_clean")
    assert History(**json.loads(json.dumps(asdict(history)))) == history


def test_accuracy_is_over_known_labels():
    splits = make_splits()
    splits.y_test[::2] = -1
    splits.y_valid_clean[:] = -1
    network, history = train(TrainingProtocol(epochs=2), splits)
    network.eval()
    right = network(splits.x_test).argmax(1) == splits.y_test
    assert history.last("test") == pytest.approx(right[1::2].double().mean().item())
    assert history.valid_clean == []


class Twins(Objective):
    def __init__(self, first, second):
        self.networks = nn.ModuleList([first, second])

    def loss(self, x, y, epoch):
        logits = torch.stack([network(x) for network in self.networks])
        return sum(F.cross_entropy(z, y) for z in logits), logits


def test_accuracy_of_several_networks_is_their_mean():
    splits, protocol = make_splits(), TrainingProtocol(epochs=2, batch_size=50)
    first, second = (build_model("linear", splits.input_shape, 3, seed=s) for s in (0, 1))
    history = fit(Twins(first, second), splits, protocol, seed=0)
    alone = [
        train(protocol, splits, network=build_model("linear", splits.input_shape, 3, seed=s), seed=0)[1] for s in (0, 1)
    ]
    for name in ("test", "valid_clean", "valid_noisy", "train_accuracy"):
        mean = [(a + b) / 2 for a, b in zip(getattr(alone[0], name), getattr(alone[1], name))]
        assert getattr(history, name) == pytest.approx(mean)
    assert history.train_loss == pytest.approx([a + b for a, b in zip(alone[0].train_loss, alone[1].train_loss)])


@pytest.mark.parametrize("lr", [1e3, 1e12, 1e38])
def test_divergence_is_a_result(lr):
    splits = make_splits()
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 50), nn.Linear(50, 3))
    history = train(TrainingProtocol(lr=lr, epochs=30), splits, network=network)[1]
    assert history.stopped == "diverged"
    assert len(history.train_loss) < 30
    assert all(map(math.isfinite, history.train_loss))
    assert math.isnan(history.last("test"))
    json.dumps(asdict(history), allow_nan=False)


def test_chance_stops_after_its_patience_and_is_scored():
    stuck = TrainingProtocol(lr=1e-9, epochs=9, patience_at_chance=2, evaluate_every=5)
    splits = make_splits()
    with torch.no_grad():
        network = build_model("linear", splits.input_shape, 3, seed=0)
        network.head.weight.zero_()
    history = train(stuck, splits, network=network)[1]
    assert (history.stopped, history.epochs, len(history.train_loss)) == ("chance", [2], 2)
    learning = train(stuck.but(lr=0.05), splits, model="linear")[1]
    assert (learning.stopped, learning.epochs) == ("", [5, 9])


def test_chance_is_what_a_constant_prediction_may_reach():
    """The commonest label's share and three standard errors, whatever the shares of the others."""
    labels = torch.tensor([0] * 20 + [1] * 70 + [2] * 10)
    assert chance_level(labels) == pytest.approx(0.7 + 3 * math.sqrt(0.7 * 0.3 / 100))


@pytest.mark.parametrize(
    ("loss", "norm", "expected"),
    [(1.0, 1.0, False), (1e30, EXPLODED, False), (1.0, 1.001 * EXPLODED, True), (math.nan, 1.0, True),
     (math.inf, 1.0, True), (1.0, math.inf, True), (1.0, math.nan, True)],
)  # fmt: skip
def test_what_counts_as_divergence(loss, norm, expected):
    assert diverged(loss, norm) is expected


def test_an_epoch_of_one_batch():
    splits = make_splits(count=40)
    history = train(TrainingProtocol(lr=0.1, epochs=2, batch_size=40), splits)[1]
    assert history.steps == 2
    assert len(history.train_loss) == 2


def test_a_split_of_the_first_class_alone_is_scored():
    splits = make_splits()
    splits.y_test[:] = 0
    assert labelled_splits(splits, ("test",)).keys() == {"test"}
    splits.y_test[:] = -1
    assert labelled_splits(splits, ("test",)) == {}


def test_smoothed_weights_are_evaluated_and_kept():
    splits = make_splits()
    protocol = TrainingProtocol(epochs=3, batch_size=50, lr=0.1)
    live = train(protocol, splits)[0].state_dict()
    for smoothing in ({"average": 0.9}, {"lookahead": (2, 0.5)}):
        seen = []
        network = build_model("mlp2(hidden=16)", splits.input_shape, 3, seed=0)
        history = train(
            protocol.but(**smoothing),
            splits,
            network=network,
            on_epoch=lambda history: seen.append({k: v.clone() for k, v in network.state_dict().items()}),  # noqa: B023
        )[1]
        network.eval()
        accuracy = (network(splits.x_test).argmax(1) == splits.y_test).double().mean().item()
        assert history.last("test") == accuracy
        assert all(torch.equal(v, seen[-1][k]) for k, v in network.state_dict().items())
        assert any(not torch.equal(v, live[k]) for k, v in network.state_dict().items())


def test_the_average_follows_every_step():
    """One batch an epoch, so that the weights after each step are those an epoch of plain training leaves."""
    splits, protocol = make_splits(), TrainingProtocol(epochs=5, batch_size=150, lr=0.3)
    plain, averaged = (build_model("linear", splits.input_shape, 3, seed=0) for _ in range(2))
    expected = [p.detach().clone() for p in plain.parameters()]

    def follow(history):
        step = len(history.train_loss)
        decay = min(0.5, (1 + step) / (10 + step))
        for mean, weight in zip(expected, plain.parameters()):
            mean.mul_(decay).add_(weight.detach(), alpha=1 - decay)

    train(protocol, splits, network=plain, on_epoch=follow)
    train(protocol.but(average=0.5), splits, network=averaged)
    for mean, weight in zip(expected, averaged.parameters()):
        torch.testing.assert_close(weight.detach(), mean)


def test_average_does_not_disturb_training():
    with_average = train(TrainingProtocol(epochs=3, batch_size=50, average=0.9))[1]
    assert with_average.train_loss == train(TrainingProtocol(epochs=3, batch_size=50))[1].train_loss


def test_bfloat16_trains():
    history = train(TrainingProtocol(epochs=4, batch_size=50, lr=0.05, precision="bfloat16"))[1]
    assert history.train_loss != train(TrainingProtocol(epochs=4, batch_size=50, lr=0.05))[1].train_loss
    assert history.last("test") > 0.6


def test_frozen_parameters_stay():
    network = build_model("mlp2(hidden=16)", (1, 6, 6), 3, seed=0)
    network.body[1].weight.requires_grad_(False)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    train(TrainingProtocol(epochs=1), network=network)
    changed = {k for k, v in network.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"body.1.bias", "head.weight", "head.bias"}


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ConfigError, match="evaluate"):
        train(TrainingProtocol(), evaluate=("train",))
    empty = make_splits()
    empty.y_train = empty.y_train[:0]
    with pytest.raises(ConfigError, match="empty"):
        train(TrainingProtocol(), empty)


def test_history_selects():
    history = History(epochs=[1, 2, 3], test=[0.5, 0.9, 0.8], valid_noisy=[0.2, 0.3, 0.3])
    assert (history.last("test"), history.best("test"), history.best("test", by="valid_noisy")) == (0.8, 0.9, 0.9)
    assert math.isnan(History(stopped="diverged").best("test"))
    with pytest.raises(ConfigError, match="train"):
        history.last("train")
