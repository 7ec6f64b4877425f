"""Transition matrices `T[true, noisy]` of the class-dependent noises, as float64 tensors with rows that sum to 1."""

from __future__ import annotations

import torch
from torch import Tensor

from autorobustloss.errors import ConfigError
from autorobustloss.noise.classmaps import class_map
from autorobustloss.noise.spec import NoiseSpec


def transition_matrix(spec: NoiseSpec | str, num_classes: int, dataset: str = "") -> Tensor:
    """Return T (C, C) float64, `T[i, j] = P(noisy = j | true = i)`.

    Symmetric: 1 - r on the diagonal, r/(C-1) elsewhere, so that a flip never returns the true class and r is the
    share of wrong labels. Pair flip: r at (y, y+1 mod C). Class map: r at the mapped pairs of `dataset`, 1 - r left.
    Raises ConfigError for noise that has no such matrix (idn, human, given), for a data set without a class map, and
    for a matrix of another size.

    >>> transition_matrix("sym:0.4", 3)
    tensor([[0.6000, 0.2000, 0.2000],
            [0.2000, 0.6000, 0.2000],
            [0.2000, 0.2000, 0.6000]], dtype=torch.float64)
    """
    spec = NoiseSpec.parse(spec)
    if num_classes < 2:
        raise ConfigError(f"got num_classes={num_classes}, expected at least 2")
    eye = torch.eye(num_classes, dtype=torch.float64)
    if spec.kind == "clean":
        return eye
    if spec.kind == "sym":
        off = spec.rate / (num_classes - 1)
        return eye * (1 - spec.rate - off) + off
    if spec.kind == "pair":
        return eye * (1 - spec.rate) + eye.roll(1, dims=1) * spec.rate
    if spec.kind == "map":
        return map_matrix(dataset, spec.rate, num_classes, spec.legacy)
    if spec.kind == "matrix":
        if len(spec.matrix) != num_classes:
            raise ConfigError(f"noise {spec.label}: the data set has {num_classes} classes, expected that many rows")
        T = torch.tensor(spec.matrix, dtype=torch.float64)
        return T / T.sum(1, keepdim=True)
    raise ConfigError(
        f"noise {str(spec)!r} has no transition matrix that holds for every sample; "
        "count one from clean and noisy labels with empirical_matrix"
    )


def map_matrix(dataset: str, rate: float, num_classes: int, legacy: bool = False) -> Tensor:
    """Return T of a data set's class map.

    The legacy CIFAR-10 matrix is the product of its single flips in order, since each re-reads labels that earlier
    ones have changed: a cat becomes a dog with probability r(1-r) (0.24 at r = 0.4), a dog a cat with r.
    """
    T = torch.eye(num_classes, dtype=torch.float64)
    sequential = legacy and dataset == "cifar10"
    pairs = class_map(dataset, legacy)
    highest = max(max(pair) for pair in pairs)
    if num_classes <= highest:
        raise ConfigError(
            f"the class map of {dataset!r} names class {highest}, but the data set has {num_classes} classes; "
            "rename the data set if it is another one"
        )
    for source, target in pairs:
        flip = torch.eye(num_classes, dtype=torch.float64) if sequential else T
        flip[source, source], flip[source, target] = 1 - rate, rate
        T = T @ flip if sequential else flip
    return T


def require_hope(spec: NoiseSpec | str, num_classes: int, dataset: str = "") -> None:
    """Raise ConfigError where some class is labelled as another one at least as often as rightly.

    No method can learn the right classes from such labels alone: for symmetric noise from rate (C-1)/C on, for pair
    flips and class maps from 0.5 on.

    >>> require_hope("sym:0.8", 10)
    >>> require_hope("sym:0.8", 3)
    Traceback (most recent call last):
    autorobustloss.errors.ConfigError: noise 'sym:0.8' is hopeless with 3 classes: ...
    """
    spec = NoiseSpec.parse(spec)
    if spec.kind in ("human", "given"):
        return
    if spec.kind == "idn":
        limit = (num_classes - 1) / num_classes
        if spec.rate >= limit:
            raise _hopeless(spec, num_classes, f"the rate is {spec.rate:.4g}, expected less than {limit:.4g}")
        return
    T = transition_matrix(spec, num_classes, dataset)
    others = T - torch.diag(torch.full((num_classes,), 2.0, dtype=torch.float64))
    lost = (T.diagonal() <= others.amax(1) + 1e-12).nonzero().flatten().tolist()
    if lost:
        i, j = lost[0], int(others[lost[0]].argmax())
        why = f"class {i} keeps its label with probability {T[i, i]:.4g} and becomes {j} with {T[i, j]:.4g}"
        if spec.kind == "sym":
            why += f"; expected a rate below (C-1)/C = {(num_classes - 1) / num_classes:.4g}"
        raise _hopeless(spec, num_classes, why)


def _hopeless(spec: NoiseSpec, num_classes: int, why: str) -> ConfigError:
    return ConfigError(
        f"noise {spec.label!r} is hopeless with {num_classes} classes: {why}. "
        "Lower the rate (--noise), or pass allow_hopeless=True (--allow-hopeless) to do it all the same"
    )


def empirical_matrix(clean: Tensor, noisy: Tensor, num_classes: int) -> Tensor:
    """Return the counted T (C, C) float64 of two label vectors; a class without samples gets its unit row.

    >>> empirical_matrix(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 1]), 2)
    tensor([[0.5000, 0.5000],
            [0.0000, 1.0000]], dtype=torch.float64)
    """
    pairs = clean.long() * num_classes + noisy.long()
    counts = torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes).double()
    totals = counts.sum(1, keepdim=True)
    eye = torch.eye(num_classes, dtype=torch.float64, device=counts.device)
    return torch.where(totals > 0, counts / totals.clamp_min(1), eye)
