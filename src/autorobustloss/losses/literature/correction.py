"""Corrections: labels mixed with what the network predicts (bootstrapping), predictions sent through known noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autorobustloss.errors import ConfigError, LossInputError
from autorobustloss.losses.base import RobustLoss, kept, masked, weighted
from autorobustloss.losses.literature.base import LabelwiseLoss, number
from autorobustloss.noise.matrix import SUFFIXES, Matrix
from autorobustloss.registry import LOSSES


@LOSSES.register("bootstrap_soft", "bootstrap")
class SoftBootstrap(LabelwiseLoss):
    """Soft bootstrapping: ℓ = −Σ_k (β·e_k + (1 − β)·p_k)·log p_k, cross-entropy plus (1 − β) times the entropy.

    The gradient flows through the p in the target too, as in the published codes (ports that detach it train with
    another gradient).
    Source: Reed et al., Training Deep Neural Networks on Noisy Labels with Bootstrapping, ICLR 2015 workshop,
    soft variant; β = 0.95.
    Raises ConfigError unless 0 <= beta <= 1.

    >>> import torch
    >>> SoftBootstrap()(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    tensor(2.0388)
    """

    beta: float = number(default=0.95, at_least=0, at_most=1)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        entropy = -(log_p.exp() * kept(log_p)).sum(dim=1, keepdim=True)
        return (1 - self.beta) * entropy - weighted(self.beta, chosen)


@LOSSES.register("bootstrap_hard")
class HardBootstrap(LabelwiseLoss):
    """Hard bootstrapping: ℓ = −β·log p_y − (1 − β)·log p_ŷ, ŷ the predicted class (the lowest index of a tie).

    Source: Reed et al., ICLR 2015 workshop, hard variant; β = 0.8.
    Raises ConfigError unless 0 <= beta <= 1.

    >>> import torch
    >>> HardBootstrap()(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    tensor(1.7269)
    """

    beta: float = number(default=0.8, at_least=0, at_most=1)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        predicted = log_p.max(dim=1, keepdim=True).values
        return (self.beta - 1) * predicted - weighted(self.beta, chosen)


@LOSSES.register("forward", "forward_correction")
class ForwardCorrection(RobustLoss):
    """Forward correction: ℓ = −log Σ_k p_k·T[k, y], with T[true, noisy] the noise transition matrix.

    Rows of T sum to 1; a text names a file of them, such as `arl labels` writes (see `noise.matrix`). Probabilities as
    target are a weighted set of labels, ℓ = −Σ_c t_c·log(pT)_c, at the price of M·C² numbers. Everything stays in
    logarithms, so no probability is clipped.
    Source: Patrini et al., Making Deep Neural Networks Robust to Label Noise: a Loss Correction Approach, CVPR 2017,
    theorem 2.
    Raises ConfigError for a matrix that is not square, not row-stochastic, or has an empty column (a label that could
    never be seen), LossInputError for one of another size than the logits.

    >>> import torch
    >>> loss = ForwardCorrection(T=[[0.8, 0.2], [0.2, 0.8]])
    >>> loss(torch.tensor([[100.0, 0.0]]), torch.tensor([1]))  # −log 0.2, however sure the network is
    tensor(1.6094)
    """

    T: Tensor

    def __init__(
        self,
        T: Tensor | Sequence[Sequence[float]] | np.ndarray | str,
        *,
        weight: Tensor | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)
        # A buffer, to go where the loss goes, but none of the keys of a checkpoint, which would change the formula.
        self.register_buffer("T", checked_transition(T), persistent=False)

    def hyperparameters(self) -> dict[str, Any]:
        """Return the matrix as nested tuples, the form a method spec can hold."""
        return {"T": tuple(tuple(row) for row in self.T.tolist())}

    def extra_repr(self) -> str:
        """Show the size of the matrix, not its numbers."""
        return f"T={self.T.shape[0]}x{self.T.shape[1]}"

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) -> (M,)."""
        log_t = self._log_t(logits)
        return -torch.logsumexp(torch.log_softmax(logits, dim=1) + log_t.t().index_select(0, labels), dim=1)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the expected loss of each row: (M, C), (M, C) -> (M,)."""
        joint = torch.log_softmax(logits, dim=1).unsqueeze(1) + self._log_t(logits).t()
        # A label that nobody gives, and that no class left would be taken for: 0·log 0 = 0, and no gradient.
        never = masked(joint).all(dim=2) & (probabilities == 0)
        log_noisy = torch.logsumexp(joint.masked_fill(never.unsqueeze(2), 0.0), dim=2)
        return -(probabilities * log_noisy).sum(dim=1)

    def _log_t(self, logits: Tensor) -> Tensor:
        if self.T.shape[0] != logits.shape[1]:
            raise LossInputError(
                f"got logits for {logits.shape[1]} classes, expected {self.T.shape[0]}, the size of the matrix T"
            )
        return self.T.to(logits).log()


def checked_transition(matrix: Tensor | Sequence[Sequence[float]] | np.ndarray | str) -> Tensor:
    """Return a transition matrix, or that of a file, as a tensor, or raise ConfigError if it is not one.

    >>> checked_transition([[0.5, 0.5], [0.0, 1.0]]).shape
    torch.Size([2, 2])
    """
    if isinstance(matrix, str) and matrix.endswith(SUFFIXES):
        matrix = Matrix(matrix).matrix
    try:
        # Looked at in NumPy, for a tensor made in PyTorch's planning modes has no values.
        t = matrix.detach().cpu().double().numpy() if isinstance(matrix, Tensor) else np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"got T that is no matrix of numbers ({error}), expected (C, C) numbers") from None
    kind = matrix.dtype if isinstance(matrix, Tensor) else torch.float64
    if t.ndim != 2 or t.shape[0] != t.shape[1] or len(t) < 2 or not kind.is_floating_point:
        raise ConfigError(f"got T of shape {t.shape} and {kind}, expected a square floating-point matrix")
    sums, empty = t.sum(axis=1), np.flatnonzero(t.sum(axis=0) == 0).tolist()
    if empty or not ((t >= 0).all() and (abs(sums - 1) < 1e-3).all()):
        raise ConfigError(
            f"got T with entries from {t.min():g} to {t.max():g}, row sums from {sums.min():g} to {sums.max():g} and "
            f"empty columns {empty[:5]}, expected entries >= 0, rows that sum to 1: T[true, noisy], no empty column, "
            "as of a label that could never be seen; smooth T a little"
        )
    return matrix.detach().clone() if isinstance(matrix, Tensor) else torch.from_numpy(t)
