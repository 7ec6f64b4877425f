"""Instance-dependent noise: the flip depends on what each sample looks like."""

from __future__ import annotations

import torch
from torch import Tensor

from autorobustloss.noise.base import NOISES
from autorobustloss.noise.symmetric import Symmetric

SPREAD = 0.1
"""Standard deviation of the samples' flip rates."""


@NOISES.register("idn", "instance")
class InstanceDependent(Symmetric):
    """Flips by features (Xia et al. 2020), with mean rate near `rate`; over all samples as symmetric noise."""

    kind, name = "idn", "instance noise"
    by_class = False

    def draw(self, features: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator) -> Tensor:
        """Flip labels by what each sample looks like: features (N, …) and labels (N,) -> noisy labels (N,) int64.

        For sample n: a flip rate q_n from a normal(rate, 0.1) truncated to [0, 1]; a projection of its features through
        a standard normal matrix of its class, W_y (F, C); the flip goes to class j ≠ y with probability
        q_n · softmax_{j≠y}(x_n W_y). Near 0 and 1 the truncation moves the mean of q_n inwards, so look at the
        realised rate.

        Source: Xia et al., Part-dependent Label Noise, NeurIPS 2020, appendix (instance-dependent label generation).
        The larger the features, the more each sample has one single wrong class; so bytes are brought to [0, 1], and
        other features should be standardised.

        >>> x, y = torch.randn(1000, 5), torch.arange(1000) % 4
        >>> noisy = InstanceDependent(0.4).draw(x, y, 4, torch.Generator().manual_seed(0))
        >>> 0.3 < (noisy != y).double().mean() < 0.5
        tensor(True)
        """
        clean, flat = labels.to("cpu", torch.int64), features.flatten(1)
        draws = torch.rand(2, len(clean), generator=generator, dtype=torch.float64)
        flip = _truncated_normal(draws[0], self.rate, SPREAD)
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
