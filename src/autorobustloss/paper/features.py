"""Penultimate features of networks trained with each method, for the paper's Figure 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from autorobustloss.data import make_splits
from autorobustloss.methods import Setting, run_method
from autorobustloss.runs.job import Job
from autorobustloss.runs.trainer import known_noise, reproducible

if TYPE_CHECKING:
    from autorobustloss.data import Dataset

BATCH = 500

Features = tuple[NDArray[np.float32], NDArray[np.int64]]


def penultimate(
    jobs: Mapping[str, Job], dataset: Dataset, samples: int = 1000, device: str = "cpu"
) -> dict[str, Features]:
    """Train the network of each job and return, by the job's name, features (N, D) and true labels (N,) of test images.

    The first `samples` test images are shown, the same for every job of equal split seed. A store keeps curves, not
    networks, so the networks are trained here, to the same numbers as the jobs'. Where a method trains several
    networks, the first is shown.
    """
    return {name: _features(job, dataset, samples, device) for name, job in jobs.items()}


def _features(job: Job, dataset: Dataset, samples: int, device: str) -> Features:
    task = job.task
    with reproducible(job.seed, device):
        made = make_splits(dataset, task.dataset, task.noise, job.split_seed, job.noise_seed, allow_hopeless=True)
        splits = made.to(device)
        known = known_noise(task.noise, dataset.name, splits)
        setting = Setting(task.model, splits, task.protocol, job.seed, (), known)
        networks, _ = run_method(job.method, setting)
        network = networks[0].eval()
        with torch.inference_mode():
            parts = [network.features(x) for x in splits.x_test[:samples].split(BATCH)]  # type: ignore[operator]
        features = torch.cat(parts).flatten(1).float().cpu().numpy()
    return features, splits.y_test[:samples].cpu().numpy()
