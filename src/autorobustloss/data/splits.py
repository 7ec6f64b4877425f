"""The four splits of a job: train (noisy), valid with clean and with noisy labels, test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from autorobustloss.data.dataset import UNKNOWN, Dataset
from autorobustloss.data.names import DataSpec
from autorobustloss.data.sampling import stratified_draw
from autorobustloss.errors import ConfigError, DataError
from autorobustloss.noise import NoiseSpec, corrupt, realised_rate, require_hope, transition_matrix
from autorobustloss.seeding import numpy_generator, torch_generator


@dataclass(frozen=True, eq=False)
class Splits:
    """What one job learns from and is judged on: float32 inputs, normalised; labels (N,) int64.

    y_train are the noisy labels, y_train_clean the true ones. The validation images have both vectors too. A label
    that is not known is -1 (`UNKNOWN`): an accuracy is taken over the known labels. Which are known is a matter of the
    noise, see `truth_known`.
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
    alike: Splits | None = None,
) -> Splits:
    """Draw the splits of `dataset`, corrupt the training labels, normalise by the training split's statistics.

    Train and valid come from the training part (valid from the data set's own validation part, where it has one),
    test from the test part, each stratified by clean label and drawn by `split_seed`. The noise is drawn for the
    whole training part by `noise_seed`, from clean labels, before any splitting: an image's noisy label depends on
    the noise and its seed, not on the split or its size. Inputs are normalised per channel (images) or per feature
    (tables). Where `spec` names a fold, test is that fold of the training part, with its true labels, and train and
    valid come from the others (see `DataSpec`).
    alike: splits of the same data, sizes and `split_seed`, from which these differ in their noise only: the inputs are
        taken over from there.
    Raises ConfigError for sizes larger than what is there and for noise that is hopeless (see `require_hope`) or does
    not fit, DataError where the data are not those of `spec.fingerprint`.

    >>> from autorobustloss.data import load_dataset
    >>> splits = make_splits(load_dataset("digits"), DataSpec("digits", train_size=1000), "sym:0.4")
    >>> splits.x_train.shape, splits.x_valid.shape, splits.x_test.shape
    (torch.Size([1000, 1, 8, 8]), torch.Size([144, 1, 8, 8]), torch.Size([359, 1, 8, 8]))
    """
    noise = NoiseSpec.parse(noise)
    (noisy, noisy_pool), (train, valid, test) = _draw(dataset, spec, noise, split_seed, noise_seed, allow_hopeless)
    known = truth_known(dataset, noise)
    clean = dataset.y_train if known else torch.full_like(dataset.y_train, UNKNOWN)
    # Validation images: the data set's own, or some of the training images, which have the same two label vectors.
    x_pool, clean_pool = dataset.x_train, clean
    x_test, y_test = dataset.x_test, dataset.y_test
    if spec.folds:
        noisy_pool, x_test, y_test = noisy, dataset.x_train, clean
    elif dataset.x_valid is not None and dataset.y_valid is not None:
        x_pool, clean_pool = dataset.x_valid, dataset.y_valid
    if alike is None:
        drawn = {"x_train": (dataset.x_train, train), "x_valid": (x_pool, valid), "x_test": (x_test, test)}
        inputs = _inputs(dataset.name, drawn)
    else:
        inputs = {part: getattr(alike, part) for part in ("x_train", "x_valid", "x_test")}
    return Splits(
        **inputs,
        y_train=noisy[train],
        y_train_clean=clean[train],
        y_valid_clean=clean_pool[valid],
        y_valid_noisy=noisy_pool[valid],
        y_test=y_test[test],
        num_classes=dataset.num_classes,
        noise_rate=realised_rate(clean[train], noisy[train]) if known else None,
    )


def _inputs(name: str, drawn: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Return the chosen samples of the three parts as float32, standardised as those of train are."""
    parts = {part: x.index_select(0, index).float() for part, (x, index) in drawn.items()}
    _, mean, std = _standardised(parts["x_train"])
    for part, x in parts.items():
        if part != "x_train":
            x.sub_(mean).div_(std)
        if not x.sum().isfinite():
            raise DataError(
                f"{name}: {part} is no longer finite once scaled as x_train is; drop samples far beyond all others"
            )
    return parts


def check_splits(dataset: Dataset, spec: DataSpec, noise: NoiseSpec | str, allow_hopeless: bool = False) -> None:
    """Raise what `make_splits` would raise, without the samples where these are bytes: no byte is too large to scale.

    >>> from autorobustloss.data import load_dataset
    >>> check_splits(load_dataset("digits"), DataSpec("digits", train_size=1000), "sym:0.4")
    """
    if dataset.x_train.dtype == torch.uint8:
        _draw(dataset, spec, NoiseSpec.parse(noise), 0, 0, allow_hopeless)
    else:
        make_splits(dataset, spec, noise, allow_hopeless=allow_hopeless)


def _draw(
    dataset: Dataset, spec: DataSpec, noise: NoiseSpec, split_seed: int, noise_seed: int, allow_hopeless: bool
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
    """Return the noisy labels of the training part and the pool, and which samples are train, valid and test."""
    if spec.fingerprint and spec.fingerprint != dataset.fingerprint:
        raise DataError(
            f"data set {dataset.name!r}: its arrays have SHA-256 {dataset.fingerprint[:12]}…, expected "
            f"{spec.fingerprint[:12]}…: the file has changed since; restore it, or start a new run"
        )
    if not allow_hopeless:
        require_hope(noise, dataset.num_classes, dataset.name)
    return noisy_labels(dataset, noise, noise_seed), split_indices(dataset, spec, split_seed)


def truth_known(dataset: Dataset, noise: NoiseSpec | str) -> bool:
    """Return whether the true labels of the training part are known.

    `given` takes labels as they come and calls none of them right, unless the data set has right ones beside its noisy
    ones. Any other noise, `clean` included, says that the labels it starts from are right. A validation part of its
    own is clean by its format, whatever the noise.
    """
    return dataset.clean_labels and ("given" in dataset.label_sets or NoiseSpec.parse(noise).kind != "given")


def known_labels(dataset: Dataset, noise: NoiseSpec | str) -> frozenset[str]:
    """Return the splits of which labels are known, and which can therefore be scored: of "valid_clean", "valid_noisy".

    Sizes do not matter, and nothing is drawn.
    """
    clean = dataset.y_valid is not None or truth_known(dataset, noise)
    noisy = _own_noisy(dataset) is not None or dataset.y_valid is None or NoiseSpec.parse(noise).kind != "human"
    return frozenset(name for name, known in (("valid_clean", clean), ("valid_noisy", noisy)) if known)


def _own_noisy(dataset: Dataset) -> Tensor | None:
    """Return the noisy labels of the data set's own validation part, where any is known."""
    labels = dataset.y_valid_noisy
    return labels if labels is not None and (labels != UNKNOWN).any() else None


def split_indices(dataset: Dataset, spec: DataSpec, split_seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return which samples are train (of the training part), valid (of the pool) and test (of the test part)."""

    def draw(part: str, labels: Tensor, **sizes: int) -> list[Tensor]:
        if sum(sizes.values()) > len(labels):
            asked = f"{' + '.join(sizes)} = {' + '.join(map(str, sizes.values()))}"
            raise ConfigError(f"{spec.name}: got {asked}, expected at most {len(labels)} samples of its {part} part")
        drawn = stratified_draw(labels.numpy(), list(sizes.values()), numpy_generator("split", split_seed, part))
        return [torch.from_numpy(index) for index in drawn]

    there = len(dataset.y_train)
    if spec.folds:
        return _of_a_fold(dataset, spec, draw)
    if dataset.y_valid is None:
        valid_size = spec.valid_size or max(round(there / 10), 1)
        train_size = spec.train_size or max(there - valid_size, 1)
        valid, train = draw("train", dataset.y_train, valid_size=valid_size, train_size=train_size)
    else:
        (train,) = draw("train", dataset.y_train, train_size=spec.train_size or there)
        (valid,) = draw("valid", dataset.y_valid, valid_size=spec.valid_size or len(dataset.y_valid))
    (test,) = draw("test", dataset.y_test, test_size=spec.test_size or len(dataset.y_test))
    return train, valid, test.sort().values


def _of_a_fold(dataset: Dataset, spec: DataSpec, draw: Callable[..., list[Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return train and valid out of the other folds, and the fold itself, all places in the training part."""
    size = spec.train_size or len(dataset.y_train)
    if size < spec.folds * dataset.num_classes:
        few = f"{size} samples of {dataset.num_classes} classes"
        raise ConfigError(f"{spec.name}: got {few}, too few for {spec.folds} folds; take fewer folds, or more samples")
    each, more = divmod(size, spec.folds)
    folds = draw("train", dataset.y_train, **{f"fold_{k}": each + (k < more) for k in range(spec.folds)})
    test = folds.pop(spec.fold)
    others = torch.cat(folds)
    sizes = {"valid_size": spec.valid_size, "train_size": max(len(others) - spec.valid_size, 1)}
    valid, train = draw("train", dataset.y_train[others], **sizes)
    return others[train], others[valid], test.sort().values


def noisy_labels(dataset: Dataset, noise: NoiseSpec, seed: int) -> tuple[Tensor, Tensor]:
    """Return the noisy labels of the whole training part, and of that from which validation samples are taken.

    With `given` these are, of either part, its noisy labels where it has such, and else its labels as they come.
    Raises ConfigError for noise that the data set cannot have, DataError for human labels that are not there.
    """
    if not dataset.clean_labels and noise.kind != "given":
        raise ConfigError(
            f"{dataset.name}: the true training labels are not known, got noise {noise.label!r}; use noise 'given'"
        )
    train, valid = dataset.y_train, dataset.y_valid
    if noise.labels:
        if noise.labels in dataset.label_sets:
            train = dataset.label_sets[noise.labels]
        elif noise.kind != "given":
            have = ", ".join(sorted(set(dataset.label_sets) - {"given"})) or "none"
            raise DataError(dataset.label_note or f"{dataset.name}: no human labels {noise.labels!r}; it has {have}")
        own = _own_noisy(dataset)
        if own is None and valid is not None:
            own = valid if noise.kind == "given" else torch.full_like(valid, UNKNOWN)
        return train, train if own is None else own
    labels = train if valid is None else torch.cat([train, valid])
    generator = torch_generator("noise", seed)
    if noise.by_class:
        noisy = corrupt(labels, transition_matrix(noise, dataset.num_classes, dataset.name), generator)
    else:
        features = torch.cat([x for x in (dataset.x_train, dataset.x_valid) if x is not None])
        if features.dtype != torch.uint8:
            features = _standardised(features.clone())[0]
        noisy = noise.draw(features, labels, dataset.num_classes, generator)
    return noisy[: len(train)], noisy if valid is None else noisy[len(train) :]


def _standardised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Standardise float32 samples in place, per channel (images) or feature (tables); return them, mean and std.

    A constant channel or feature is centred and left unscaled. Sums run per image first and over images in float64,
    so that they are good for any number of images, and the same for any number of threads.
    """
    pixels = x.view(len(x), x.shape[1], -1)
    low, high = pixels.amin((0, 2)), pixels.amax((0, 2))
    # Of a constant feature, mean and standard deviation would be off by rounding.
    mean = torch.where(low < high, pixels.mean(2).double().mean(0), low.double())
    pixels.sub_(mean.float()[:, None])
    std = (torch.linalg.vector_norm(pixels, dim=2).double().square().mean(0) / pixels.shape[2]).sqrt()
    std = torch.where((low < high) & (std > 0), std, torch.ones_like(std)).float()
    pixels.div_(std[:, None])
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return x, mean.float().view(shape), std.view(shape)
