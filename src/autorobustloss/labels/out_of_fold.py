"""From stored outputs to probabilities: each sample's, by networks that have not been trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from autorobustloss.data import Dataset
from autorobustloss.data.splits import split_indices
from autorobustloss.errors import WorkerError
from autorobustloss.runs import Job, Result
from autorobustloss.runs.outputs import unpack

Array = NDArray[np.float64]


def out_of_fold(jobs: Sequence[Job], results: Mapping[str, Result], dataset: Dataset, labels: Tensor) -> Array:
    """Return the probabilities of the samples of the training part, (N, C) float64, by networks not trained on them.

    Of each seed all folds together are calibrated on the labels (`temperature`); then the seeds are averaged. A seed
    with a network that diverged is left out; WorkerError where that is every seed.
    """
    seeds: list[Tensor] = []
    for seed, group in groupby(jobs, key=lambda job: job.split_seed):
        found = [(job, results[job.key]) for job in group]
        index = torch.cat([split_indices(dataset, job.task.dataset, seed)[2] for job, _ in found])
        logits = torch.cat([unpack(result.outputs, dataset.num_classes) for _, result in found])[
            index.argsort()
        ].double()
        if logits.isfinite().all():
            seeds.append((logits / temperature(logits, labels)).softmax(1))
    if not seeds:
        job = jobs[0]
        raise WorkerError(
            f"{job.method.label} on {job.task.label}: a network diverged under every seed, so no label can be judged; "
            "try a lower --lr, or another --loss"
        )
    return torch.stack(seeds).mean(0).numpy()


def temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the T > 0 for which softmax(logits / T) has the least cross-entropy against labels, noisy or not.

    Robust losses leave networks too sure of themselves, each in its own way; confident learning takes their
    probabilities at their word.
    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.

    >>> z = torch.tensor([[4.0, 0.0]] * 4)
    >>> T = temperature(z, torch.tensor([0, 0, 0, 1]))  # the first class, in three cases of four
    >>> round((z / T).softmax(1)[0, 0].item(), 3)
    0.75
    """

    def cost(log_t: float) -> float:
        return F.cross_entropy(logits / np.exp(log_t), labels).item()

    best = minimize_scalar(cost, bounds=(np.log(1e-2), np.log(1e3)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(best.x))
