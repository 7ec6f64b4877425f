"""Losses published since 2021: asymmetric, active negative, ε-softmax, joint asymmetric, label-distributionally robust.

Where authors choose hyper-parameters by data set, the default is their CIFAR-10 setting (see `authors` for the others);
where they choose by the true noise rate, which nobody knows in practice, the default is one of their settings, kept
fixed, and says so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from autorobustloss.errors import ConfigError
from autorobustloss.losses.base import kept, masked
from autorobustloss.losses.normalised import focal, normalised_cross_entropy
from autorobustloss.losses.plain import reduced_mae
from autorobustloss.losses.published import (
    LabelwiseLoss,
    LossArguments,
    PublishedLoss,
    flag,
    not_both_zero,
    one_hot,
    weighted,
    within,
)
from autorobustloss.registry import LOSSES

if TYPE_CHECKING:
    from typing_extensions import Unpack


def check_power(base: float, q: float) -> None:
    """Raise ConfigError where base^q, the largest number in an asymmetric loss, is beyond what float32 can hold."""
    if q * math.log10(base) > 30:
        raise ConfigError(f"got a power of {base:g} to the {q:g}, expected at most 1e30; give a smaller a or q")


@LOSSES.register("nce+agce")
class NCEandAGCE(LabelwiseLoss):
    """Normalised cross-entropy plus asymmetric generalised cross-entropy.

    ℓ = α·NCE + β·((a + 1)^q − (a + p_y)^q)/q.

    | data set | α | β | a | q |
    | --- | --- | --- | --- | --- |
    | MNIST | 0 | 1 | 4 | 0.2 |
    | CIFAR-10 (default) | 1 | 4 | 6 | 1.5 |
    | CIFAR-100 | 10 | 0.1 | 1.8 | 3 |
    | WebVision | 50 | 0.1 | 2.5 | 3 |

    Source: Zhou et al., Asymmetric Loss Functions for Learning with Noisy Labels, ICML 2021 (AGCE);
    values of the authors' code.
    Raises ConfigError for a negative weight, two zeros, or unless a > 0 and q > 0.

    >>> import torch
    >>> NCEandAGCE()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(9.3117)
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 4.0,
        a: float = 6.0,
        q: float = 1.5,
        **arguments: Unpack[LossArguments],
    ) -> None:
        super().__init__(**arguments)
        self.alpha, self.beta = not_both_zero(alpha, beta)
        self.a = within("a", a, above=0)
        self.q = within("q", q, above=0)
        check_power(self.a + 1, self.q)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        agce = ((self.a + 1) ** self.q - (self.a + chosen.exp()) ** self.q) / self.q
        return self.alpha * normalised_cross_entropy(chosen, log_p) + self.beta * agce


@LOSSES.register("nce+aul")
class NCEandAUL(LabelwiseLoss):
    """Normalised cross-entropy plus asymmetric unhinged loss: ℓ = α·NCE + β·((a − p_y)^q − (a − 1)^q)/q.

    | data set | α | β | a | q |
    | --- | --- | --- | --- | --- |
    | MNIST | 0 | 1 | 3 | 0.1 |
    | CIFAR-10 (default) | 1 | 4 | 6.3 | 1.5 |
    | CIFAR-100 | 10 | 0.015 | 6 | 3 |

    Source: Zhou et al., ICML 2021 (AUL, whose exponent the paper calls p); values of the authors' code.
    Raises ConfigError for a negative weight, two zeros, or unless a > 1 and q > 0.

    >>> import torch
    >>> NCEandAUL()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(8.7303)
    """

    def __init__(
        self,
        alpha: float = 1.0,
        beta: float = 4.0,
        a: float = 6.3,
        q: float = 1.5,
        **arguments: Unpack[LossArguments],
    ) -> None:
        super().__init__(**arguments)
        self.alpha, self.beta = not_both_zero(alpha, beta)
        self.a = within("a", a, above=1)
        self.q = within("q", q, above=0)
        check_power(self.a, self.q)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        aul = ((self.a - chosen.exp()) ** self.q - (self.a - 1) ** self.q) / self.q
        return self.alpha * normalised_cross_entropy(chosen, log_p) + self.beta * aul


@LOSSES.register("nce+ael")
class NCEandAEL(LabelwiseLoss):
    """Normalised cross-entropy plus asymmetric exponential loss: ℓ = α·NCE + β·exp(−p_y/a).

    (α, β, a): MNIST (0, 1, 3.5), CIFAR-10 (1, 4, 5), the default, CIFAR-100 (10, 0.1, 1.5).
    Source: Zhou et al., ICML 2021 (AEL); values of the authors' code.
    Raises ConfigError for a negative weight, two zeros, or unless a > 0.

    >>> import torch
    >>> NCEandAEL()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(4.0208)
    """

    def __init__(
        self, alpha: float = 1.0, beta: float = 4.0, a: float = 5.0, **arguments: Unpack[LossArguments]
    ) -> None:
        super().__init__(**arguments)
        self.alpha, self.beta = not_both_zero(alpha, beta)
        self.a = within("a", a, above=0)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        return self.alpha * normalised_cross_entropy(chosen, log_p) + self.beta * torch.exp(-chosen.exp() / self.a)


@LOSSES.register("anl_ce")
class ActiveNegativeCE(LabelwiseLoss):
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

    def __init__(
        self, alpha: float = 5.0, beta: float = 5.0, p_min: float = 1e-7, **arguments: Unpack[LossArguments]
    ) -> None:
        super().__init__(**arguments)
        self.alpha, self.beta = not_both_zero(alpha, beta)
        self.p_min = within("p_min", p_min, above=0, at_most=1e-3)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        least = math.log(self.p_min)
        above = (log_p.clamp_min(least) - least).sum(dim=1, keepdim=True)
        negative = 1 - (chosen.clamp_min(least) - least) / above
        return self.alpha * normalised_cross_entropy(chosen, log_p) + self.beta * negative


EPS_FLOOR = 1e-8
"""The published ε-softmax code clamps the transformed probabilities here."""


def log_epsilon_softmax(log_p: Tensor, m: float, legacy: bool = False) -> Tensor:
    """Return log((p + m·e_ŷ)/(m + 1)), ŷ the predicted class: m -> ∞ turns the prediction into a one-hot vector."""
    predicted = one_hot(log_p.argmax(dim=1), log_p).bool()
    # The inner choice keeps the gradient of the branch not taken finite.
    lifted = torch.log1p(torch.expm1(log_p.masked_fill(~predicted, 0.0)) / (m + 1))
    result = torch.where(predicted, lifted, log_p - math.log1p(m))
    return result.clamp_min(math.log(EPS_FLOOR)) if legacy else result


class EpsilonSoftmaxLoss(PublishedLoss):
    """A loss on ε-softmax outputs plus the literal mean absolute error ‖p − e_y‖₁ = 2·(1 − p_y) on plain ones."""

    m: float
    alpha: float
    beta: float
    legacy: bool

    def active(self, log_eps: Tensor) -> Tensor:
        """Return the active loss of candidate labels from their log ε-softmax outputs, in their shape."""
        raise NotImplementedError

    def of_labels(self, log_eps: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of candidate labels from their two log-probabilities."""
        return weighted(self.alpha, self.active(log_eps)) + 2 * self.beta * reduced_mae(log_p)

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) -> (M,)."""
        log_p, at_label = torch.log_softmax(logits, dim=1), labels.unsqueeze(1)
        log_eps = log_epsilon_softmax(log_p, self.m, self.legacy)
        return self.of_labels(log_eps.gather(1, at_label), log_p.gather(1, at_label)).squeeze(1)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the expected loss of each row: (M, C), (M, C) -> (M,)."""
        log_p = torch.log_softmax(logits, dim=1)
        log_eps = kept(log_epsilon_softmax(log_p, self.m, self.legacy), probabilities)
        return (probabilities * self.of_labels(log_eps, log_p)).sum(dim=1)


@LOSSES.register("ce_eps+mae")
class EpsilonCEandMAE(EpsilonSoftmaxLoss):
    """Cross-entropy on ε-softmax plus mean absolute error: ℓ = α·(−log p̂_y) + β·2·(1 − p_y).

    p̂ = (p + m·e_ŷ)/(m + 1) with ŷ the predicted class (the lowest index of a tie): a sample whose label is predicted
    already is nearly left alone, any other has cross-entropy's gradient.

    The authors choose (α, β, m) by noise type, on CIFAR-100 also by the true rate: CIFAR-10 symmetric (0.01, 5, 1e5),
    the default, asymmetric (0.02, 5, 1e3), instance-dependent (0.045, 10, 1e5); CIFAR-100 symmetric from (0.1, 1, 1e4)
    clean to (0.0075, 1, 1e4) at 80 %, asymmetric (0.015 to 0.004, 1, 100); WebVision (0.015, 0.3, 1e3); Clothing1M
    (0.012, 0.1, 1e3).
    `legacy=True` clamps p̂ at 1e-8 as their code does, which for m = 1e5 takes the gradient of the first term from
    every sample with p_y < 0.001.
    Source: Wang et al., ε-Softmax: Approximating One-Hot Vectors for Mitigating Label Noise, NeurIPS 2024.
    Raises ConfigError unless m >= 0, for a negative weight, or two zeros.

    >>> import torch
    >>> EpsilonCEandMAE()(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    tensor(8.9444)
    """

    def __init__(
        self,
        alpha: float = 0.01,
        beta: float = 5.0,
        m: float = 1e5,
        *,
        legacy: bool = False,
        **arguments: Unpack[LossArguments],
    ) -> None:
        super().__init__(**arguments)
        self.alpha, self.beta = not_both_zero(alpha, beta)
        self.m = within("m", m, at_least=0)
        self.legacy = flag("legacy", legacy)

    def active(self, log_eps: Tensor) -> Tensor:
        """Return cross-entropy of candidate labels."""
        return -log_eps


@LOSSES.register("fl_eps+mae")
class EpsilonFLandMAE(EpsilonSoftmaxLoss):
    """Focal loss on ε-softmax plus mean absolute error: ℓ = α·(1 − p̂_y)^γ·(−log p̂_y) + β·2·(1 − p_y).

    p̂, (α, β, m) and source as for `ce_eps+mae`; γ = 0.1. `legacy=True` clamps p̂ at 1e-8 and holds the focal factor
    out of the gradient, as the authors' code does.
    Raises ConfigError unless m >= 0 and gamma >= 0, for a negative weight, or two zeros.

    >>> import torch
    >>> EpsilonFLandMAE()(torch.tensor([[2.0, 0.0]]), torch.tensor([1]))
    tensor(8.9444)
    """

    def __init__(
        self,
        alpha: float = 0.01,
        beta: float = 5.0,
        m: float = 1e5,
        gamma: float = 0.1,
        *,
        legacy: bool = False,
        **arguments: Unpack[LossArguments],
    ) -> None:
        super().__init__(**arguments)
        self.alpha, self.beta = not_both_zero(alpha, beta)
        self.m = within("m", m, at_least=0)
        self.gamma = within("gamma", gamma, at_least=0)
        self.legacy = flag("legacy", legacy)

    def active(self, log_eps: Tensor) -> Tensor:
        """Return the focal loss of candidate labels."""
        return -focal(log_eps, self.gamma, self.legacy)


@LOSSES.register("jal_ce")
class JointAsymmetricCE(LabelwiseLoss):
    """Joint asymmetric loss: ℓ = α·NCE + β·‖a·e_y − p‖²/C, an asymmetric mean square error as the passive part.

    C counts the label and the classes that are not masked.

    The theory asks for a above a bound that rises with the noise rate (9 for ten classes and 80 % symmetric noise);
    the authors take a from 10 to 40 by data set and noise. (α, β, a), δ: (1, 1, 30), 5e-5, the default, for few
    classes, (5, 1, 20), 5e-6 for many; δ is that of an L1 penalty on the weights, a matter of training (see `anl_ce`).
    Source: Wang et al., Joint Asymmetric Loss for Learning with Noisy Labels, ICCV 2025, section 4.
    Raises ConfigError for a negative weight, two zeros, or unless a >= 1.

    >>> import torch
    >>> JointAsymmetricCE()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(89.5100)
    """

    def __init__(
        self, alpha: float = 1.0, beta: float = 1.0, a: float = 30.0, **arguments: Unpack[LossArguments]
    ) -> None:
        super().__init__(**arguments)
        self.alpha, self.beta = not_both_zero(alpha, beta)
        self.a = within("a", a, at_least=1)

    def of_label(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the loss of each candidate label."""
        squares = (2 * log_p).exp().sum(dim=1, keepdim=True)
        number = (~masked(log_p)).sum(dim=1, keepdim=True) + masked(chosen)
        amse = (squares - 2 * self.a * chosen.exp() + self.a**2) / number
        return self.alpha * self.active(chosen, log_p) + self.beta * amse

    def active(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the normalised cross-entropy of each candidate label."""
        return normalised_cross_entropy(chosen, log_p)


def normalised_scores(logits: Tensor) -> Tensor:
    """Return C·softplus(z)/Σ_k softplus(z_k), positive scores of mean 1.

    As a softmax of log softplus(z), which is z to working precision below −80 where softplus underflows: so the
    scores stay finite when every logit is far below zero.
    """
    low = logits < -80
    log_softplus = torch.where(low, logits, F.softplus(logits.masked_fill(low, 0.0)).log())
    return logits.shape[1] * torch.softmax(log_softplus, dim=1)


@LOSSES.register("ldr_kl")
class LabelDistributionallyRobustKL(PublishedLoss):
    """Label-distributionally robust loss: the worst reweighting of the class margins, held near uniform by λ·KL.

    ℓ = λ·log( (1/C)·Σ_k exp((s_k − s_y + margin·[k ≠ y])/λ) ), with scores s = C·softplus(z)/Σ_j softplus(z_j) as in
    the authors' code. λ = 0 would be the multi-class hinge, λ -> ∞ a symmetric loss. The scores are not invariant to
    a shift of the logits, unlike a softmax. Probabilities as target are a weighted set of labels, at the price of
    M·C² numbers.
    Source: Zhu, Ying and Yang, Label Distributionally Robust Losses for Multi-class Classification, ICML 2023. λ and
    margin are tuned per data set there; (10, 0.1), the default, and (1, 0.1) are what Wang et al., NeurIPS 2024, use
    on CIFAR-10 and CIFAR-100. The adaptive variant (a λ per training sample) is a training procedure, not a loss.
    Raises ConfigError unless lam > 0 and margin >= 0.

    >>> import torch
    >>> LabelDistributionallyRobustKL()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(0.0900)
    """

    def __init__(self, lam: float = 10.0, margin: float = 0.1, **arguments: Unpack[LossArguments]) -> None:
        super().__init__(**arguments)
        self.lam = within("lam", lam, above=0)
        self.margin = within("margin", margin, at_least=0)

    def hard(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each row: logits (M, C), labels (M,) -> (M,)."""
        scores = normalised_scores(logits)
        margins = self.margin * (1 - one_hot(labels, scores))
        return self._log_mean_exp(scores + margins) - scores.gather(1, labels.unsqueeze(1)).squeeze(1)

    def soft(self, logits: Tensor, probabilities: Tensor) -> Tensor:
        """Return the expected loss of each row: (M, C), (M, C) -> (M,)."""
        scores = normalised_scores(logits)
        margins = self.margin * (1 - logits.new_ones(logits.shape[1]).diag())
        return (probabilities * (self._log_mean_exp(scores.unsqueeze(1) + margins) - scores)).sum(dim=1)

    def _log_mean_exp(self, values: Tensor) -> Tensor:
        return self.lam * (torch.logsumexp(values / self.lam, dim=-1) - math.log(values.shape[-1]))
