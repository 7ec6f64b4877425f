"""The most suspicious samples and the commonest mistakes as data, of which a page is made."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
from torch import Tensor

from autorobustloss.data import Dataset
from autorobustloss.errors import ConfigError
from autorobustloss.labels.errors import LabelErrors

MOST = 100
"""Samples that a page shows, unless another number is asked for."""
LARGEST_SIDE = 160
"""Pixels; of a larger picture every second, third, … is shown."""
MOST_FEATURES = 20
"""A row of a table is shown where it has no more numbers."""
MOST_PAIRS = 15
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Base64 = Annotated[str, msgspec.Meta(pattern="^[A-Za-z0-9+/]*=*$")]


@dataclass(frozen=True)
class Suspect:
    """A sample: its name, its label, the one that is more likely and how likely that is, whether it looks wrong.

    quality: the probability of the given label. picture: base64 of a PNG, "" where the samples are no pictures.
    features: a few numbers as a text, "" where they are many.
    """

    sample: str
    given: str
    suggested: str
    wrong: bool
    quality: Share
    confidence: Share
    picture: Base64 = ""
    features: str = ""


@dataclass(frozen=True)
class Mistake:
    """Samples of the class `right` that are labelled `given`: how many, estimated, and of how large a share of it."""

    right: str
    given: str
    count: Annotated[float, msgspec.Meta(ge=0, le=1e12)]
    share: Share


@dataclass(frozen=True)
class Gallery:
    """What a page shows of a cross-validation: `summary` in words, the most suspicious of `samples` samples."""

    summary: str
    samples: int
    suspects: tuple[Suspect, ...]
    mistakes: tuple[Mistake, ...]

    def to_json(self) -> str:
        """Return the gallery as JSON, a file of a run folder: suspects.json."""
        return msgspec.json.encode(asdict(self)).decode() + "\n"

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Gallery:
        """Read what `to_json` wrote; anything else is a ConfigError."""
        try:
            return msgspec.convert(content, cls)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"got suspects that do not read ({error}), expected what this library writes") from None


def gallery(found: LabelErrors, dataset: Dataset, most: int = MOST) -> Gallery:
    """Return what a page shows; dataset: what was examined, whose training part has the samples."""
    return Gallery(found.summary(), len(found.given), suspects(found, dataset, most), mistakes(found))


def suspects(found: LabelErrors, dataset: Dataset, most: int) -> tuple[Suspect, ...]:
    """Return the first rows of the ranking, each with its picture, or its features as a text."""
    rows = [{**row, "wrong": bool(row["wrong"])} for row in found.rows()[:most]]
    samples = dataset.x_train[found.ranking[:most].tolist()]
    if dataset.is_image:
        low, high = (float(bound) for bound in samples.aminmax()) if len(samples) else (0.0, 1.0)
        return tuple(Suspect(**row, picture=png(x, low, high)) for row, x in zip(rows, samples))
    few = samples.shape[1] <= MOST_FEATURES
    texts = [", ".join(f"{value:.4g}" for value in x.tolist()) if few else "" for x in samples]
    return tuple(Suspect(**row, features=text) for row, text in zip(rows, texts))


def mistakes(found: LabelErrors) -> tuple[Mistake, ...]:
    """Return the commonest mistakes, the commonest first."""
    joint = found.joint * (1 - np.eye(len(found.joint)))
    order = np.argsort(-joint, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), len(joint)) for place in order if joint.flat[place] > 0]
    matrix = np.clip(found.noise_matrix, 0, 1)
    return tuple(
        Mistake(
            found.classes[true],
            found.classes[given],
            float(joint[true, given] * len(found.given)),
            float(matrix[true, given]),
        )
        for true, given in places
    )


def png(image: Tensor, low: float, high: float) -> str:
    """Return an image (C, H, W) as base64 of a PNG, its values from `low` (black) to `high`."""
    from matplotlib.image import imsave  # slow, and only here

    step = math.ceil(max(image.shape[1:]) / LARGEST_SIDE)
    pixels = (image[:, ::step, ::step].permute(1, 2, 0).numpy().astype(np.float64) - low) / max(high - low, 1e-12)
    file = io.BytesIO()
    imsave(file, np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels, format="png")
    return base64.b64encode(file.getvalue()).decode()
