"""The plain losses: cross-entropy, label smoothing, mean absolute error, Huber."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.losses.base import kept, smoothed
from autorobustloss.losses.literature.base import LabelwiseLoss, PublishedLoss, number
from autorobustloss.registry import LOSSES


def reduced_mae(chosen: Tensor) -> Tensor:
    """Return 1 − p_y from log p_y, without cancellation near p_y = 1."""
    return -torch.expm1(chosen)


@LOSSES.register("ce")
class CrossEntropy(PublishedLoss):
    """Cross-entropy: ℓ = −log p_y; with probabilities t, ℓ = −Σ_c t_c·log p_c.

    Class weights with probabilities have PyTorch's meaning: −Σ_c weight_c·t_c·log p_c.
    Source: the negative log-likelihood; `torch.nn.CrossEntropyLoss` is the same.

    >>> import torch
    >>> CrossEntropy()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(2.3026)
    """

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return −log p_y: logits (M, C), labels (M,) -> (M,)."""
        return F.cross_entropy(logits, labels, reduction="none")

    def hard_mean(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean of `hard`, by PyTorch's fused kernel."""
        return F.cross_entropy(logits, labels)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return −Σ_c t_c·log p_c: (M, C), (M, C) -> (M,)."""
        return -(kept(torch.log_softmax(logits, dim=1), probabilities) * probabilities).sum(dim=1)

    def _soft_values(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        return self.soft(logits, probabilities if self.weight is None else probabilities * self.weight.to(logits))


@LOSSES.register("label_smoothing")
class LabelSmoothing(LabelwiseLoss):
    """Cross-entropy to a smoothed label: ℓ = −(1 − ε)·log p_y − (ε/C)·Σ_k log p_k, masked classes not counted.

    Source: Szegedy et al., Rethinking the Inception Architecture, CVPR 2016, section 7 (ε = 0.1); as a remedy for
    label noise: Lukasik et al., Does Label Smoothing Mitigate Label Noise?, ICML 2020. A class weight multiplies the
    whole loss of a sample, as for every loss here (`CrossEntropyLoss(label_smoothing=…)` weights its terms singly).
    Raises ConfigError unless 0 <= epsilon <= 1.

    >>> import torch
    >>> LabelSmoothing(epsilon=0.1)(torch.tensor([[2.0, 0.0]]), torch.tensor([0]))
    tensor(0.2269)
    """

    smooths = False

    epsilon: float = number(default=0.1, at_least=0, at_most=1)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        return smoothed(chosen, log_p, self.epsilon)


@LOSSES.register("mae")
class MAE(LabelwiseLoss):
    """Mean absolute error in its reduced form: ℓ = scale·(1 − p_y).

    The literal distance ‖p − e_y‖₁ is 2·(1 − p_y): scale=2. Probabilities as target are a weighted set of labels,
    ℓ = scale·(1 − Σ_c t_c·p_c), which keeps the loss symmetric; it is not ‖p − t‖₁.
    Source: Ghosh, Kumar and Sastry, Robust Loss Functions under Label Noise for Deep Neural Networks, AAAI 2017,
    which shows it to be symmetric; scale 1 is the convention of the Active-Passive-Losses experiments.
    Raises ConfigError unless scale > 0.

    >>> import torch
    >>> MAE()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(0.9000)
    """

    scale: float = number(default=1.0, above=0)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        return self.scale * reduced_mae(chosen)


@LOSSES.register("huber")
class Huber(PublishedLoss):
    """Huber loss between the probabilities and the one-hot label, summed over classes: ℓ = Σ_k h(p_k − e_k).

    h(u) = u²/2 for |u| <= δ, δ·(|u| − δ/2) beyond. |p_k − e_k| never exceeds 1, so from δ = 1 on this is half the
    Brier score; only δ < 1 has a linear part. With probabilities t as target, ℓ = Σ_k h(p_k − t_k).
    Source: Huber, Robust Estimation of a Location Parameter, 1964. The paper that lists it among the robust
    classification losses (Gao et al., ICCV 2021) states neither input nor reduction nor δ; this is our reading.
    Raises ConfigError unless delta > 0.

    >>> import torch
    >>> Huber()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(0.4500)
    """

    delta: float = number(default=1.0, above=0)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss of each row for a target distribution: (M, C), (M, C) -> (M,)."""
        p = torch.softmax(logits, dim=1)
        return F.huber_loss(p, probabilities, delta=self.delta, reduction="none").sum(dim=1)
