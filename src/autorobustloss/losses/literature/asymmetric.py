"""Asymmetric losses beside normalised cross-entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autorobustloss.errors import ConfigError
from autorobustloss.losses.base import masked
from autorobustloss.losses.literature.base import number
from autorobustloss.losses.literature.normalised import ActivePassive
from autorobustloss.registry import LOSSES


def check_power(base: float, q: float) -> None:
    """Raise ConfigError where base^q, the largest number in an asymmetric loss, is beyond what float32 can hold."""
    if q * math.log10(base) > 30:
        raise ConfigError(f"got a power of {base:g} to the {q:g}, expected at most 1e30; give a smaller a or q")


@LOSSES.register("nce+agce")
class NCEandAGCE(ActivePassive):
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

    beta: float = number(default=4.0, at_least=0)
    a: float = number(default=6.0, above=0)
    q: float = number(default=1.5, above=0)

    def check(self) -> None:
        """Raise ConfigError for two zeros, and for a power that float32 cannot hold."""
        super().check()
        check_power(self.a + 1, self.q)

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the asymmetric generalised cross-entropy."""
        return ((self.a + 1) ** self.q - (self.a + chosen.exp()) ** self.q) / self.q


@LOSSES.register("nce+aul")
class NCEandAUL(ActivePassive):
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

    beta: float = number(default=4.0, at_least=0)
    a: float = number(default=6.3, above=1)
    q: float = number(default=1.5, above=0)

    def check(self) -> None:
        """Raise ConfigError for two zeros, and for a power that float32 cannot hold."""
        super().check()
        check_power(self.a, self.q)

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the asymmetric unhinged loss."""
        return ((self.a - chosen.exp()) ** self.q - (self.a - 1) ** self.q) / self.q


@LOSSES.register("nce+ael")
class NCEandAEL(ActivePassive):
    """Normalised cross-entropy plus asymmetric exponential loss: ℓ = α·NCE + β·exp(−p_y/a).

    (α, β, a): MNIST (0, 1, 3.5), CIFAR-10 (1, 4, 5), the default, CIFAR-100 (10, 0.1, 1.5).
    Source: Zhou et al., ICML 2021 (AEL); values of the authors' code.
    Raises ConfigError for a negative weight, two zeros, or unless a > 0.

    >>> import torch
    >>> NCEandAEL()(torch.zeros(3, 10), torch.tensor([1, 2, 3]))
    tensor(4.0208)
    """

    beta: float = number(default=4.0, at_least=0)
    a: float = number(default=5.0, above=0)

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the asymmetric exponential loss."""
        return torch.exp(-chosen.exp() / self.a)


@LOSSES.register("jal_ce")
class JointAsymmetricCE(ActivePassive):
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

    a: float = number(default=30.0, at_least=1)

    def passive(self, chosen: Tensor, log_p: Tensor) -> Tensor:
        """Return the asymmetric mean square error."""
        squares = (2 * log_p).exp().sum(dim=1, keepdim=True)
        number = (~masked(log_p)).sum(dim=1, keepdim=True) + masked(chosen)
        return (squares - 2 * self.a * chosen.exp() + self.a**2) / number
