"""Transition matrices `T[true, noisy]`, float64 with rows that sum to 1, and labels corrupted by them."""

from __future__ import annotations

import torch
from torch import Tensor

from autorobustloss.errors import ConfigError
from autorobustloss.noise.base import NoiseSpec, Rows
from autorobustloss.noise.matrix import check_matrix
from autorobustloss.noise.symmetric import Symmetric


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
    if not spec.by_class:
        raise ConfigError(f"noise {spec.label!r} has no matrix of all samples; count one with empirical_matrix")
    return torch.tensor(_rows(spec, num_classes, dataset), dtype=torch.float64)


def _rows(spec: NoiseSpec, num_classes: int, dataset: str) -> Rows:
    if num_classes < 2:
        raise ConfigError(f"got num_classes={num_classes}, expected at least 2")
    return spec.rows(num_classes, dataset)


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
    for i, row in enumerate(_rows(spec, num_classes, dataset)):
        j = max((j for j in range(num_classes) if j != i), key=row.__getitem__)
        if row[i] <= row[j] + 1e-12:
            limit = f" below (C-1)/C = {(num_classes - 1) / num_classes:.4g}" if isinstance(spec, Symmetric) else ""
            raise ConfigError(
                f"noise {spec.label!r} is hopeless with {num_classes} classes: class {i} keeps its label with "
                f"probability {row[i]:.4g} and becomes {j} with {row[j]:.4g}. Lower the rate (--noise){limit}, "
                "or pass allow_hopeless=True (--allow-hopeless) to do it all the same"
            )


def corrupt(labels: Tensor, T: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a noisy label for each clean one from the row of T it names: (N,) -> (N,) int64.

    One uniform number per sample, inverted through the cumulative row that starts at the true class. So a sample's
    noisy label depends on the seed, its position and its clean label only (not on N, the device or the other
    labels), and where only the rate grows, the samples flipped at a lower rate are flipped at a higher one too.

    Raises ConfigError for a T that is not square and row-stochastic, or labels outside it.

    >>> labels = torch.tensor([0, 1, 2, 0])
    >>> corrupt(labels, torch.eye(3), torch.Generator().manual_seed(0))
    tensor([0, 1, 2, 0])
    """
    T = torch.tensor(check_matrix(T.tolist(), "transition matrix"), dtype=torch.float64)
    clean, classes = labels.to("cpu", torch.int64), torch.arange(len(T))
    if len(clean) and not 0 <= int(clean.min()) <= int(clean.max()) < len(T):
        raise ConfigError(f"got labels from {int(clean.min())} to {int(clean.max())}, expected 0 to {len(T) - 1}")
    uniform = torch.rand(len(clean), generator=generator, dtype=torch.float64, device=generator.device).cpu()
    cumulative = T.gather(1, (classes[:, None] + classes) % len(T)).cumsum(1)
    # Divided by its own last entry a row ends in exact ones, so no class of probability 0 is ever drawn.
    cumulative = cumulative / cumulative[:, -1:]
    # All rows as one ascending sequence: row i occupies [i, i + 1]. The largest uniform stays below 1 after adding i.
    ladder = (cumulative + classes[:, None]).flatten()
    step = torch.searchsorted(ladder, uniform.clamp_max(1 - 2**-40) + clean, right=True) - clean * len(T)
    return ((clean + step) % len(T)).to(labels.device)


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


def realised_rate(clean: Tensor, noisy: Tensor) -> float:
    """Return the realised share of labels that differ; NaN-free: 0 for no labels."""
    return float((clean != noisy).double().mean()) if len(clean) else 0.0
