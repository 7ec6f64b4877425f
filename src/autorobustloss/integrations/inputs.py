"""What an estimator is given: a data frame, a table or images, checked as scikit-learn checks it, and its encoder."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from sklearn.utils import check_array

from autorobustloss.data.columns import Columns, as_columns, as_frame
from autorobustloss.data.dataset import as_samples
from autorobustloss.data.encoding import TableEncoder
from autorobustloss.errors import DataError


class Encoder(Protocol):
    """What turns samples into what a network takes."""

    notes: tuple[str, ...]

    def transform(self, samples: Any) -> np.ndarray:
        """Return float32 inputs, (N, F) or (N, C, H, W)."""


class ImageEncoder:
    """Images, standardised by channel with the mean and standard deviation of the training images."""

    def __init__(self, images: np.ndarray) -> None:
        """`images`: those of training, (N, C, H, W)."""
        _require_finite(images)
        axes = (0, 2, 3)
        self.shape = images.shape[1:]
        self.mean = images.mean(axes, keepdims=True, dtype=np.float64)
        std = images.std(axes, keepdims=True, dtype=np.float64)
        self.std = np.where(std > 0, std, 1.0)
        depth, height, width = self.shape
        self.notes: tuple[str, ...] = (
            f"{len(images)} training images of {height}x{width} and {depth} channels, standardised",
        )

    def transform(self, images: np.ndarray) -> np.ndarray:
        """Return (x − mean)/std, float32."""
        if images.shape[1:] != self.shape:
            raise DataError(f"got images of shape {images.shape[1:]}, expected {self.shape}, as in training")
        _require_finite(images)
        return ((images - self.mean) / self.std).astype(np.float32)


def _require_finite(images: np.ndarray) -> None:
    if not np.isfinite(images).all():
        raise DataError(
            "got images with NaN or infinite values, expected finite ones; drop them, or fill the values in"
        )


def create_encoder(samples: Columns | np.ndarray, rows: np.ndarray) -> Any:
    """Return the encoder of samples, fitted on the training rows."""
    return TableEncoder().fit(samples[rows]) if isinstance(samples, Columns) else ImageEncoder(samples[rows])


def samples_of(X: Any, encoder: Any = None) -> Columns | np.ndarray:
    """Return columns of a table, read as those that `encoder` was fitted on; or images (N, C, H, W)."""
    images = as_frame(X) is None and X.ndim > 2
    if encoder is not None and images != isinstance(encoder, ImageEncoder):
        raise DataError(f"got samples of shape {X.shape}, expected {'a table' if images else 'images'}, as in training")
    if images:
        return as_samples(X, "X", "X")
    return as_columns(X, getattr(encoder, "kinds", None))


def validated(estimator: Any, X: Any, reset: bool) -> Any:
    """Return a data frame as it is and all else as an array, after scikit-learn's checks of its shape and names.

    reset: this is `fit`, which notes the number and names of the features.
    """
    frame = as_frame(X)
    if frame is None:
        X = check_array(X, dtype=None, allow_nd=True, estimator=estimator, input_name="X", **{FINITE: "allow-nan"})
    elif not len(frame):
        raise ValueError(f"Found array with 0 sample(s) (shape={frame.shape}) while a minimum of 1 is required.")
    try:
        from sklearn.utils.validation import validate_data
    except ImportError:  # before 1.6 they are methods
        estimator._check_feature_names(X, reset=reset)
        estimator._check_n_features(X, reset=reset)
        return X
    return validate_data(estimator, X, reset=reset, skip_check_array=True)


def _finite() -> str:
    """Return the name of `check_array`'s argument about infinite values, which 1.6 renamed."""
    import inspect

    return next(
        name for name in ("ensure_all_finite", "force_all_finite") if name in inspect.signature(check_array).parameters
    )


FINITE = _finite()
