"""Penultimate features of networks trained with each method, for the paper's Figure 5."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from autorobustloss.data import Dataset
from autorobustloss.runs.job import Job
from autorobustloss.runs.runtime import Runtime
from autorobustloss.runs.trainer import Trainer

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
    trainer = Trainer({dataset.name: dataset}, Runtime(device, workers=1))
    found = {}
    for name, job in jobs.items():
        _, splits, networks = trainer.train(replace(job, evaluate=()))
        network = networks[0].eval()
        with torch.inference_mode():
            parts = [network.features(x) for x in splits.x_test[:samples].split(BATCH)]  # type: ignore[operator]
        features = torch.cat(parts).flatten(1).float().cpu().numpy()
        found[name] = (features, splits.y_test[:samples].cpu().numpy())
    return found
