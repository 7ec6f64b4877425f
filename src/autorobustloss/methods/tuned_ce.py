"""Cross-entropy with the tricks that every practitioner knows: the rival that is left out most often."""

from __future__ import annotations

from autorobustloss.errors import ConfigError
from autorobustloss.methods.best_epoch import fit_to_best_epoch
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import METHODS
from autorobustloss.training import LossObjective


@METHODS.register("tuned-ce")
def tuned_cross_entropy(smoothing: float = 0.1, average: float = 0.999, stop: bool = False) -> Procedure:
    """Build cross-entropy with smoothed labels, a cosine schedule and averaged weights; the rest is the protocol's.

    smoothing: ε of label smoothing. average: decay of the exponential moving average of the weights, 0 for none.
    stop: early stopping, at the evaluated epoch that does best on noisy validation labels.
    """
    if not isinstance(stop, bool):
        raise ConfigError(f"method 'tuned-ce': got stop={stop!r}, expected True or False")
    if not 0 <= smoothing < 1:
        raise ConfigError(f"method 'tuned-ce': got smoothing={smoothing!r}, expected a number in [0, 1)")

    def run(setting: Setting) -> Trained:
        protocol = setting.protocol.but(schedule="cosine", average=average)
        spec = MethodSpec.of("label_smoothing", epsilon=smoothing) if smoothing else MethodSpec("ce")
        objective = LossObjective(setting.network(), setting.criterion(spec))
        return fit_to_best_epoch(setting, objective, protocol) if stop else setting.fit(objective, protocol)

    unlabelled = (
        "method 'tuned-ce': stop=True needs noisy labels of the validation samples, which these data do not have"
    )
    return Procedure(run, "valid_noisy" if stop else "", unlabelled)
