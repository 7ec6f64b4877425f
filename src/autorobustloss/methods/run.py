"""From a method's spec to trained networks and their curves."""

from __future__ import annotations

from autorobustloss.errors import unknown_name
from autorobustloss.losses.literature.values import PENALTY
from autorobustloss.methods.criterion import penalty_of
from autorobustloss.methods.procedure import Procedure, Setting, Trained
from autorobustloss.methods.spec import MethodSpec
from autorobustloss.registry import LOSSES, METHODS
from autorobustloss.training import LossObjective, fit


def run_method(spec: MethodSpec, setting: Setting) -> Trained:
    """Train with a method; return the networks, one or several, and their curves: a pure function of its arguments.

    spec: a procedure of `METHODS`, or any loss, at its published scale or with `match_scale=True` (see
        `like_cross_entropy`). `l1` among a loss's hyper-parameters puts that penalty in place of the protocol's weight
        decay.
    Raises UnknownNameError for a name that is neither a procedure nor a loss, ConfigError for hyper-parameters that
    do not fit.

    >>> from autorobustloss.data import DataSpec, load_dataset, make_splits
    >>> from autorobustloss.training import TrainingProtocol
    >>> splits = make_splits(load_dataset("digits"), DataSpec("digits", train_size=500), "sym:0.2")
    >>> setting = Setting("mlp2", splits, TrainingProtocol(lr=0.1, epochs=3), seed=0)
    >>> networks, history = run_method(MethodSpec.of("gce", q=0.7), setting)
    >>> len(networks), history.last("test") > 0.5
    (1, True)
    """
    if spec.name in METHODS:
        procedure: Procedure = METHODS.create(spec.name, **spec.options)
        procedure.check(setting.known)
        return procedure.run(setting)
    if spec.name not in LOSSES:
        raise unknown_name("method", spec.name, list_methods())
    l1 = penalty_of(spec)
    bare = MethodSpec.of(spec.name, **{key: value for key, value in spec.options.items() if key != PENALTY})
    protocol = setting.protocol.but(l1=l1, weight_decay=0.0) if l1 else setting.protocol
    objective = LossObjective(setting.network(), setting.criterion(bare))
    history = fit(objective, setting.splits, protocol, setting.seed, setting.evaluate, setting.on_epoch)
    return objective.networks, history


def list_methods() -> list[str]:
    """Return the names of all methods: procedures and losses."""
    return sorted([*METHODS, *LOSSES])
