"""The four splits of a job: train (noisy), valid with clean and with noisy labels, test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autorobustloss.data.dataset import Dataset
from autorobustloss.data.sampling import stratified_draw
from autorobustloss.data.spec import DataSpec
from autorobustloss.errors import ConfigError, DataError
from autorobustloss.noise import (
    NoiseSpec,
    corrupt,
    corrupt_by_instance,
    realised_rate,
    require_hope,
    transition_matrix,
)
from autorobustloss.seeding import numpy_generator, torch_generator


@dataclass(frozen=True, eq=False)
class Splits:
    """What one job learns from and is judged on: float32 inputs, normalised; labels (N,) int64.

    y_train are the noisy labels, y_train_clean the true ones. The validation images have both vectors too. A label
    that is not known is -1 (`UNKNOWN`): an accuracy is taken over the known labels.
    noise_rate: the realised share of wrong labels in y_train, None where the true ones are not known.
    """

    x_train: Tensor
    y_train: Tensor
    y_train_clean: Tensor
    x_valid: Tensor
    y_valid_clean: Tensor
    y_valid_noisy: Tensor
    x_test: Tensor
    y_test: Tensor
    num_classes: int
    noise_rate: float | None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample: (C, H, W) for images, (F,) for tables."""
        return tuple(self.x_train.shape[1:])

    def to(self, device: torch.device | str) -> Splits:
        """Return the splits with every tensor on `device`."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **moved)


def make_splits(
    dataset: Dataset,
    spec: DataSpec,
    noise: NoiseSpec | str = "clean",
    split_seed: int = 0,
    noise_seed: int = 0,
    allow_hopeless: bool = False,
) -> Splits:
    """Draw the splits of `dataset`, corrupt the training labels, normalise by the training split's statistics.

    Train and valid come from the training part (valid from the data set's own validation part, where it has one),
    test from the test part, each stratified by clean label and drawn by `split_seed`. The noise is drawn for the
    whole training part by `noise_seed`, from clean labels, before any splitting: an image's noisy label depends on
    the noise and its seed, not on the split or its size. Inputs are normalised per channel (images) or per feature
    (tables).
    Raises ConfigError for sizes larger than what is there and for noise that is hopeless (see `require_hope`) or does
    not fit, DataError where the data are not those of `spec.fingerprint`.

    >>> from autorobustloss.data import load_dataset
    >>> splits = make_splits(load_dataset("digits"), DataSpec("digits", train_size=1000), "sym:0.4")
    >>> splits.x_train.shape, splits.x_valid.shape, splits.x_test.shape
    (torch.Size([1000, 1, 8, 8]), torch.Size([144, 1, 8, 8]), torch.Size([359, 1, 8, 8]))
    """
    noise = NoiseSpec.parse(noise)
    if spec.fingerprint and spec.fingerprint != dataset.fingerprint:
        raise DataError(
            f"data set {dataset.name!r}: its arrays have SHA-256 {dataset.fingerprint[:12]}…, expected "
            f"{spec.fingerprint[:12]}…: the file has changed since; restore it, or start a new run"
        )
    if not allow_hopeless:
        require_hope(noise, dataset.num_classes, dataset.name)
    y_noisy = noisy_labels(dataset, noise, noise_seed)
    train, valid, test = _indices(dataset, spec, split_seed)
    y_train, y_clean = y_noisy[train], dataset.y_train[train]
    x_train = dataset.x_train[train]
    mean, std = _statistics(x_train)
    return Splits(
        x_train=_normalised(x_train, mean, std),
        y_train=y_train,
        y_train_clean=y_clean,
        x_valid=_normalised(dataset.x_train[valid], mean, std),
        y_valid_clean=dataset.y_train[valid],
        y_valid_noisy=y_noisy[valid],
        x_test=_normalised(dataset.x_test[test], mean, std),
        y_test=dataset.y_test[test],
        num_classes=dataset.num_classes,
        noise_rate=realised_rate(y_clean, y_train),
    )


def _indices(dataset: Dataset, spec: DataSpec, split_seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the indices of train, valid and test."""
    total = len(dataset.y_train)
    valid_size = spec.valid_size or max(round(total / 10), 1)
    train_size = spec.train_size or max(total - valid_size, 1)
    _fits(spec, f"train_size + valid_size = {train_size} + {valid_size}", train_size + valid_size, total, "training")
    test_size = spec.test_size or len(dataset.y_test)
    _fits(spec, f"test_size = {test_size}", test_size, len(dataset.y_test), "test")
    draw = numpy_generator("split", split_seed, "train")
    valid, train = stratified_draw(dataset.y_train.numpy(), (valid_size, train_size), draw)
    (test,) = stratified_draw(dataset.y_test.numpy(), (test_size,), numpy_generator("split", split_seed, "test"))
    return torch.from_numpy(train), torch.from_numpy(valid), torch.from_numpy(np.sort(test))


def _fits(spec: DataSpec, asked: str, size: int, total: int, part: str) -> None:
    if size > total:
        raise ConfigError(f"data set {spec.name!r}: got {asked}, expected at most the {total} {part} samples it has")


def noisy_labels(dataset: Dataset, noise: NoiseSpec, seed: int) -> Tensor:
    """Return the noisy labels of the training part."""
    generator = torch_generator("noise", seed)
    if noise.kind == "idn":
        x = dataset.x_train
        x = x.float() / 255 if x.dtype == torch.uint8 else x
        return corrupt_by_instance(x, dataset.y_train, noise.rate, dataset.num_classes, generator)
    return corrupt(dataset.y_train, transition_matrix(noise, dataset.num_classes, dataset.name), generator)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation per channel or feature, broadcastable; 1 for a constant one."""
    axes = (0, 2, 3) if x.ndim == 4 else (0,)
    mean, std = x.double().mean(axes, keepdim=True), x.double().std(axes, correction=0, keepdim=True)
    return mean.float(), torch.where(std > 1e-7 * mean.abs(), std, torch.ones_like(std)).float()


def _normalised(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return x.float().sub_(mean).div_(std)
