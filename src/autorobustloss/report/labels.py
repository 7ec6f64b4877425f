"""One self-contained HTML page of suspicious labels: the most suspicious samples, what is confused with what."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
from matplotlib.image import imsave
from torch import Tensor

from autorobustloss.data import Dataset
from autorobustloss.labels import LabelErrors
from autorobustloss.report.page import page

PAGE = "labels.html"
LARGEST_SIDE = 160
"""Pixels; of a larger picture every second, third, … is shown."""
MOST_FEATURES = 20
"""A row of a table is shown where it has no more numbers."""
MOST_PAIRS = 15


def labels_page(found: LabelErrors, dataset: Dataset, most: int = 100) -> str:
    """Return the page; dataset: what was examined, whose training part has the samples. most: how many are shown."""
    config = found.config.to_dict()
    shown = f"{min(most, len(found.given))} most suspicious of {len(found.given)} samples"
    return page(
        f"labels: {config['tasks'][0]['dataset']['name']}",
        [
            ("What was found", "paragraph", (found.summary(),)),
            (f"The {shown}", "suspects", (suspects(found, dataset, most),)),
            ("What is taken for what", "pairs", (pairs(found),)),
            ("Configuration", "folded", (config, "all settings of this cross-validation")),
        ],
    )


def suspects(found: LabelErrors, dataset: Dataset, most: int) -> list[dict[str, Any]]:
    """Return the first rows of the ranking, each with its picture as base64 of a PNG, or its features as a text."""
    rows = found.rows()[:most]
    samples = dataset.x_train[found.ranking[:most].tolist()]
    if dataset.is_image:
        low, high = (float(bound) for bound in samples.aminmax()) if len(samples) else (0.0, 1.0)
        return [{**row, "picture": png(x, low, high), "features": ""} for row, x in zip(rows, samples)]
    few = samples.shape[1] <= MOST_FEATURES
    texts = [", ".join(f"{value:.4g}" for value in x.tolist()) if few else "" for x in samples]
    return [{**row, "picture": "", "features": text} for row, text in zip(rows, texts)]


def pairs(found: LabelErrors) -> list[tuple[str, str, str, str]]:
    """Return the commonest mistakes: true class, given class, estimated count, share of the true class in per cent."""
    joint = found.joint * (1 - np.eye(len(found.joint)))
    order = np.argsort(-joint, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), len(joint)) for place in order if joint.flat[place] > 0]
    return [
        (
            found.classes[true],
            found.classes[given],
            f"{joint[true, given] * len(found.given):.1f}",
            f"{100 * found.noise_matrix[true, given]:.1f} %",
        )
        for true, given in places
    ]


def png(image: Tensor, low: float, high: float) -> str:
    """Return an image (C, H, W) as base64 of a PNG, its values from `low` (black) to `high`."""
    step = math.ceil(max(image.shape[1:]) / LARGEST_SIDE)
    pixels = (image[:, ::step, ::step].permute(1, 2, 0).numpy().astype(np.float64) - low) / max(high - low, 1e-12)
    file = io.BytesIO()
    imsave(file, np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels, format="png")
    return base64.b64encode(file.getvalue()).decode()
