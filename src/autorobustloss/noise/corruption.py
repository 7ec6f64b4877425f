"""Corrupting labels: by a transition matrix, or by the features of each sample."""

from __future__ import annotations

import torch
from torch import Tensor

from autorobustloss.errors import ConfigError


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
    T = T.to(device="cpu", dtype=torch.float64)
    rows, clean = _check(T), labels.to("cpu", torch.int64)
    if len(clean) and not 0 <= int(clean.min()) <= int(clean.max()) < rows:
        raise ConfigError(f"got labels from {int(clean.min())} to {int(clean.max())}, expected 0 to {rows - 1}")
    uniform = torch.rand(len(clean), generator=generator, dtype=torch.float64, device=generator.device).cpu()
    return _invert(T, clean, uniform).to(labels.device)


def _invert(T: Tensor, clean: Tensor, uniform: Tensor) -> Tensor:
    """Invert each sample's cumulative row of T at its uniform number, counting classes from the true one on."""
    classes = torch.arange(len(T))
    cumulative = T.gather(1, (classes[:, None] + classes) % len(T)).cumsum(1)
    # Divided by its own last entry a row ends in exact ones, so no class of probability 0 is ever drawn.
    cumulative = cumulative / cumulative[:, -1:]
    # All rows as one ascending sequence: row i occupies [i, i + 1]. The largest uniform stays below 1 after adding i.
    ladder = (cumulative + classes[:, None]).flatten()
    step = torch.searchsorted(ladder, uniform.clamp_max(1 - 2**-40) + clean, right=True) - clean * len(T)
    return (clean + step) % len(T)


def _check(T: Tensor) -> int:
    if T.ndim != 2 or T.shape[0] != T.shape[1]:
        raise ConfigError(f"got a transition matrix of shape {tuple(T.shape)}, expected (C, C)")
    wrong = ~((T >= 0).all(1) & ((T.sum(1) - 1).abs() < 1e-6))
    if bool(wrong.any()):
        i = int(wrong.nonzero()[0])
        raise ConfigError(f"row {i} of the transition matrix is {T[i].tolist()}, expected probabilities summing to 1")
    return len(T)


def corrupt_by_instance(
    features: Tensor, labels: Tensor, rate: float, num_classes: int, generator: torch.Generator, std: float = 0.1
) -> Tensor:
    """Flip labels by what each sample looks like: features (N, …) and clean labels (N,) -> noisy labels (N,) int64.

    For sample n: a flip rate q_n from a normal(rate, std) truncated to [0, 1]; a projection of its features through
    a standard normal matrix of its class, W_y (F, C); the flip goes to class j ≠ y with probability
    q_n · softmax_{j≠y}(x_n W_y). Near 0 and 1 the truncation moves the mean of q_n inwards, so look at the
    realised rate.

    Source: Xia et al., Part-dependent Label Noise, NeurIPS 2020, appendix (instance-dependent label generation).
    The larger the features, the more each sample has one single wrong class; so bytes are brought to [0, 1], and other
    features should be standardised.

    >>> x, y = torch.randn(1000, 5), torch.arange(1000) % 4
    >>> noisy = corrupt_by_instance(x, y, 0.4, 4, torch.Generator().manual_seed(0))
    >>> 0.3 < (noisy != y).double().mean() < 0.5
    tensor(True)
    """
    if not 0 < rate < 1:
        raise ConfigError(f"instance-dependent noise: got rate {rate!r}, expected a number in (0, 1)")
    clean, flat = labels.to("cpu", torch.int64), features.flatten(1)
    draws = torch.rand(2, len(clean), generator=generator, dtype=torch.float64)
    flip = _truncated_normal(draws[0], rate, std)
    noisy = clean.clone()
    for c in range(num_classes):
        W = torch.randn(flat.shape[1], num_classes, generator=generator)
        rows = (clean == c).nonzero().flatten()
        x = flat[rows.to(flat.device)].cpu()
        scores = (x.float() / 255 if x.dtype == torch.uint8 else x.float()) @ W
        scores[:, c] = -torch.inf
        P = flip[rows, None] * scores.double().softmax(1)
        P[:, c] = 1 - flip[rows]
        # As in `corrupt`, the true class comes first on the line from 0 to 1.
        cumulative = P.roll(-c, dims=1).cumsum(1)
        step = (draws[1, rows, None] >= cumulative[:, :-1]).sum(1)
        noisy[rows] = (c + step) % num_classes
    return noisy.to(labels.device)


def _truncated_normal(uniform: Tensor, mean: float, std: float) -> Tensor:
    """Invert the distribution function of a normal truncated to [0, 1]."""
    low, high = (torch.special.ndtr(torch.tensor((end - mean) / std, dtype=torch.float64)) for end in (0.0, 1.0))
    return (mean + std * torch.special.ndtri(low + uniform * (high - low))).clamp(0, 1)


def realised_rate(clean: Tensor, noisy: Tensor) -> float:
    """Return the realised share of labels that differ; NaN-free: 0 for no labels."""
    return float((clean != noisy).double().mean()) if len(clean) else 0.0
