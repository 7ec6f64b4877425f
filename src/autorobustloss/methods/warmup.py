"""One loss first, another after it: for losses that do not train a network from the start."""

from __future__ import annotations

from torch import nn

from autorobustloss.losses.published import within
from autorobustloss.methods.registry import METHODS, Procedure, Setting
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.methods.sr import Scheduled
from autorobustloss.training import History


@METHODS.register("warmup")
def warmed_up(loss: str = "nls", first: str = "ce", share: float = 0.5) -> Procedure:
    """Build a training that takes one loss for the first epochs and another for the rest.

    loss: the second, as text; negative label smoothing, the default, is published so. first: the loss before it.
    share: of the epochs, how many belong to the first, rounded down.
    Source: Wei et al., To Smooth or Not? When Label Smoothing Meets Noisy Labels, ICML 2022, for `nls`. There a network
    of 100 epochs goes on for as many at a learning rate of 1e-6; here the protocol's epochs and rates are kept.
    """
    share, specs = within("share", share, at_least=0, at_most=1), (MethodSpec.parse(first), MethodSpec.parse(loss))

    def run(setting: Setting) -> tuple[nn.ModuleList, History]:
        before, after = map(setting.criterion, specs)
        last = int(share * setting.protocol.epochs)
        return setting.fit(Scheduled(setting.network(), lambda epoch: before if epoch <= last else after))

    return run
