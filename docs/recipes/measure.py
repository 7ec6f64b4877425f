"""Measure docs/recipes.md: what to change when a loss takes the place of cross-entropy.

    python docs/recipes/measure.py --data-dir DIR --write docs/recipes.md

DIR holds mnist.npz and banking77.npz. Each situation trains cross-entropy and its rivals with the plain loop below, at
several learning rates; the best one is chosen on noisy validation labels. Each training is kept in trained.json by the
numbers of its loss: the command goes on where it stopped, and trains again only what has changed, such as `arl` after a
change of its numbers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import autorobustloss as arl

HERE = Path(__file__).parent
TRAINED = HERE / "trained.json"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
LOSSES = ("ce", "gce", "nce+mae", "arl")
RATES = {"SGD": (0.01, 0.03, 0.1, 0.3, 1.0, 3.0), "AdamW": (3e-4, 1e-3, 3e-3, 1e-2)}
SEEDS = (0,)


@dataclass(frozen=True)
class Situation:
    """What is trained on what, and for how long; noise is that of the training and validation labels."""

    name: str
    data: str
    optimiser: str = "SGD"
    noise: str = "sym:0.4"
    train: int = 1000
    epochs: int = 40
    imbalance: int = 1
    pretrained: bool = False


MNIST = Situation("10 classes", "mnist")
SITUATIONS = (
    MNIST,
    replace(MNIST, name="10 classes, clean", noise="clean"),
    replace(MNIST, optimiser="AdamW"),
    Situation("77 classes", "banking77", train=2000, epochs=20),
    Situation("77 classes", "banking77", "AdamW", train=2000, epochs=20),
    Situation("300 classes", "blobs", train=3000, epochs=20),
    Situation("300 classes", "blobs", "AdamW", train=3000, epochs=20),
    replace(MNIST, name="few epochs: 3", epochs=3),
    replace(MNIST, name="few epochs: 3", optimiser="AdamW", epochs=3),
    replace(MNIST, name="small data: 200", train=200),
    replace(MNIST, name="imbalance 100:1", imbalance=100, noise="sym:0.2", train=1500, epochs=20),
    replace(MNIST, name="imbalance 100:1", imbalance=100, noise="sym:0.2", train=1500, epochs=20, optimiser="AdamW"),
    replace(MNIST, name="fine-tuning", pretrained=True, train=500, epochs=20),
    replace(MNIST, name="fine-tuning", pretrained=True, train=500, epochs=20, optimiser="AdamW"),
)


@dataclass(frozen=True)
class Split:
    """Training and validation data with noisy labels, test data with right ones."""

    train: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    start: Mapping[str, Tensor] = field(default_factory=dict)


@cache
def arrays(data: str, folder: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training and test data, in order drawn once."""
    if data == "blobs":  # 300 Gaussian clouds, 30 training samples each
        draw = np.random.default_rng(0)
        centres = draw.normal(size=(300, 32))
        y = np.repeat(np.arange(300), 40)
        x = centres[y] + 0.8 * draw.normal(size=(len(y), 32))
        order = draw.permutation(len(y))
        x, y = torch.tensor(x[order], dtype=torch.float32), torch.tensor(y[order])
        return x[:9000], y[:9000], x[9000:], y[9000:]
    found = np.load(Path(folder) / f"{data}.npz", allow_pickle=False)
    order = np.random.default_rng(0).permutation(len(found["y_train"]))[:12000]
    kept = [found["x_train"][order], found["y_train"][order], found["x_test"][:3000], found["y_test"][:3000]]
    x, y, x_test, y_test = (torch.as_tensor(np.ascontiguousarray(array)) for array in kept)
    x, x_test = x.flatten(1).float(), x_test.flatten(1).float()
    mean, std = x.mean(), x.std()
    return (x - mean) / std, y.long(), (x_test - mean) / std, y_test.long()


def split(situation: Situation, seed: int, folder: str) -> Split:
    """Draw a situation's samples, their imbalance and their noise."""
    x, y, x_test, y_test = arrays(situation.data, folder)
    draw = torch.Generator().manual_seed(seed)
    classes = int(y.max()) + 1
    start = {}
    if situation.pretrained:  # the digits 0 to 4, all labels right, before 5 to 9
        start = body_of(pretrained(folder))
        keep, keep_test = y >= 5, y_test >= 5
        x, y, x_test, y_test, classes = x[keep], y[keep] - 5, x_test[keep_test], y_test[keep_test] - 5, 5
    share = situation.imbalance ** (-torch.arange(classes) / (classes - 1))
    order = torch.randperm(len(y), generator=draw)
    order = order[torch.rand(len(y), generator=draw) < share[y[order]]]
    valid = max(200, min(1000, situation.train // 2))
    chosen = order[: situation.train + valid]
    matrix = arl.transition_matrix(situation.noise, classes)
    noisy = arl.corrupt(y[chosen], matrix, draw)
    cut = len(chosen) - valid
    return Split((x[chosen[:cut]], noisy[:cut]), (x[chosen[cut:]], noisy[cut:]), (x_test, y_test), start)


def network(features: int, classes: int) -> nn.Sequential:
    """Return a perceptron with two hidden layers."""
    return nn.Sequential(nn.Linear(features, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, classes))


def body_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a network but for its last layer."""
    return {name: value for name, value in model.state_dict().items() if not name.startswith("4.")}


@cache
def pretrained(folder: str) -> nn.Sequential:
    """Return a network that knows the digits 0 to 4."""
    x, y, *_ = arrays("mnist", folder)
    torch.manual_seed(0)
    model = network(x.shape[1], 5)
    fit(model, nn.CrossEntropyLoss(), (x[y < 5], y[y < 5]), "SGD", 0.05, 3, seed=0)
    return model


def fit(
    model: nn.Module, criterion: Callable[..., Tensor], data: tuple[Tensor, Tensor], optimiser: str, lr: float,
    epochs: int, seed: int,
) -> None:  # fmt: skip
    """Train as anybody does: batches of 64, a learning rate that falls along a cosine."""
    x, y = data
    kinds = {"SGD": torch.optim.SGD, "AdamW": torch.optim.AdamW}
    more = {"momentum": 0.9} if optimiser == "SGD" else {}
    step = kinds[optimiser](model.parameters(), lr=lr, weight_decay=1e-4 if optimiser == "SGD" else 1e-2, **more)
    draw = torch.Generator().manual_seed(seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(step, epochs)
    for _ in range(epochs):
        for batch in torch.randperm(len(y), generator=draw).split(64):
            step.zero_grad()
            criterion(model(x[batch]), y[batch]).backward()
            step.step()
        schedule.step()


def accuracy(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Return the mean accuracy of the classes, in per cent: for balanced data, the accuracy."""
    with torch.no_grad():
        right = (model(data[0]).argmax(1) == data[1]).float()
    each = [right[data[1] == k].mean().item() for k in data[1].unique()]
    return 100 * sum(each) / len(each)


def train(situation: Situation, loss: str, lr: float, seed: int, folder: str) -> dict[str, float]:
    """Return accuracies on noisy validation and on right test labels; 0 for a training that diverged."""
    data = split(situation, seed, folder)
    classes = int(data.test[1].max()) + 1
    torch.manual_seed(seed)
    model = network(data.train[0].shape[1], classes)
    model.load_state_dict(data.start, strict=False)
    criterion = arl.create_loss(loss, **arl.published_values(loss, classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", arl.SlowStartWarning)
        fit(model, criterion, data.train, situation.optimiser, lr, situation.epochs, seed)
    return {"valid": accuracy(model, data.valid), "test": accuracy(model, data.test)}


def jobs() -> Iterator[tuple[str, Situation, str, float, int]]:
    """Return each training, with a key that changes when what is trained does."""
    for situation in SITUATIONS:
        for loss in LOSSES:
            for lr in RATES[situation.optimiser]:
                for seed in SEEDS:
                    made = arl.create_loss(loss)
                    numbers = made.card.sha256 if hasattr(made, "card") else repr(made)
                    text = json.dumps([repr(situation), loss, numbers, lr, seed])
                    yield hashlib.sha256(text.encode()).hexdigest()[:16], situation, loss, lr, seed


def measure(folder: str) -> dict[str, Any]:
    """Train what is missing, keeping each result as soon as it exists; forget what no job asks for."""
    known = json.loads(TRAINED.read_text()) if TRAINED.exists() else {}
    todo = list(jobs())
    for number, (key, situation, loss, lr, seed) in enumerate(todo, 1):
        if key not in known:
            known[key] = train(situation, loss, lr, seed, folder)
            print(f"{number}/{len(todo)} {situation.name}, {loss}, {lr:g}: {known[key]}", file=sys.stderr)
            TRAINED.write_text(json.dumps(known))
    kept = {key: {name: round(value, 2) for name, value in known[key].items()} for key, *_ in todo}
    TRAINED.write_text(json.dumps(kept, indent=0) + "\n")
    return kept


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return the table in Markdown: the rate that a loss likes best over cross-entropy's, and what it is worth."""
    mean: dict[tuple[Situation, str, float], dict[str, float]] = {}
    for key, situation, loss, lr, _ in jobs():
        cell = mean.setdefault((situation, loss, lr), {"valid": 0.0, "test": 0.0})
        for name in cell:
            cell[name] += found[key][name] / len(SEEDS)
    lines = [
        f"| | optimiser | rate of CE | CE | {' | '.join(LOSSES[1:])} |",
        f"|---|---|--:|--:|{'--:|' * (len(LOSSES) - 1)}",
    ]
    for situation in SITUATIONS:
        rates = RATES[situation.optimiser]
        best = {n: max(rates, key=lambda lr, n=n, s=situation: mean[s, n, lr]["valid"]) for n in LOSSES}
        cells = [f"{mean[situation, 'ce', best['ce']]['test']:.1f}"]
        for loss in LOSSES[1:]:
            same, own = (mean[situation, loss, lr]["test"] for lr in (best["ce"], best[loss]))
            cells.append(f"{same:.1f}; {best[loss] / best['ce']:.2g}×: {own:.1f}")
        lines.append(f"| {situation.name} | {situation.optimiser} | {best['ce']:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, print the table, and put it where it belongs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="", help="a folder with mnist.npz and banking77.npz")
    parser.add_argument("--write", type=Path, help=f"put the table between {BEGIN} and {END} there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = table(measure(options.data_dir))
    print(text)
    if options.write:
        before, _, rest = options.write.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        options.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
