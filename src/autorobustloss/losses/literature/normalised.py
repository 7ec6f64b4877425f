"""Normalised losses and active-passive combinations, the negative one among them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autorobustloss.losses.base import kept, masked
from autorobustloss.losses.literature.base import LabelwiseLoss, TwoTerms, flag, number
from autorobustloss.losses.literature.plain import reduced_mae
from autorobustloss.losses.literature.symmetric import reverse_cross_entropy
from autorobustloss.registry import LOSSES


def normalised(chosen: Tensor, of_label: Tensor, of_all: Tensor) -> Tensor:
    """Return the loss of a label, f(p_y), over that of all classes that are not masked, Σ_k f(p_k), in [0, 1].

    f <= 0. It is 0 where only the label is left, and 1 where the label is masked, whose log p is `chosen`.
    """
    # Off 0 by so much that its inverse is finite, and times any weight.
    total = of_all.sum(dim=1, keepdim=True).clamp_max(-(torch.finfo(of_all.dtype).tiny ** 0.5))
    return (of_label / total).masked_fill(masked(chosen), 1.0)


def normalised_cross_entropy(chosen: Tensor, log_p: Tensor) -> Tensor:
    """Return log p_y / Σ_k log p_k; the denominator is at most −C·log C."""
    return normalised(chosen, kept(chosen), kept(log_p))


def focal(log_p: Tensor, gamma: float, detach: bool = False) -> Tensor:
    """Return (1 − p)^γ·log p element by element; `detach` leaves the focal factor out of the gradient.

    1 − p is kept off zero: for γ < 1 the power has an infinite slope there, which would meet log p = 0 as ∞·0. So would
    the slope of the power at p = 0 meet log p = −∞, where the factor is 1.
    """
    miss = (-torch.expm1(log_p)).clamp_min(torch.finfo(log_p.dtype).tiny)
    return ((miss.detach() if detach else miss) ** gamma).masked_fill(masked(log_p), 1.0) * log_p


def normalised_focal(chosen: Tensor, log_p: Tensor, gamma: float, legacy: bool = False) -> Tensor:
    """Return (1 − p_y)^γ·log p_y / Σ_k (1 − p_k)^γ·log p_k."""
    return normalised(chosen, focal(kept(chosen), gamma, legacy), focal(kept(log_p), gamma, legacy))


class ActivePassive(TwoTerms, LabelwiseLoss):
    """α·active + β·passive of a label; the active loss is normalised cross-entropy where a subclass has no other."""

    def active(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the active loss of each candidate label."""
        return normalised_cross_entropy(chosen, log_p)

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the passive loss of each candidate label."""
        raise NotImplementedError

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        return self.alpha * self.active(chosen, log_p) + self.beta * self.passive(chosen, log_p)


@LOSSES.register("nce")
class NCE(LabelwiseLoss):
    """Normalised cross-entropy: ℓ = scale·log p_y / Σ_k log p_k.

    Source: Ma et al., Normalized Loss Functions for Deep Learning with Noisy Labels, ICML 2020.
    Used alone it is scaled by 10 on MNIST and 1 on CIFAR-10 (default) and CIFAR-100.
    Raises ConfigError unless scale > 0.

    >>> import torch
    >>> NCE()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(0.1000)
    """

    scale: float = number(default=1.0, above=0)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        return self.scale * normalised_cross_entropy(chosen, log_p)


@LOSSES.register("nfl")
class NFL(LabelwiseLoss):
    """Normalised focal loss: ℓ = scale·(1 − p_y)^γ·log p_y / Σ_k (1 − p_k)^γ·log p_k.

    Source: Ma et al., ICML 2020; γ = 0.5 and scale 1, but 10 on CIFAR-10 with symmetric noise.
    `legacy=True` holds the focal factors (1 − p)^γ out of the gradient, as the code behind the published tables
    does: same value, another gradient.
    Raises ConfigError unless gamma >= 0 and scale > 0.

    >>> import torch
    >>> NFL()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(0.1000)
    """

    gamma: float = number(default=0.5, at_least=0)
    scale: float = number(default=1.0, above=0)
    legacy: bool = flag(default=False, kw_only=True)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        return self.scale * normalised_focal(chosen, log_p, self.gamma, self.legacy)


@LOSSES.register("nce+mae")
class NCEandMAE(ActivePassive):
    """Normalised cross-entropy plus mean absolute error: ℓ = α·log p_y / Σ_k log p_k + β·(1 − p_y).

    | data set | α | β |
    | --- | --- | --- |
    | MNIST | 1 | 10 |
    | CIFAR-10 (default) | 1 | 1 |
    | CIFAR-100 | 10 | 1 |
    | WebVision | 50 | 1 |

    Source: Ma et al., ICML 2020, active passive loss; values of the authors' experiment files.
    Raises ConfigError for a negative weight or two zeros.

    >>> import torch
    >>> NCEandMAE(beta=10)(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(9.1000)
    """

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return 1 − p_y."""
        return reduced_mae(chosen)


@LOSSES.register("nfl+mae")
class NFLandMAE(ActivePassive):
    """Normalised focal loss plus mean absolute error: ℓ = α·NFL_γ(z, y) + β·(1 − p_y).

    Source: Ma et al., ICML 2020; γ = 0.5, (α, β) as for `nce+mae`. `legacy=True` as for `nfl`.
    Raises ConfigError for a negative weight, two zeros, or a negative gamma.

    >>> import torch
    >>> NFLandMAE(beta=10)(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(9.1000)
    """

    gamma: float = number(default=0.5, at_least=0)
    legacy: bool = flag(default=False, kw_only=True)

    def active(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the normalised focal loss."""
        return normalised_focal(chosen, log_p, self.gamma, self.legacy)

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return 1 − p_y."""
        return reduced_mae(chosen)


@LOSSES.register("nce+rce")
class NCEandRCE(ActivePassive):
    """Normalised plus reverse cross-entropy: ℓ = α·log p_y / Σ_k log p_k + β·A·(1 − p_y), A = −log 1e-4.

    | data set | α | β |
    | --- | --- | --- |
    | MNIST | 1 | 10 |
    | CIFAR-10 (default) | 1 | 1 |
    | CIFAR-100 | 10 | 0.1 |
    | WebVision | 50 | 0.1 |

    Source: Ma et al., ICML 2020. `legacy=True` clamps the probabilities of the reverse term at 1e-7.
    Raises ConfigError for a negative weight or two zeros.

    >>> import torch
    >>> NCEandRCE()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(8.3893)
    """

    legacy: bool = flag(default=False, kw_only=True)

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return reverse cross-entropy."""
        return reverse_cross_entropy(chosen, log_p, self.legacy)


@LOSSES.register("anl_ce")
class ActiveNegativeCE(ActivePassive):
    """Active negative loss: normalised cross-entropy plus the normalised negative one.

    ℓ = α·NCE + β·(1 − (A + log p_y)/Σ_k (A + log p_k)), A = −log p_min, each p clamped at p_min in the second term:
    the clamp belongs to the definition, it keeps every A + log p at 0 or above.

    (α, β), δ: MNIST (1, 1), 1e-6; CIFAR-10 (5, 5), 5e-5, the default; CIFAR-100 (10, 1), 5e-7; WebVision (20, 1), 5e-6.
    The published recipe trades weight decay for δ·‖w‖₁ over all weights. A loss does not see weights, so this class
    leaves that term out: to follow the recipe, set weight decay to 0 and add the penalty in the training loop, as
    benchmarks here do for the method `anl_ce` and for any loss by `l1`, as in anl_ce(l1=5e-5).
    Source: Ye et al., Active Negative Loss Functions for Learning with Noisy Labels, NeurIPS 2023; values
    of the authors' code.
    Raises ConfigError for a negative weight, two zeros, or unless 0 < p_min <= 0.001.

    >>> import torch
    >>> ActiveNegativeCE()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(5.)
    """

    alpha: float = number(default=5.0, at_least=0)
    beta: float = number(default=5.0, at_least=0)
    p_min: float = number(default=1e-7, above=0, at_most=1e-3)

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the normalised negative cross-entropy."""
        least = math.log(self.p_min)
        above = (log_p.clamp_min(least) - least).sum(dim=1, keepdim=True)
        return 1 - (chosen.clamp_min(least) - least) / above
