"""The picture of the README: accuracy by epoch under wrong labels, where `arl` helps and where it helps little.

    python docs/pictures/first_screen.py --data-dir DIR --out runs/first-screen

On the left sentence features of customers' questions to a bank (banking77, 77 classes), 40 % of 4,000 labels spoilt; a
perceptron, AdamW. On the right 5,000 photographs of CIFAR-10 with labels that people gave (CIFAR-10N, "worse", 40 % are
wrong); a small CNN, SGD. Three seeds, three learning rates; each loss is drawn at the rate that noisy validation labels
find best for it. Writes first-screen.png, first-screen-dark.png, and as JSON the figures that README quotes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

import autorobustloss as arl
from autorobustloss.report.style import METADATA, new_figure, tidy

FOLDER = Path(__file__).parent
NAMES = {"ce": "cross-entropy", "gce": "GCE", "arl": "arl"}
COMMON: dict[str, Any] = {"protocol": "shallow", "evaluate_every": 1}
TEXT = {"noise": "sym:0.4", "models": "mlp2", "train_size": 4000, "optimizer": "adamw", "batch_size": 64, "epochs": 40}
PHOTOS = {"noise": "human:worse", "models": "cnn4", "train_size": 5000, "test_size": 4000, "epochs": 25}
SCENES: dict[str, tuple[str, dict[str, Any], tuple[float, ...]]] = {
    "banking77": ("It helps: questions to a bank, 77 classes,\n40 % of 4,000 labels spoilt", TEXT, (3e-4, 1e-3, 3e-3)),
    "cifar10": (
        "It helps a little: 5,000 photos of CIFAR-10,\n40 % labelled wrong by people",
        PHOTOS,
        (1e-2, 3e-2, 1e-1),
    ),
}
SEEDS = 3
COLOURS = ("paper", "ink", "grid", *NAMES)
THEMES = {
    "first-screen": dict(zip(COLOURS, ("#ffffff", "#1b1f24", "#dddddd", "#c24e00", "#767676", "#0072b2"))),
    "first-screen-dark": dict(zip(COLOURS, ("#0d1117", "#e6edf3", "#30363d", "#ff9d5c", "#9aa4ae", "#56b4e9"))),
}


def measure(name: str, data_dir: str, out: Path) -> dict[str, Any]:
    """Train what is missing in a run folder; return the curves (seeds, epochs) of each loss at its best rate."""
    _, settings, rates = SCENES[name]
    tasks = [arl.make_tasks(name, lr=lr, data_dir=data_dir, **settings, **COMMON) for lr in rates]
    outcome = arl.bench(list(NAMES), tasks, seeds=SEEDS, out=out / name, workers=None)
    found: dict[str, dict[float, list[Any]]] = {}
    for job in outcome.config.jobs():
        of_rate = found.setdefault(outcome.names[job.method], {}).setdefault(job.task.protocol.lr, [])
        of_rate.append(outcome.results[job.key].history)
    kept = {}
    for method, histories in found.items():
        valid = {lr: np.mean([history.valid_noisy for history in own], 0) for lr, own in histories.items()}
        lr = max(valid, key=lambda rate: valid[rate][-1])
        early = max(valid, key=lambda rate: valid[rate].max())  # with early stopping another rate may be the best
        test, stopped = (100 * np.array([history.test for history in histories[rate]]) for rate in (lr, early))
        epoch = int(valid[early].argmax())
        kept[method] = {
            "lr": lr,
            "last": round(float(test[:, -1].mean()), 1),
            "stopped": round(float(stopped[:, epoch].mean()), 1),
            "stopped after": f"epoch {epoch + 1} at lr {early:g}",
            "test": test.round(2).tolist(),
        }
    return kept


def draw(axes: Axes, title: str, kept: dict[str, Any], colours: dict[str, str]) -> None:
    """Draw the curves of a scene, each with its name and its last accuracy at its end."""
    axes.set_facecolor(colours["paper"])
    curves = {name: np.array(found["test"]) for name, found in kept.items()}
    epochs = np.arange(1, curves["ce"].shape[1] + 1)
    low, high = 10 * np.floor(curves["ce"][:, 0].mean() / 10), max(c.mean(0).max() for c in curves.values())
    for name, test in curves.items():
        axes.fill_between(epochs, test.min(0), test.max(0), color=colours[name], alpha=0.2, linewidth=0)
        width = 2.6 if name == "arl" else 1.8
        axes.plot(epochs, test.mean(0), color=colours[name], linewidth=width, linestyle="--" if name == "gce" else "-")
    placed, step = -np.inf, (high - low) / 13
    for name in sorted(kept, key=lambda method: kept[method]["last"]):  # names do not lie on each other
        placed = max(kept[name]["last"], placed + step)
        text = f"{NAMES[name]} {kept[name]['last']:.1f} %"
        axes.text(1.02 * epochs[-1], placed, text, color=colours[name], fontsize=10, va="center", fontweight="bold")
    tidy(axes, "epoch", "accuracy on right labels, %")
    axes.set_title(title, fontsize=10, loc="left", color=colours["ink"])
    axes.set_xlim(1, epochs[-1])
    axes.set_ylim(low, high + step)
    axes.grid(True, color=colours["grid"], linewidth=0.6)
    axes.tick_params(colors=colours["ink"])
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(colours["ink"])
    for spine in axes.spines.values():
        spine.set_color(colours["ink"])


def main() -> None:
    """Measure and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="where banking77.npz, cifar10.npz and cifar10n.npz lie")
    parser.add_argument("--out", type=Path, required=True, help="a folder, from which the same command goes on")
    options = parser.parse_args()
    scenes = {name: measure(name, options.data_dir, options.out) for name in SCENES}
    for theme, colours in THEMES.items():
        figure = new_figure(11, 3.6)
        figure.set_facecolor(colours["paper"])
        for axes, (name, kept) in zip(figure.subplots(1, 2), scenes.items()):
            draw(axes, SCENES[name][0], kept, colours)
        figure.savefig(FOLDER / f"{theme}.png", metadata=METADATA[".png"])
    figures = {
        name: {method: {key: found[key] for key in found if key != "test"} for method, found in kept.items()}
        for name, kept in scenes.items()
    }
    (FOLDER / "first-screen.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
