"""One loss first, another after it: for losses that do not train a network from the start."""

from __future__ import annotations

from autorobustloss.losses.literature.base import within
from autorobustloss.methods.criterion import Scaled
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.methods.sr import Scheduled
from autorobustloss.registry import METHODS


@METHODS.register("warmup")
def warmed_up(loss: str = "nls", first: str = "ce", share: float = 0.5, factor: float = 0.01) -> Procedure:
    """Build a training that takes one loss for the first epochs and another for the rest.

    loss: the second, as text; negative label smoothing, the default, is published so. first: the loss before it.
    share: of the epochs, how many belong to the first, rounded down. factor: what the second loss is multiplied by,
        which under SGD is a smaller learning rate.
    Source: Wei et al., To Smooth or Not? When Label Smoothing Meets Noisy Labels, ICML 2022, for `nls`, whose code goes
    on for as many epochs at a learning rate of 1e-6. The numbers are ours: `nls` has no lower bound, and a network
    that follows it at full speed is lost within epochs.
    """
    share, factor = within("share", share, at_least=0, at_most=1), within("factor", factor, above=0)
    specs = MethodSpec.parse(first), MethodSpec.parse(loss)

    def run(setting: Setting) -> Trained:
        before, second = map(setting.criterion, specs)
        after = Scaled(second, factor)
        last = int(share * setting.protocol.epochs)
        return setting.fit(Scheduled(setting.network(), lambda epoch: before if epoch <= last else after))

    return Procedure(run)
