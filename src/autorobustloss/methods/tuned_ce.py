"""Cross-entropy with the tricks that every practitioner knows: the rival that is left out most often."""

from __future__ import annotations

from autorobustloss.errors import ConfigError
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import METHODS
from autorobustloss.training import LossObjective


@METHODS.register("tuned-ce")
def tuned_cross_entropy(smoothing: float = 0.1, average: float = 0.999) -> Procedure:
    """Build cross-entropy with smoothed labels, a cosine schedule and averaged weights; the rest is the protocol's.

    smoothing: ε of label smoothing. average: decay of the exponential moving average of the weights, 0 for none.
    """
    if not 0 <= smoothing < 1:
        raise ConfigError(f"method 'tuned-ce': got smoothing={smoothing!r}, expected a number in [0, 1)")

    def run(setting: Setting) -> Trained:
        protocol = setting.protocol.but(schedule="cosine", average=average)
        spec = MethodSpec.of("label_smoothing", epsilon=smoothing) if smoothing else MethodSpec("ce")
        return setting.fit(LossObjective(setting.network(), setting.criterion(spec)), protocol)

    return Procedure(run)
