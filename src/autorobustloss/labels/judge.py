"""Confident learning: how many labels are wrong, and which. cleanlab does it; this asks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from autorobustloss.data import Dataset
from autorobustloss.data.splits import noisy_labels, truth_known
from autorobustloss.errors import ConfigError, MissingDependencyError
from autorobustloss.labels.config import LabelsConfig
from autorobustloss.labels.errors import LabelErrors
from autorobustloss.labels.out_of_fold import Array, out_of_fold
from autorobustloss.labels.pool import sample_names
from autorobustloss.noise import NoiseSpec
from autorobustloss.runs import Executor, Job, Result, Store, run_jobs
from autorobustloss.training.loop import chance_level


def require_cleanlab() -> None:
    """Raise MissingDependencyError unless cleanlab is there, before anything is trained for it."""
    if find_spec("cleanlab") is None:
        raise MissingDependencyError(
            "finding wrong labels takes cleanlab, which is not installed; try pip install 'autorobustloss[labels]'"
        )


def judge_labels(
    config: LabelsConfig,
    dataset: Dataset,
    store: Store,
    executor: Executor,
    on_result: Callable[[Job, Result, bool], None] | None = None,
) -> LabelErrors:
    """Train what the store lacks of the networks and return what they, and cleanlab, say of every label.

    dataset: whose training part is examined (see `pool.examined`), and which the executor has under the task's name.

    Raises MissingDependencyError without cleanlab, before anything is trained; ConfigError where the networks agree
    with the labels no more often than guessing would: then they can judge nothing.
    """
    require_cleanlab()
    jobs, noise = config.jobs(), NoiseSpec.parse(config.task.noise)
    results: Mapping[str, Result] = {result.key: result for result in run_jobs(jobs, store, executor, on_result)}
    labels = noisy_labels(dataset, noise, config.seed)[0]
    given, probabilities = labels.numpy(), out_of_fold(jobs, results, dataset, labels)
    agreement, chance = float(np.mean(probabilities.argmax(1) == given)), chance_level(labels)
    if agreement <= chance:
        raise ConfigError(
            f"{config.method.label} on {config.task.label}: its networks agree with {100 * agreement:.1f} % of the "
            f"labels that they have not seen, no more than guessing might ({100 * chance:.1f} %), and can judge none; "
            "try more --epochs, another --lr, --model or --loss, or more samples"
        )
    return label_errors(config, dataset, given, probabilities)


def label_errors(config: LabelsConfig, dataset: Dataset, given: NDArray[np.int64], probabilities: Array) -> LabelErrors:
    """Return what cleanlab says of labels (N,), by probabilities (N, C) that come from other samples."""
    wrong, quality = ask_cleanlab(given, probabilities)
    return LabelErrors(
        config=config,
        classes=dataset.classes or tuple(map(str, range(dataset.num_classes))),
        samples=tuple(sample_names(dataset).tolist()),
        given=given,
        probabilities=probabilities,
        quality=quality,
        wrong=wrong,
        joint=estimated_joint(given, probabilities),
        truth=dataset.y_train.numpy() if truth_known(dataset, NoiseSpec.parse(config.task.noise)) else None,
    )


def ask_cleanlab(labels: NDArray[np.int64], probabilities: Array) -> tuple[NDArray[np.bool_], Array]:
    """Return which labels cleanlab takes for wrong, and the quality of each in [0, 1], its probability.

    Source: Northcutt, Jiang & Chuang, Confident Learning, JAIR 2021; `filter_by="prune_by_noise_rate"`.

    >>> P = np.array([[0.9, 0.1]] * 6 + [[0.1, 0.9]] * 6)
    >>> wrong, quality = ask_cleanlab(np.array([0] * 5 + [1] * 7), P)
    >>> wrong.nonzero()[0].tolist(), round(float(quality[5]), 3)
    ([5], 0.1)
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    wrong = find_label_issues(labels, probabilities, n_jobs=1)
    return np.asarray(wrong, dtype=bool), np.asarray(get_label_quality_scores(labels, probabilities))


def estimated_joint(labels: NDArray[np.int64], probabilities: Array) -> Array:
    """Return Q[true, given] (C, C), the estimated share of samples of each pair; its entries sum to 1."""
    from cleanlab.count import estimate_joint

    return np.asarray(estimate_joint(labels, probabilities), dtype=np.float64).T
