"""How well wrong labels are found, where it is known which are wrong: networks under several losses, and cleanlab.

    python -m benchmarks.labels --data-dir DIR --store DIR/labels.sqlite     # some hours of one core; a rerun goes on
    python -m benchmarks.labels --data-dir DIR --store DIR/labels.sqlite --write docs/tutorials/wrong-labels.md

Every judge gets the same samples, labels and cleanlab; it differs in who gives the out-of-fold probabilities. Noise is
drawn anew for each seed, and so are the samples and the folds. DIR holds banking77.npz, mnist.npz, cifar10.npz and
cifar10n.npz.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from autorobustloss.data import Dataset, load_dataset
from autorobustloss.data.splits import noisy_labels, split_indices
from autorobustloss.labels import LabelErrors, judge_labels, label_config
from autorobustloss.labels.config import LabelsConfig
from autorobustloss.labels.judge import label_errors
from autorobustloss.methods.named import named_method
from autorobustloss.noise import NoiseSpec
from autorobustloss.runs import Runtime, Store, executor_for
from autorobustloss.runs.outputs import pack, unpack
from autorobustloss.runs.tasks import make_tasks
from benchmarks.table import Table


class Setting(NamedTuple):
    """A data set with known wrong labels, how many of its samples, the network that judges them, draws of all that."""

    dataset: str
    noise: str
    size: int
    model: str = "mlp2"
    epochs: int = 40
    draws: int = 2


SETTINGS = (
    Setting("banking77", "sym:0.1", 5000),
    Setting("banking77", "sym:0.3", 5000),
    Setting("mnist", "sym:0.1", 3000),
    Setting("mnist", "pair:0.3", 3000),
    Setting("cifar10", "human:aggre", 2500, "cnn4", 15, draws=1),
    Setting("cifar10", "human:worse", 2500, "cnn4", 15, draws=1),
)
PENALTIES = (0.0003, 0.003, 0.03, 0.3)
"""Values of C of logistic regression."""
REGRESSION = "logistic regression"
JUDGES = {
    "cross-entropy": "ce",
    "cross-entropy, stopped": "tuned-ce(smoothing=0, average=0, stop=True)",
    "`arl-taylor`": "arl-taylor",
    "`arl`": "arl",
}
"""What networks are trained with, by the name in the table; stopped: by noisy validation labels."""
COLUMNS = ["data, noise, wrong", "judge", "precision", "recall", "AUC", "taken for wrong"]
BEGIN, END = "<!-- benchmarks.labels: begin -->", "<!-- benchmarks.labels: end -->"


def judged(setting: Setting, dataset: Dataset, judge: str, seed: int, store: Store, workers: int) -> LabelErrors:
    """Return what a judge says of the labels of a setting."""
    known = make_tasks(dataset, noise=setting.noise, models=setting.model, protocol="shallow", epochs=setting.epochs)
    method = named_method(JUDGES.get(judge, "ce"))[1]
    config, pool = label_config(known.tasks[0], dataset, method, setting.size, seed=seed)
    if judge == REGRESSION:
        return by_regression(config, pool, store)
    with executor_for({dataset.name: pool}, Runtime(workers=workers)) as executor:
        return judge_labels(config, pool, store, executor)


def by_regression(config: LabelsConfig, pool: Dataset, store: Store) -> LabelErrors:
    """Return what cleanlab says with probabilities of scikit-learn's logistic regression, on the very same folds."""
    given = noisy_labels(pool, NoiseSpec.parse(config.task.noise), config.seed)[0].numpy()
    name = f"logistic regression, {pool.fingerprint}, {config.task.noise}, {config.seed}"
    kept = store.get_meta(name) or store.keep(name, pack(regression(config, pool, given)))
    probabilities = unpack(kept, pool.num_classes).double().softmax(1).numpy()
    return label_errors(config, pool, given, probabilities)


def regression(config: LabelsConfig, pool: Dataset, given: np.ndarray) -> torch.Tensor:
    """Return logarithms of probabilities (N, C), out of fold.

    The penalty is the one that explains the labels out of fold best, as the temperature of networks is.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = pool.x_train.flatten(1).numpy().astype(np.float32)
    tried = [np.full((len(x), pool.num_classes), 1e-12) for _ in PENALTIES]
    for job in config.jobs():
        train, _, test = (part.numpy() for part in split_indices(pool, job.task.dataset, job.split_seed))
        for C, found in zip(PENALTIES, tried):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=100)).fit(x[train], given[train])
            found[np.ix_(test, model.classes_)] = model.predict_proba(x[test])
    best = min(tried, key=lambda found: log_loss(given, found, labels=range(pool.num_classes)))
    return torch.from_numpy(np.log(best.clip(1e-30)).astype(np.float32))


def rows_of(setting: Setting, outcomes: Mapping[str, list[LabelErrors]]) -> list[list[str]]:
    """Return a row for each judge: means over seeds, in per cent but for the AUC, and where it is the best."""
    texts = {}
    for judge, several in outcomes.items():
        means = {
            key: float(np.mean([found.scores[key] for found in several])) for key in ("precision", "recall", "auc")
        }
        texts[judge] = {key: f"{mean:.3f}" if key == "auc" else f"{100 * mean:.1f}" for key, mean in means.items()}
    rows = []
    for number, (judge, several) in enumerate(outcomes.items()):
        best = {key: max((other[key] for other in texts.values()), key=float) for key in texts[judge]}
        shown = [f"**{text}**" if text == best[key] else text for key, text in texts[judge].items()]
        truth = 100 * np.mean([np.mean(found.given != found.truth) for found in several])
        what = f"{setting.dataset}, {setting.size:,}, {setting.noise}, {truth:.1f} %" if number == 0 else ""
        rows.append([what, judge, *shown, f"{100 * np.mean([found.noise_rate for found in several]):.1f}"])
    return rows


def table(data_dir: str, store: Store, workers: int, settings: tuple[Setting, ...] = SETTINGS) -> Table:
    """Train what the store lacks and return the table."""
    from cleanlab import __version__

    rows: list[list[str]] = []
    for setting in settings:
        dataset, outcomes = load_dataset(setting.dataset, data_dir), {}
        for judge in (REGRESSION, *JUDGES):
            outcomes[judge] = [judged(setting, dataset, judge, seed, store, workers) for seed in range(setting.draws)]
            print(f"{setting.dataset} {setting.noise}: {judge}", flush=True)
        rows += rows_of(setting, outcomes)
    networks = ", ".join(dict.fromkeys(f"{s.model} with {s.epochs} epochs" for s in settings))
    notes = [
        "means over two draws of noise, samples and folds (human labels: one); shares in per cent",
        f"networks: {networks}, SGD 0.01; logistic regression on standardised features or pixels, the best of "
        f"{len(PENALTIES)} penalties; cleanlab {__version__}",
    ]
    return Table("Wrong labels found", COLUMNS, rows, notes)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="folder of the data sets")
    parser.add_argument("--store", type=Path, required=True, help="SQLite file of the trainings")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--only", default="", help="settings whose data set and noise begin so, such as mnist/sym")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into a page, between its marks")
    options = parser.parse_args()
    chosen = tuple(s for s in SETTINGS if f"{s.dataset}/{s.noise}".startswith(options.only))
    with Store(options.store) as store:
        found = table(options.data_dir, store, options.workers, chosen)
    print(found.text())
    if options.write:
        before, rest = options.write.read_text(encoding="utf-8").split(BEGIN)
        page = f"{before}{BEGIN}\n{found.markdown()}\n{END}{rest.split(END)[1]}"
        options.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
