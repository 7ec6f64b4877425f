"""Early-learning regularisation: the loss that remembers samples, in a loop that says which they are."""

from __future__ import annotations

from torch import Tensor, nn

from autorobustloss.losses.literature.elr import EarlyLearningLoss
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.registry import METHODS
from autorobustloss.training import LossObjective


@METHODS.register("elr")
def early_learning(beta: float = 0.7, lam: float = 3.0) -> Procedure:
    """Build cross-entropy plus λ·log(1 − ⟨t, p⟩), t the running average of what the network said of the sample.

    beta: β of that average. lam: λ. Published: (0.7, 3) on CIFAR-10, (0.9, 1) there under asymmetric noise, (0.9, 7)
        on CIFAR-100; see `autorobustloss.losses.literature.elr.EarlyLearningLoss`. The protocol is used as it is.
    Source: Liu et al., Early-Learning Regularization Prevents Memorization of Noisy Labels, NeurIPS 2020, equation 6.
    """
    EarlyLearningLoss(1, 2, beta, lam)  # refuses what is out of range, before anything is trained

    def run(setting: Setting) -> Trained:
        splits = setting.splits
        criterion = EarlyLearningLoss(len(splits.y_train), splits.num_classes, beta, lam).to(splits.x_train.device)
        return setting.fit(EarlyLearning(setting.network(), criterion))

    return Procedure(run)


class EarlyLearning(LossObjective):
    """One network under a loss that is told which samples it sees."""

    def __init__(self, network: nn.Module, criterion: EarlyLearningLoss) -> None:
        super().__init__(network, criterion)
        self.remembering = criterion

    def loss(self, x: Tensor, y: Tensor, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the loss of the network's logits, and the logits."""
        logits = self.network(x)
        return self.remembering(logits, y, index=self.index), logits
